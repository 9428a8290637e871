"""Drum grooves of the pocket corpus: step patterns with random variations.

Conventions: a pattern is one bar of 16 steps in 4/4 (12 in swing); ``x`` is a stroke, ``o`` a quiet one, ``.`` none.
Keys are General MIDI drum keys, kits programs of its drum bank.

GROOVES  : style -> (lowest tempo, highest tempo, {key: pattern}).
KITS     : style -> drum kit.
drum_part: a groove as notes over a duration, with ghost notes, fills and human timing.
tom_part : toms and claps played by hand, the "percussion" of the corpus.
clap_part: handclaps on the backbeat.
"""

import pretty_midi

KICK, STICK, SNARE, CLAP, CLOSED, PEDAL, OPEN, CRASH, RIDE = 36, 37, 38, 39, 42, 44, 46, 49, 51
TOMS = (41, 43, 45, 47, 48, 50)
BEATS_PER_BAR = 4

GROOVES = {
    "rock": (105, 140, {KICK: "x.......x.x.....", SNARE: "....x.......x...", CLOSED: "x.x.x.x.x.x.x.x."}),
    "jazz": (120, 170, {RIDE: "x..x.xx..x.x", PEDAL: "...x.....x..", SNARE: ".....o.....o", KICK: "o.....o....."}),
    "disco": (
        112,
        126,
        {KICK: "x...x...x...x...", SNARE: "....x.......x...", OPEN: "..x...x...x...x.", CLOSED: "x...x...x...x..."},
    ),
    "techno": (
        126,
        140,
        {KICK: "x...x...x...x...", CLOSED: "xxoxxxoxxxoxxxox", OPEN: "..x...x...x...x.", CLAP: "....x.......x..."},
    ),
    "heavy metal": (
        150,
        190,
        {KICK: "xxx.xxx.xxx.xxx.", SNARE: "....x.......x...", RIDE: "x.x.x.x.x.x.x.x.", CRASH: "x..............."},
    ),
    "hip hop": (82, 98, {KICK: "x..x...x..x.....", SNARE: "....x.......x...", CLOSED: "x.xox.x.x.xox.xo"}),
    "reggae": (
        68,
        84,
        {KICK: "........x.......", STICK: "........x.......", CLOSED: "x.x.x.x.x.x.x.x.", SNARE: "..............o."},
    ),
}

STANDARD, ROOM, POWER, ELECTRONIC, TR_808 = 0, 8, 16, 24, 25
KITS = {
    "rock": POWER,
    "jazz": STANDARD,
    "disco": STANDARD,
    "techno": ELECTRONIC,
    "heavy metal": POWER,
    "hip hop": TR_808,
    "reggae": ROOM,
}


def _hit(part, key, start_s, velocity):
    part.notes.append(pretty_midi.Note(int(velocity), key, start_s, start_s + 0.1))


def drum_part(style: str, tempo_bpm: float, duration_s: float, rng, level: float = 1.0) -> pretty_midi.Instrument:
    """Play the groove of a style with a moved kick, fills and timing within 6 ms; `level` scales its velocities."""
    part = pretty_midi.Instrument(KITS[style], is_drum=True)
    patterns = dict(GROOVES[style][2])
    steps = len(next(iter(patterns.values())))
    if style not in ("jazz", "techno", "disco"):
        kick = list(patterns[KICK])
        kick[int(rng.integers(steps))] = rng.choice(["x", "."])
        patterns[KICK] = "".join(kick)
    step_s = 60 / tempo_bpm * BEATS_PER_BAR / steps
    n_bars = int(duration_s / (step_s * steps)) + 1
    for bar in range(n_bars):
        fill = bar % 4 == 3 and rng.random() < 0.5
        for key, pattern in patterns.items():
            for step, stroke in enumerate(pattern):
                if stroke == "." or (fill and step >= steps * 3 // 4 and key != KICK):
                    continue
                start_s = max(0.0, (bar * steps + step) * step_s + rng.normal(0, 0.006))
                velocity = (105 if stroke == "x" else 60) * level * rng.uniform(0.85, 1.1)
                _hit(part, key, start_s, min(127, max(1, velocity)))
        if fill:
            for k, step in enumerate(range(steps * 3 // 4, steps)):
                _hit(part, TOMS[::-1][k % 6], (bar * steps + step) * step_s, 95 * level)
    return part


def tom_part(tempo_bpm: float, duration_s: float, rng) -> pretty_midi.Instrument:
    """Play a random pattern on toms, snare rim or claps for ``duration_s`` seconds."""
    part = pretty_midi.Instrument(0, is_drum=True)
    keys = rng.permutation([*TOMS, SNARE, CLAP, STICK])[: int(rng.integers(2, 5))]
    pattern = rng.random(16) < rng.uniform(0.35, 0.7)
    pattern[0] = True
    voices = rng.choice(keys, size=16)
    step_s = 60 / tempo_bpm / 4
    for step in range(int(duration_s / step_s) + 1):
        if pattern[step % 16]:
            accent = 112 if step % 4 == 0 else 85
            start_s = max(0.0, step * step_s + rng.normal(0, 0.006))
            _hit(part, int(voices[step % 16]), start_s, accent * rng.uniform(0.8, 1.1))
    return part


def clap_part(tempo_bpm: float, duration_s: float, rng) -> pretty_midi.Instrument:
    """Clap on the second and fourth beat for ``duration_s`` seconds."""
    part, beat_s = pretty_midi.Instrument(STANDARD, is_drum=True), 60 / tempo_bpm
    for beat in range(1, int(duration_s / beat_s) + 1, 2):
        _hit(part, CLAP, max(0.0, beat * beat_s + rng.normal(0, 0.006)), 100 * rng.uniform(0.85, 1.1))
    return part
