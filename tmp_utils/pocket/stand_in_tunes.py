"""Public-domain tunes of the multi-instrument stand-ins, and the small bands that play them.

Conventions: a melody is a string of notes such as "F#4:1.5", a pitch and its beats ("R" is a rest; the default is one
beat). There is one chord a bar. Programs are General MIDI's, 0-based; the pocket corpus uses none of them.
"""

from dataclasses import dataclass

import numpy as np
from pretty_midi import Instrument, Note, note_name_to_number

HUMAN_S = 0.008
_MAJOR, _MINOR = (0, 4, 7), (0, 3, 7)


@dataclass(frozen=True)
class Tune:
    """A tune and its band.

    Attributes
    ----------
    bpm, beats_per_bar : of the melody's unit.
    melody, chords : see the conventions above.
    band : (program, role, semitones up) of each part; a role is a key of `ROLES` or "melody".
    first_bars : first bar of each of the five clips.
    drums : drum-channel or melodic strokes, (program or None, pitch, beats within the bar).
    speeds_up : factor of tempo from each clip to the next.
    """

    bpm: float
    beats_per_bar: int
    melody: str
    chords: str
    band: tuple[tuple[int, str, int], ...]
    first_bars: tuple[int, ...]
    drums: tuple[tuple[int | None, int, tuple[float, ...]], ...] = ()
    speeds_up: float = 1.0


ROLES = {  # (beat as a part of the bar, length as a part of the bar, notes of the chord)
    "roots": ((0, 0.5, (0,)), (0.5, 0.5, (0,))),
    "bass": ((0, 0.6, (0,)), (0.66, 0.33, (2,))),
    "block": tuple((b / 4, 0.22, (0, 1, 2)) for b in range(4)),
    "offbeat": tuple((b / 4 + 0.125, 0.1, (0, 1, 2)) for b in range(4)),
    "arpeggio": tuple((b / 6, 0.3, (n,)) for b, n in enumerate((0, 1, 2, 3, 2, 1))),
    "late": ((1 / 3, 0.66, (0, 1, 2)),),
    "downbeat": ((0, 1.0, (0,)),),
}

_ODE_A = "F#4 F#4 G4 A4 A4 G4 F#4 E4 D4 D4 E4 F#4 "
_SPRING = "G#5 G#5 G#5 F#5:.5 E5:.5 B5:3 B5:.5 A5:.5 "
_GREEN = "C5:2 D5 E5:1.5 F#5:.5 E5 D5:2 B4 G4:1.5 A4:.5 B4 "
_GREEN_END = "C5:1.5 B4:.5 A4 G#4:1.5 F#4:.5 G#4 A4:3 A4:3 "
_GREEN_HALF = "C5:2 A4 A4:1.5 G#4:.5 A4 B4:2 G#4 E4:3 "
_GREEN_CHORUS = "G5:3 G5:1.5 F#5:.5 E5 D5:2 B4 G4:1.5 A4:.5 B4 "
_KING = "B3 C#4 D4 E4 F#4 D4 F#4:2 F4 C#4 F4:2 E4 C4 E4:2 B3 C#4 D4 E4 F#4 D4 F#4 B4 A4 F#4 D4 F#4 A4:4 "
_KING_HIGH = "F#4 G#4 A#4 B4 C#5 A#4 C#5:2 D5 A#4 D5:2 C#5 A#4 C#5:2 "
_SATIE = "R F#5 A5 G5 F#5 C#5 B4 C#5 D5 A4:3 "
_MINUET = (
    "D5 G4:.5 A4:.5 B4:.5 C5:.5 D5 G4 G4 E5 C5:.5 D5:.5 E5:.5 F#5:.5 G5 G4 G4 "
    "C5 D5:.5 C5:.5 B4:.5 A4:.5 B4 C5:.5 B4:.5 A4:.5 G4:.5 "
)
_SPRING_END = "G#5 A5:.5 B5:.5 A5 G#5 F#5 D#5 B4 E5 "

