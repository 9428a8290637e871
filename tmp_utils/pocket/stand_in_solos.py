"""Melodic players of the stand-in concepts, and their random improvisations.

Conventions: programs are General MIDI's (0-based), pitches MIDI note numbers, times seconds, tempi beats per minute.
The pocket corpus uses none of these programs and scales. The generator `style` is the same for all clips of a concept;
`rng` differs between clips.
"""

from dataclasses import dataclass

import numpy as np
from pretty_midi import Instrument, Note, PitchBend

BEND_PER_SEMITONE = 8192 / 2  # General MIDI's bend range is two semitones
HUMAN_S = 0.006  # spread of a good player's timing
DRONE_VELOCITY = 54
SIXTEENTHS = (0.25,) * 8


@dataclass(frozen=True)
class Player:
    """A melodic instrument and its player's habits.

    Attributes
    ----------
    program, tonic : General MIDI program; MIDI pitch of degree 0.
    scale : semitones of the degrees above the tonic.
    bpm : beats per minute.
    cells : rhythms of the phrases, each the beats of its notes.
    ornament : "plain", "glide", "vibrato", "grace", "cut", "double" (two notes), "roll" (repeated), "run" (glissando).
    low, high : range in degrees.
    drone : pitches of a drone, struck every `drone_beats` beats.
    figures : degrees above a chord's root; without figures the melody is a random walk.
    gate : share of its length that a note sounds.
    rubato : deviation of a phrase's tempo, 0 to 1.
    rest : chance of a rest after a phrase.
    """

    program: int
    tonic: int
    scale: tuple[int, ...]
    bpm: float
    cells: tuple[tuple[float, ...], ...]
    ornament: str = "plain"
    low: int = -3
    high: int = 9
    drone: tuple[int, ...] = ()
    drone_beats: float = 4.0
    figures: tuple[tuple[int, ...], ...] = ()
    gate: float = 0.95
    rubato: float = 0.0
    rest: float = 0.15


PHRYGIAN_DOMINANT, DOUBLE_HARMONIC = (0, 1, 4, 5, 7, 8, 10), (0, 1, 4, 5, 7, 8, 11)
DORIAN, MIXOLYDIAN, LYDIAN = (0, 2, 3, 5, 7, 9, 10), (0, 2, 4, 5, 7, 9, 10), (0, 2, 4, 6, 7, 9, 11)
HIRAJOSHI, IN_SEN, MIYAKO_BUSHI = (0, 2, 3, 7, 8), (0, 1, 5, 7, 10), (0, 1, 5, 7, 8)
MAJOR_PENTATONIC = (0, 2, 4, 7, 9)

PLAYERS = {
    "sitar": Player(
        104, 61, PHRYGIAN_DOMINANT, 132, ((1, 0.5, 0.5), (0.5, 0.5, 1, 2), SIXTEENTHS), "glide",
        drone=(49, 56, 61), drone_beats=1, gate=1.2),
    "banjo": Player(
        105, 55, MIXOLYDIAN, 128, (SIXTEENTHS,), low=0, high=9, gate=1.5, rest=0,
        figures=((0, 2, 4, 9, 2, 4, 7, 9), (4, 2, 0, 9, 4, 2, 7, 9), (2, 4, 9, 0, 2, 9, 4, 7))),
    "shamisen": Player(
        106, 57, IN_SEN, 108, ((1, 1, 0.5, 0.5), (0.5, 0.5, 0.25, 0.25, 0.5), (1, 0.5, *SIXTEENTHS[:4])),
        "grace", low=-4, high=7, rubato=0.35, gate=0.8),
    "koto": Player(
        107, 57, HIRAJOSHI, 84, ((1, 0.5, 0.5), (0.5, 0.5, 1), (2,)), "run", low=-2, high=10, gate=2.5),
    "kalimba": Player(
        108, 60, MAJOR_PENTATONIC, 112, ((1 / 3,) * 12,), low=0, high=9, gate=1.5, rest=0,
        figures=((0, 4, 2, 5, 3, 7, 0, 4, 2, 6, 3, 5), (5, 0, 7, 2, 4, 3, 5, 1, 7, 2, 6, 4))),
    "bagpipe": Player(
        109, 69, MIXOLYDIAN, 92, ((0.75, 0.25, 1), (0.5, 0.5, 0.75, 0.25), (0.75, 0.25) * 2), "cut",
        low=-1, high=7, drone=(45, 57), drone_beats=0, gate=1.0, rest=0),
    "fiddle": Player(
        110, 62, DORIAN, 112, (SIXTEENTHS, (0.5, 0.25, 0.25, 0.5, 0.5), (*SIXTEENTHS[:4], 0.5, 0.5)), "cut",
        low=-2, high=10, drone=(55, 62), drone_beats=2, rest=0),
    "shanai": Player(
        111, 62, DOUBLE_HARMONIC, 76, ((2, 1, 1), (0.5, 0.5, 1, 2), (*SIXTEENTHS[:4], 2)), "glide",
        rubato=0.2),
    "ocarina": Player(
        79, 72, LYDIAN, 120, ((1, 0.5, 0.5), (0.5,) * 4, (1.5, 0.5)), "grace", low=-2, high=8, gate=0.9),
    "shakuhachi": Player(
        77, 62, MIYAKO_BUSHI, 60, ((3,), (2, 0.5, 1.5), (0.5, 2.5)), "vibrato",
        low=-2, high=6, rubato=0.3, rest=0.3),
    "harmonica": Player(
        22, 62, DORIAN, 100, ((2 / 3, 1 / 3, 1), (2 / 3, 1 / 3) * 2, (5 / 3, 1 / 3)), "double",
        low=-2, high=8),
    "accordion": Player(
        21, 64, PHRYGIAN_DOMINANT, 126, ((0.5,) * 4, SIXTEENTHS, (1, 0.5, 0.5)), "cut",
        low=-2, high=8, drone=(52, 56, 59), drone_beats=1, rest=0.05),
    "steel_drums": Player(
        114, 60, MIXOLYDIAN, 104, ((0.75, 0.75, 0.5), (0.5, 0.25, 0.75, 0.5), (1, 1)), "roll", gate=1.3),
}  # fmt: skip


