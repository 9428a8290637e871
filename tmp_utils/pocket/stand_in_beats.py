"""Grooves of the stand-in concepts, and their random variations.

Conventions: drum keys and programs are General MIDI's (0-based), times seconds, tempi beats per minute. The pocket
corpus uses none of these grooves, and none of the keys except kick, snare and cymbals of the kits.
"""

from dataclasses import dataclass

import numpy as np
from pretty_midi import Instrument, Note

HUMAN_S = 0.006  # spread of a good player's timing


@dataclass(frozen=True)
class Groove:
    """Percussion patterns by pitch: "x" a stroke, "o" a quiet one, "." none; `bars` follow one another.

    A `program` of None is the drum channel, whose `kit` is a program of the drum bank.
    """

    bpm: float
    steps_per_beat: int
    bars: tuple[dict[int, str], ...]
    program: int | None = None
    kit: int = 0


GROOVES = {
    "breakbeat": Groove(165, 4, (
        {36: "x.x.......xx....", 38: "....x..o.o..x..o", 51: "x.x.x.x.x.x.x.x."},
        {36: "x.x.......xx....", 38: "....x..o.o..x..o", 51: "x.x.x.x.x.x.x.x."},
        {36: "x.x.......x.....", 38: "....x..o.o....x.", 51: "x.x.x.x.x.x.x.x."},
        {36: "..xx......x.....", 38: ".o..x..o.o....x.", 51: "x.x.x.x.x.x.x.x.", 49: "..........x....."},
    ), kit=32),
    "rumba": Groove(96, 4, (
        {75: "x..x...x..x.x...", 62: "o.x.o.x.o.x.o.x.", 63: "......xx......xx", 64: "x.......x.......",
         70: "xoxoxoxoxoxoxoxo", 56: "x...x...x...x..."},
        {75: "x..x...x..x.x...", 62: "o.x.o.xxo.x.o.x.", 63: "......x...x...xx", 64: "x.......x..x....",
         70: "xoxoxoxoxoxoxoxo", 56: "x...x...x...x..."},
    )),
    "samba": Groove(106, 4, (
        {67: "x.x..x.x.x..x...", 68: "...x....x..x..xx", 54: "xooxxooxxooxxoox", 79: "..x...x.....x.x.",
         78: "......x.....x...", 64: "o.......x......."},
        {67: "x.x..x.x.x..x...", 68: "...x....x..x..xx", 54: "xooxxooxxooxxoox", 79: "x..x..x...x..x..",
         64: "o.......x.....x.", 71: "............x.x."},
    )),
    "tsifteteli": Groove(104, 4, (
        {61: "x.....x.x.......", 60: "..x.x.....o.x.o.", 54: "x.o.x.o.x.o.x.o."},
        {61: "x.....x.x.....o.", 60: "..x.x...o.oox.oo", 54: "x.o.x.o.x.o.x.o."},
    )),
    "bossa": Groove(132, 4, (
        {36: "x.....x.x.....x.", 77: "x.....x.....x...", 69: "xoxoxoxoxoxoxoxo", 74: "........x......."},
        {36: "x.....x.x.....x.", 77: "....x.....x.....", 69: "xoxoxoxoxoxoxoxo", 74: "x..............."},
    ), kit=40),
    "bell_pattern": Groove(118, 3, (
        {67: "x.x.xx.x.x.x", 63: "x..o.xx..o.x", 64: "..x...x.x...", 69: "x..x..x..x.."},
        {67: "x.x.xx.x.x.x", 63: "x.oo.xx.oo.x", 64: "..x..xx.x.x.", 69: "x..x..x..x.."},
    )),
    "taiko": Groove(118, 4, (
        {48: "x.......x.......", 55: "....x.x.....x.x.", 62: "..o...o.x.o.o.xx"},
        {48: "x...x...x...x.x.", 55: "..x...x...x.....", 62: "oooooooox.x.x.x."},
        {48: "x.x.x...........", 55: "x.x.x...x.x.x.xx", 62: "......xx......xx"},
    ), program=116),
    "woodblock": Groove(164, 2, (
        {60: "x...x...x.....", 67: "..x...x...x.x.", 72: ".o.o.o.o.o.o.o"},
        {60: "x...x...x.....", 67: "..xx..xx..x.xx", 72: ".o.o.o.o.o.o.o"},
    ), program=115),
    "timpani": Groove(112, 4, (
        {41: "x...x.xxx.......", 48: "........x...x.x."},
        {41: "x.......xxxxxxxx", 48: "....x..........."},
        {43: "x...x...x.x.x.x.", 48: "..........x.....", 36: "x..............."},
    ), program=47),
}  # fmt: skip


def beat(groove: Groove, rng: np.random.Generator, duration_s: float) -> list[Instrument]:
    """Play a groove for `duration_s`, from a random bar on, with dropped and ghost strokes.

    Returns
    -------
    one instrument.
    """
    is_drum = groove.program is None
    part = Instrument(groove.kit if is_drum else groove.program, is_drum=is_drum)
    step_s = 60 / (groove.bpm * rng.uniform(0.97, 1.03)) / groove.steps_per_beat
    start_s, bar = 0.0, int(rng.integers(len(groove.bars)))
    while start_s < duration_s:
        patterns = groove.bars[bar % len(groove.bars)]
        for key, pattern in patterns.items():
            for step, stroke in enumerate(_varied(pattern, rng)):
                if stroke != ".":
                    at_s = max(0.0, start_s + step * step_s + rng.normal(0, HUMAN_S))
                    velocity = min(127, (108 if stroke == "x" else 58) * rng.uniform(0.82, 1.12))
                    part.notes.append(Note(int(velocity), key, at_s, at_s + (0.1 if is_drum else 0.4)))
        start_s, bar = start_s + len(pattern) * step_s, bar + 1
    return [part]


def _varied(pattern: str, rng: np.random.Generator) -> str:
    """A pattern with 5 % of its strokes left out and quiet ones in 3 % of its gaps."""
    chance = rng.random(len(pattern))
    strokes = np.array(list(pattern))
    gaps = strokes == "."
    strokes[gaps & (chance < 0.03)] = "o"
    strokes[~gaps & (chance < 0.05)] = "."
    return "".join(strokes)
