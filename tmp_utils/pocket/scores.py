"""Scores of the pocket corpus: melodies, harmonies and arrangements drawn from a seed.

Conventions: pitches are MIDI note numbers, times seconds, tempi quarter notes per minute. All random numbers come from
``rng``. A chord is a root degree of the scale (0-6).

Key           : tonic and scale, and how degrees become pitches.
melody, chords, arpeggio, bass_line : one part each.
solo          : an instrument alone.
arrangement   : the band of a genre around an instrument.
chorale       : four-part "classical music".
"""

from dataclasses import dataclass

import pretty_midi

from tmp_utils.pocket import grooves
from tmp_utils.pocket.instruments import BY_NAME, Instrument

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "minor pentatonic": (0, 3, 5, 7, 10),
    "blues": (0, 3, 5, 6, 7, 10),
}
PROGRESSIONS = ((0, 3, 4, 0), (0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 0, 4), (1, 4, 0, 0))

# genre: harmony program, harmony figure, bass program, bass figure
BANDS = {
    "jazz": ("piano", "comp", "double bass", "walk"),
    "rock": ("overdriven guitar", "eighths", "picked bass", "eighths"),
    "disco": ("string section", "held", "slap bass", "octaves"),
    "techno": ("polysynth", "offbeat", "synth bass", "sixteenths"),
    "heavy metal": ("distorted guitar", "gallop", "picked bass", "eighths"),
    "hip hop": ("electric piano", "held", "synth bass", "sparse"),
    "reggae": ("muted guitar", "offbeat", "electric bass", "sparse"),
}
# onsets within a bar, in beats, and length in beats
FIGURES = {
    "comp": ((0.0, 0.3), (1.67, 0.3), (3.0, 0.6)),
    "eighths": tuple((b / 2, 0.4) for b in range(8)),
    "held": ((0.0, 3.9),),
    "offbeat": tuple((b + 0.5, 0.3) for b in range(4)),
    "gallop": tuple((b + o, 0.2) for b in range(4) for o in (0, 0.5, 0.75)),
    "walk": tuple((float(b), 0.9) for b in range(4)),
    "octaves": tuple((b / 2, 0.4) for b in range(8)),
    "sixteenths": tuple((b / 4, 0.2) for b in range(16)),
    "sparse": ((0.0, 1.2), (1.5, 0.4), (2.5, 1.2)),
}
BEATS_PER_BAR = 4


@dataclass(frozen=True)
class Key:
    """A tonic (pitch class 0-11) and the semitones of its scale."""

    tonic: int
    scale: tuple[int, ...]

    def pitch(self, degree: int) -> int:
        """MIDI pitch of a degree counted from the tonic in octave 0 (degree 7 of a 7-note scale is the octave)."""
        octave, step = divmod(degree, len(self.scale))
        return self.tonic + 12 * octave + self.scale[step]

    def degrees(self, low: int, high: int) -> range:
        """Degrees whose pitches lie within [low, high]."""
        n = len(self.scale)
        inside = [d for d in range(12 * n) if low <= self.pitch(d) <= high]
        return range(inside[0], inside[-1] + 1)


def draw_key(rng, scales=tuple(SCALES)) -> Key:
    """A random tonic with one of the named scales."""
    return Key(int(rng.integers(12)), SCALES[scales[int(rng.integers(len(scales)))]])


def _part(instrument: Instrument) -> pretty_midi.Instrument:
    return pretty_midi.Instrument(instrument.program)


def _add(part, pitch, start_s, end_s, velocity):
    part.notes.append(pretty_midi.Note(int(min(127, max(1, velocity))), int(pitch), start_s, end_s))