TUNES = {
    "ode_to_joy": Tune(
        120, 4,
        _ODE_A + "F#4:1.5 E4:.5 E4:2 " + _ODE_A + "E4:1.5 D4:.5 D4:2 "
        "E4 E4 F#4 D4 E4 F#4:.5 G4:.5 F#4 D4 E4 F#4:.5 G4:.5 F#4 E4 D4 E4 A3:2 "
        + _ODE_A + "E4:1.5 D4:.5 D4:2",
        "D D D A D D D D A D A A D D D D",
        ((63, "melody", 12), (6, "block", 0), (47, "roots", -12)), (0, 4, 8, 12, 6),
    ),
    "greensleeves": Tune(
        208, 6,
        _GREEN + _GREEN_HALF + _GREEN + _GREEN_END + _GREEN_CHORUS + _GREEN_HALF + _GREEN_CHORUS + _GREEN_END,
        "Am G Am E Am G Am Am C G Am E C G Am Am",
        ((75, "melody", 0), (15, "arpeggio", 0), (15, "downbeat", -12)), (0, 4, 8, 12, 6),
    ),
    "mountain_king": Tune(
        230, 8, _KING + _KING + _KING_HIGH + _KING_HIGH + _KING,
        "Bm F# Bm D Bm F# Bm D F# F# F# F# Bm F# Bm D",
        ((7, "melody", -12), (111, "melody", 12), (47, "roots", -12)), (0, 4, 8, 10, 12),
        drums=((116, 45, (0.0, 4.0)), (116, 55, (2.0, 6.0, 7.0))), speeds_up=1.1,
    ),
    "korobeiniki": Tune(
        148, 4,
        "E5 B4:.5 C5:.5 D5 C5:.5 B4:.5 A4 A4:.5 C5:.5 E5 D5:.5 C5:.5 B4:1.5 C5:.5 D5 E5 C5 A4 A4:2 "
        "R:.5 D5 F5:.5 A5 G5:.5 F5:.5 E5:1.5 C5:.5 E5 D5:.5 C5:.5 B4 B4:.5 C5:.5 D5 E5 C5 A4 A4:2",
        "E Am E Am Dm C E Am",
        ((21, "melody", 0), (105, "offbeat", 0), (21, "roots", -24)), (0, 4, 2, 6, 1),
        drums=((None, 54, (0.0, 1.0, 2.0, 2.5, 3.0)),),
    ),
    "gymnopedie": Tune(
        84, 3, _SATIE + "F#4:3 F#4:3 R:3 R:3 " + _SATIE + "C#5:3 F#5:3 E4:3 E4:3",
        "G D G D G D G D G D G D G D G D",
        ((79, "melody", 0), (10, "late", 12), (108, "downbeat", 0)), (0, 8, 1, 11, 9),
    ),
    "bach_minuet": Tune(
        136, 3,
        _MINUET + "F#4 G4:.5 A4:.5 B4:.5 G4:.5 B4 A4:2 " + _MINUET + "A4 B4:.5 A4:.5 G4:.5 F#4:.5 G4:3 "
        "B5 G5:.5 A5:.5 B5:.5 G5:.5 A5 D5:.5 E5:.5 F#5:.5 D5:.5 G5 E5:.5 F#5:.5 G5:.5 D5:.5 "
        "C#5 B4:.5 C#5:.5 A4 A4:.5 B4:.5 C#5:.5 D5:.5 E5:.5 F#5:.5 G5 F#5 E5 F#5 A4 C#5 D5:3",
        "G G C G Am G D D G G C G Am G D G G D Em A A Em D D",
        ((6, "melody", 0), (6, "bass", -12)), (0, 4, 8, 16, 19),
    ),
    "vivaldi_spring": Tune(
        112, 4,
        (_SPRING * 2 + _SPRING_END) * 2
        + "B5 A5:.5 G#5:.5 A5 B5 C#6 B5:2 E5 " * 2
        + "C#6 B5 A5 G#5 F#5:1.5 E5:.5 E5:2",
        "E E E E E B E E E E E B E A E A A E",
        ((110, "melody", 0), (110, "downbeat", 12), (6, "block", 12), (112, "roots", 24)), (0, 4, 12, 8, 14),
    ),
}  # fmt: skip


def melody_notes(melody: str) -> list[tuple[int | None, float]]:
    """Read a melody: (MIDI pitch, or None for a rest; beats) of each note."""
    parts = (token.partition(":") for token in melody.split())
    return [(None if name == "R" else note_name_to_number(name), float(beats or 1)) for name, _, beats in parts]


def chord_pitches(name: str) -> tuple[int, ...]:
    """MIDI pitches of a triad from its root between G3 and F#4, with its octave: "Am", "F#"."""
    root = note_name_to_number(name.removesuffix("m") + "3")
    root += 12 if root < note_name_to_number("G3") else 0
    triad = _MINOR if name.endswith("m") else _MAJOR
    return tuple(root + step for step in (*triad, 12))


def play(tune: Tune, index: int, rng: np.random.Generator, duration_s: float) -> list[Instrument]:
    """Play clip `index` (0 to 4) of a tune for `duration_s`, from the first bar of that clip on, repeated as needed.

    Returns
    -------
    one instrument for each part of the band.
    """
    beat_s = 60 / (tune.bpm * tune.speeds_up**index * rng.uniform(0.97, 1.03))
    first = tune.first_bars[index]
    parts = [_melody_part(tune, program, up, first, beat_s, rng) if role == "melody"
             else _chord_part(tune, program, ROLES[role], up, first, beat_s, duration_s, rng)
             for program, role, up in tune.band]  # fmt: skip
    return [*parts, *_drum_parts(tune, beat_s, duration_s, rng)]


def _note(velocity: float, pitch: int, start_s: float, length_s: float, rng) -> Note:
    start_s = start_s + abs(rng.normal(0, HUMAN_S))
    return Note(int(np.clip(velocity * rng.uniform(0.88, 1.1), 1, 127)), pitch, start_s, start_s + length_s)


def _melody_part(tune: Tune, program: int, up: int, first_bar: int, beat_s: float, rng) -> Instrument:
    part, notes = Instrument(program), melody_notes(tune.melody)
    time_s = -first_bar * tune.beats_per_bar * beat_s
    for pitch, beats in notes * 3:
        if pitch is not None and time_s > -1e-6:
            part.notes.append(_note(100, pitch + up, max(time_s, 0.0), beats * beat_s * 0.92, rng))
        time_s += beats * beat_s
    return part


def _chord_part(tune, program, role, up, first_bar, beat_s, duration_s, rng) -> Instrument:
    part, chords, bar_s = Instrument(program), tune.chords.split(), tune.beats_per_bar * beat_s
    for bar in range(int(duration_s / bar_s) + 1):
        pitches = chord_pitches(chords[(first_bar + bar) % len(chords)])
        for at, length, members in role:
            for member in members:
                part.notes.append(_note(68, pitches[member] + up, (bar + at) * bar_s, length * bar_s, rng))
    return part


def _drum_parts(tune: Tune, beat_s: float, duration_s: float, rng) -> list[Instrument]:
    parts, bar_s = [], tune.beats_per_bar * beat_s
    for program, pitch, beats in tune.drums:
        part = Instrument(program or 0, is_drum=program is None)
        for bar in range(int(duration_s / bar_s) + 1):
            part.notes += [_note(88, pitch, bar * bar_s + beat * beat_s, 0.3, rng) for beat in beats]
        parts.append(part)
    return parts