def solo(player: Player, style: np.random.Generator, rng: np.random.Generator, duration_s: float) -> list[Instrument]:
    """Improvise for `duration_s`: licks drawn from `style`, in an order and at pitches drawn from `rng`.

    Returns
    -------
    the melody, and the drone if the player has one.
    """
    licks = [_lick(player, style) for _ in range(6)]
    beat_s = 60 / (player.bpm * rng.uniform(0.97, 1.03))
    lead, time_s, degree = Instrument(player.program), 0.0, int(rng.choice([0, 2, 4]))
    while time_s < duration_s:
        beats, steps = licks[rng.integers(len(licks))]
        stretch_s = beat_s * (1 + player.rubato * rng.uniform(-0.5, 0.5))
        if player.figures:
            degrees = int(rng.choice([0, 0, 3, 4])) + np.array(steps)
        else:
            degrees = _wander(degree, steps, player)
        degree = int(degrees[-1])
        for k, (step_degree, length_s) in enumerate(zip(degrees, beats * stretch_s, strict=True)):
            velocity = (88 if k else 108) * rng.uniform(0.85, 1.1)
            start_s = time_s + abs(rng.normal(0, HUMAN_S))
            _ornamented(lead, player, int(step_degree), start_s, length_s, velocity, rng)
            time_s += length_s
        time_s += beat_s * (rng.random() < player.rest)
    return [lead, *_drone(player, beat_s, duration_s)]


def _wander(degree: int, steps: tuple[int, ...], player: Player) -> list[int]:
    """Degrees of a lick from `degree` on; a step out of the player's range is taken in the other direction."""
    degrees = []
    for step in steps:
        degree += step if player.low <= degree + step <= player.high else -step
        degrees.append(degree)
    return degrees


def _lick(player: Player, style: np.random.Generator) -> tuple[np.ndarray, tuple[int, ...]]:
    beats = np.array(player.cells[style.integers(len(player.cells))], dtype=float)
    beats *= np.linspace(1 + player.rubato, 1 - player.rubato, len(beats))  # a free phrase gathers speed
    if player.figures:
        return beats, player.figures[style.integers(len(player.figures))]
    return beats, tuple(style.choice([-2, -1, -1, 0, 1, 1, 2, 3], size=len(beats)).tolist())


def pitch_of(degree: int, tonic: int, scale: tuple[int, ...]) -> int:
    """MIDI pitch of a degree, counted from 0 at the tonic and on into other octaves."""
    octave, place = divmod(degree, len(scale))
    return tonic + 12 * octave + scale[place]


def _ornamented(lead, player, degree, start_s, length_s, velocity, rng) -> None:
    def add(at_degree, at_s, for_s, loud=1.0):
        pitch = pitch_of(at_degree, player.tonic, player.scale)
        lead.notes.append(Note(int(np.clip(velocity * loud, 1, 127)), pitch, at_s, at_s + max(for_s, 0.03)))

    sounding_s, kind = length_s * player.gate, player.ornament
    if kind in ("grace", "cut") and rng.random() < (0.6 if kind == "cut" else 0.35):
        grace_s = min(0.045, length_s / 3)
        add(degree + 1, start_s, grace_s, 0.8)
        add(degree, start_s + grace_s, sounding_s - grace_s)
    elif kind == "roll" and length_s > 0.4:
        for k in range(n_strokes := int(length_s / 0.075)):
            add(degree, start_s + k * length_s / n_strokes, 0.12, 0.75 if k else 1.0)
    elif kind == "run" and rng.random() < 0.2:
        for k in range(5):
            add(degree + 5 - k, start_s + k * 0.06, sounding_s, 0.7)
        add(degree, start_s + 0.3, sounding_s)
    else:
        add(degree, start_s, sounding_s)
        if kind == "double" and length_s > 0.3:
            add(degree + 2, start_s, sounding_s, 0.85)
    if kind in ("glide", "vibrato"):
        _bend(lead, kind, start_s, sounding_s, rng)


def _bend(lead, kind, start_s, length_s, rng) -> None:
    times_s = np.arange(0, length_s, 0.02)
    vibrato = 0.35 * np.sin(2 * np.pi * 5.2 * times_s) * np.clip(times_s / 0.6, 0, 1) * (length_s > 0.5)
    depth = rng.choice([0.0, 1.0, 1.5]) if kind == "glide" else 0.6
    semitones = vibrato - depth * np.exp(-times_s / 0.07)
    for at_s, bend in zip(times_s, semitones, strict=True):
        lead.pitch_bends.append(PitchBend(int(np.clip(bend * BEND_PER_SEMITONE, -8192, 8191)), start_s + at_s))


def _drone(player: Player, beat_s: float, duration_s: float) -> list[Instrument]:
    if not player.drone:
        return []
    period_s = player.drone_beats * beat_s or duration_s
    part = Instrument(player.program)
    for k, start_s in enumerate(np.arange(0, duration_s, period_s)):
        for pitch in player.drone if period_s > 0.9 else (player.drone[k % len(player.drone)],):
            part.notes.append(Note(DRONE_VELOCITY, pitch, start_s, start_s + period_s))
    return [part]