def melody(instrument, key, tempo_bpm, duration_s, rng, density=1.0, legato=0.95, velocity=100):
    """A random walk over the scale in phrases, which end on a long note and sometimes a rest.

    `density` is roughly the notes per beat; `legato` the share of a note's length that sounds, 0 to 1.
    """
    part, beat_s = _part(instrument), 60 / tempo_bpm
    degrees = key.degrees(instrument.low, instrument.high)
    degree, time_s = int(degrees[len(degrees) // 2]), float(rng.choice([0.0, 0.5])) * beat_s
    rhythms = ((1, 1, 1, 1), (0.5, 0.5, 1, 0.5, 0.5, 1), (1.5, 0.5, 1, 1), (0.5,) * 8, (0.75, 0.25, 1, 1, 1), (2, 1, 1))
    while time_s < duration_s:
        rhythm = rhythms[int(rng.integers(len(rhythms)))]
        for length in (*rhythm, float(rng.choice([1, 2]))):
            length_s = length * beat_s / density
            degree += int(rng.choice([-3, -2, -1, -1, 0, 1, 1, 2, 4]))
            degree = min(max(degree, degrees[0]), degrees[-1])
            _add(part, key.pitch(degree), time_s, time_s + length_s * legato, velocity * rng.uniform(0.8, 1.1))
            time_s += length_s
        if rng.random() < 0.3:
            time_s += beat_s
    return part


def _bars(key, low, high, progression, tempo_bpm, duration_s):
    """Where each bar begins, in s, and the root of its chord, a degree from the lowest one of [low, high] on."""
    bar_s, lowest = BEATS_PER_BAR * 60 / tempo_bpm, key.degrees(low, high)[0]
    bars = range(int(duration_s / bar_s) + 1)
    return [(bar * bar_s, lowest + progression[bar % len(progression)]) for bar in bars]


def chords(instrument, key, progression, figure, tempo_bpm, duration_s, rng, velocity=70):
    """Triads of a progression in a rhythmic figure, near the middle of the instrument's range."""
    part, beat_s = _part(instrument), 60 / tempo_bpm
    low = (instrument.low + instrument.high) // 2 - 9
    power = figure in ("gallop", "eighths")
    for bar_start_s, root in _bars(key, low, low + 12, progression, tempo_bpm, duration_s):
        pitches = [key.pitch(root), key.pitch(root) + 7] if power else [key.pitch(root + k) for k in (0, 2, 4)]
        if power:
            pitches = [p - 12 if p - 12 >= instrument.low else p for p in pitches]
        for beat, length in FIGURES[figure]:
            start_s = bar_start_s + beat * beat_s
            for pitch in pitches:
                _add(part, pitch, start_s, start_s + length * beat_s, velocity * rng.uniform(0.9, 1.1))
    return part


def arpeggio(instrument, key, progression, tempo_bpm, duration_s, rng, velocity=80):
    """Broken chords in eighth notes."""
    part, beat_s = _part(instrument), 60 / tempo_bpm
    low = (instrument.low + instrument.high) // 2 - 8
    order = rng.permutation([0, 2, 4, 7, 4, 2, 0, 4])
    for bar_start_s, root in _bars(key, low, low + 12, progression, tempo_bpm, duration_s):
        for k in range(8):
            start_s = bar_start_s + k * beat_s / 2
            _add(part, key.pitch(root + int(order[k])), start_s, start_s + beat_s, velocity * rng.uniform(0.85, 1.1))
    return part


def bass_line(instrument, key, progression, figure, tempo_bpm, duration_s, rng, velocity=90):
    """Roots of a progression in a rhythmic figure; walking and octave figures move."""
    part, beat_s = _part(instrument), 60 / tempo_bpm
    for bar_start_s, root in _bars(key, instrument.low, instrument.high, progression, tempo_bpm, duration_s):
        for k, (beat, length) in enumerate(FIGURES[figure]):
            pitch = key.pitch(root)
            if figure == "walk":
                pitch = key.pitch(root + (0, 2, 4, 5)[k] if rng.random() < 0.8 else root + 1)
            elif figure == "octaves":
                pitch += 12 * (k % 2)
            start_s = bar_start_s + beat * beat_s
            _add(part, pitch, start_s, start_s + length * beat_s, velocity * rng.uniform(0.9, 1.1))
    return part


def solo(instrument, key, tempo_bpm, duration_s, rng) -> list:
    """An instrument alone: a line, broken chords or chords, as its touch allows."""
    progression = PROGRESSIONS[int(rng.integers(len(PROGRESSIONS)))]
    full = Key(key.tonic, SCALES["major"] if 4 in key.scale else SCALES["minor"])
    if instrument.touch == "bass":
        figure = str(rng.choice(["walk", "octaves", "eighths", "sparse", "sixteenths"]))
        return [bass_line(instrument, full, progression, figure, tempo_bpm, duration_s, rng, 105)]
    style = rng.random()
    chordal = instrument.touch == "decay" or "organ" in instrument.name or instrument.program in (48, 52, 61, 89, 90)
    if chordal and style < 0.3:
        return [arpeggio(instrument, full, progression, tempo_bpm, duration_s, rng, 100)]
    if chordal and style < 0.5:
        figure = str(rng.choice(["held", "comp", "offbeat"]))
        return [chords(instrument, full, progression, figure, tempo_bpm, duration_s, rng, 95)]
    return [melody(instrument, key, tempo_bpm, duration_s, rng, legato=rng.uniform(0.6, 1.0))]


def draw_tempo(genre: str, rng) -> float:
    """A tempo that suits a genre."""
    low, high, _ = grooves.GROOVES[genre]
    return float(rng.uniform(low, high))


def arrangement(genre, tempo_bpm, duration_s, rng, lead: list | None = None, key: Key | None = None) -> list:
    """The band of a genre: drums, bass and harmony under ``lead``."""
    harmony, harmony_figure, bass, bass_figure = BANDS[genre]
    key = key or draw_key(rng, ("minor",) if genre in ("heavy metal", "techno") else ("major", "minor"))
    progression = PROGRESSIONS[int(rng.integers(len(PROGRESSIONS)))]
    return [
        grooves.drum_part(genre, tempo_bpm, duration_s, rng, level=rng.uniform(0.75, 0.95)),
        bass_line(BY_NAME[bass], key, progression, bass_figure, tempo_bpm, duration_s, rng, 82),
        chords(BY_NAME[harmony], key, progression, harmony_figure, tempo_bpm, duration_s, rng, 62),
        *(lead or []),
    ]


def chorale(tempo_bpm, duration_s, rng, key: Key | None = None) -> list:
    """Orchestral "classical music": a melody over held strings and a cello line."""
    key = key or draw_key(rng, ("major", "minor"))
    progression = PROGRESSIONS[int(rng.integers(len(PROGRESSIONS)))]
    lead = BY_NAME[str(rng.choice(["flute", "oboe", "clarinet", "violin", "french horn", "trumpet"]))]
    return [
        chords(BY_NAME["string section"], key, progression, "held", tempo_bpm, duration_s, rng, 72),
        bass_line(BY_NAME["cello"], key, progression, "walk", tempo_bpm, duration_s, rng, 80),
        melody(lead, key, tempo_bpm, duration_s, rng, legato=1.0),
    ]
