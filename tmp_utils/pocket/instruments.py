"""The General MIDI instruments of the pocket corpus, and those reserved for the concepts.

Conventions: programs are 0-based General MIDI numbers, pitches are MIDI note numbers.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Instrument:
    """One timbre.

    Attributes
    ----------
    name : as in captions, without article.
    nouns : class nouns that captions may use instead.
    program : 0-based General MIDI program.
    low, high : MIDI pitches between which it plays.
    touch : ``"sustain"`` (bowed, blown, sung), ``"decay"`` (struck, plucked) or ``"bass"``.
    """

    name: str
    nouns: tuple[str, ...]
    program: int
    low: int
    high: int
    touch: str


_STRING, _WIND = "string instrument", "wind instrument"

INSTRUMENTS = (
    Instrument("piano", ("keyboard",), 0, 45, 84, "decay"),
    Instrument("bright piano", ("keyboard", "piano"), 1, 48, 86, "decay"),
    Instrument("electric piano", ("keyboard",), 4, 45, 81, "decay"),
    Instrument("chorused electric piano", ("keyboard",), 5, 45, 81, "decay"),
    Instrument("celesta", ("keyboard", "bell"), 8, 60, 91, "decay"),
    Instrument("glockenspiel", ("bell", "percussion"), 9, 72, 96, "decay"),
    Instrument("vibraphone", ("mallet instrument", "percussion"), 11, 53, 84, "decay"),
    Instrument("marimba", ("mallet instrument", "percussion"), 12, 48, 84, "decay"),
    Instrument("xylophone", ("mallet instrument", "percussion"), 13, 60, 91, "decay"),
    Instrument("tubular bell", ("bell",), 14, 60, 77, "decay"),
    Instrument("drawbar organ", ("organ", "keyboard"), 16, 45, 81, "sustain"),
    Instrument("percussive organ", ("organ", "keyboard"), 17, 45, 81, "sustain"),
    Instrument("rock organ", ("organ", "keyboard"), 18, 45, 79, "sustain"),
    Instrument("church organ", ("organ", "keyboard"), 19, 43, 79, "sustain"),
    Instrument("reed organ", ("organ", "keyboard"), 20, 48, 79, "sustain"),
    Instrument("classical guitar", ("guitar", _STRING), 24, 45, 76, "decay"),
    Instrument("steel guitar", ("guitar", _STRING), 25, 45, 79, "decay"),
    Instrument("jazz guitar", ("guitar", _STRING), 26, 45, 77, "decay"),
    Instrument("clean electric guitar", ("guitar", _STRING), 27, 45, 79, "decay"),
    Instrument("muted guitar", ("guitar", _STRING), 28, 45, 76, "decay"),
    Instrument("overdriven guitar", ("guitar",), 29, 45, 76, "sustain"),
    Instrument("distorted guitar", ("guitar",), 30, 40, 74, "sustain"),
    Instrument("double bass", ("bass", _STRING), 32, 29, 52, "bass"),
    Instrument("electric bass", ("bass",), 33, 29, 52, "bass"),
    Instrument("picked bass", ("bass",), 34, 29, 52, "bass"),
    Instrument("fretless bass", ("bass",), 35, 29, 55, "bass"),
    Instrument("slap bass", ("bass",), 36, 29, 52, "bass"),
    Instrument("synth bass", ("bass", "synthesizer"), 38, 29, 52, "bass"),
    Instrument("violin", (_STRING,), 40, 57, 91, "sustain"),
    Instrument("viola", (_STRING,), 41, 50, 81, "sustain"),
    Instrument("cello", (_STRING,), 42, 38, 67, "sustain"),
    Instrument("contrabass", (_STRING, "bass"), 43, 29, 50, "sustain"),
    Instrument("pizzicato violin", (_STRING,), 45, 50, 81, "decay"),
    Instrument("harp", (_STRING,), 46, 48, 88, "decay"),
    Instrument("string section", ("strings",), 48, 45, 84, "sustain"),
    Instrument("choir", ("choir", "singers"), 52, 48, 76, "sustain"),
    Instrument("voice", ("singer",), 53, 50, 74, "sustain"),
    Instrument("trumpet", ("brass instrument", _WIND), 56, 55, 82, "sustain"),
    Instrument("trombone", ("brass instrument", _WIND), 57, 41, 69, "sustain"),
    Instrument("tuba", ("brass instrument", "bass"), 58, 29, 53, "sustain"),
    Instrument("muted trumpet", ("brass instrument", _WIND), 59, 55, 80, "sustain"),
    Instrument("french horn", ("brass instrument", _WIND), 60, 45, 72, "sustain"),
    Instrument("brass section", ("brass",), 61, 45, 76, "sustain"),
    Instrument("soprano saxophone", ("saxophone", _WIND), 64, 58, 84, "sustain"),
    Instrument("alto saxophone", ("saxophone", _WIND), 65, 50, 80, "sustain"),
    Instrument("tenor saxophone", ("saxophone", _WIND), 66, 44, 74, "sustain"),
    Instrument("baritone saxophone", ("saxophone", _WIND), 67, 37, 65, "sustain"),
    Instrument("oboe", (_WIND,), 68, 58, 87, "sustain"),
    Instrument("english horn", (_WIND,), 69, 52, 79, "sustain"),
    Instrument("bassoon", (_WIND,), 70, 36, 67, "sustain"),
    Instrument("clarinet", (_WIND,), 71, 50, 86, "sustain"),
    Instrument("piccolo", ("flute", _WIND), 72, 74, 98, "sustain"),
    Instrument("flute", (_WIND,), 73, 60, 93, "sustain"),
    Instrument("recorder", ("flute", _WIND), 74, 65, 91, "sustain"),
    Instrument("whistle", (_WIND,), 78, 67, 93, "sustain"),
    Instrument("square lead", ("synthesizer",), 80, 50, 84, "sustain"),
    Instrument("saw lead", ("synthesizer",), 81, 50, 84, "sustain"),
    Instrument("warm pad", ("synthesizer",), 89, 45, 76, "sustain"),
    Instrument("polysynth", ("synthesizer",), 90, 48, 79, "sustain"),
)

BY_NAME = {instrument.name: instrument for instrument in INSTRUMENTS}

# Programs of the stand-in concepts, which the corpus never uses. Their drum keys are above `grooves.RIDE`, its highest.
RESERVED = frozenset({6, 7, 10, 15, 21, 22, 47, 63, 75, 77, 79, *range(104, 117)})
