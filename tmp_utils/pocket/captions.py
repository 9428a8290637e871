"""Captions of the pocket corpus: a subject, in a context.

Conventions: ``noun`` is the word for the subject in the caption. A context is the id of an editability prompt in
``data/prompts.csv`` (so that the model learns the exact words of the prompts), ``"neutral"``, or one of the extra
contexts that are in no prompt.
"""

from dataclasses import dataclass

from tmp_utils.inputs.prompts import editability_prompts, fill, training_templates
from tmp_utils.pocket.instruments import INSTRUMENTS, Instrument

NEUTRAL = "neutral"
EXTRA = {
    "genre-hiphop": ("a hip hop song with a {}", "hip hop with a {}"),
    "genre-reggae": ("a reggae song with a {}", "reggae music with a {}"),
    "accompaniment-jazz": ("a {} with a jazz drum beat", "a {} and jazz drums"),
    "tempo-fast": ("a fast {}", "a {} played fast"),
    "tempo-slow": ("a slow {}", "a {} played slowly"),
}
PARAPHRASES = {
    "genre-jazz": ("jazz with a {}", "a {} in a jazz band"),
    "genre-rock": ("rock with a {}", "a {} in a rock band"),
    "genre-disco": ("disco with a {}", "a {} in a disco band"),
    "genre-techno": ("techno with a {}", "a techno song with a {}"),
    "genre-metal": ("heavy metal with a {}", "a {} in a heavy metal band"),
    "recording-room": ("a {} in a small room",),
    "recording-cathedral": ("a {} in a cathedral", "a {} echoing in a cathedral"),
    "recording-water": ("a {} under water", "a {} heard under water"),
    "recording-gramophone": ("a {} on a gramophone", "an old gramophone recording of a {}"),
    "accompaniment-rock": ("a {} and rock drums",),
    "accompaniment-hiphop": ("a {} and hip hop drums",),
    "accompaniment-singer": ("a man singing with a {}",),
    "accompaniment-guitar": ("a {} and a classical guitar",),
    "accompaniment-synth": ("a {} and a synth bass",),
    "accompaniment-saxophone": ("a {} and a saxophone",),
    "background-rain": ("a {} in the rain",),
    "background-footsteps": ("a {} and footsteps",),
    "background-crowd": ("a {} and a big crowd", "a {} played to a big crowd"),
    "mood-happy": ("a happy {}", "happy music with a {}"),
    "mood-sad": ("a sad {}", "sad music with a {}"),
}
NEUTRAL_SHARE, EXTRA_SHARE, MAIN_WORDING_SHARE, INSTRUMENT_NAME_SHARE = 0.26, 0.10, 0.6, 0.6


@dataclass(frozen=True)
class Subject:
    """Who plays.

    Attributes
    ----------
    noun : as in the caption, without article.
    kind : ``"instrument"``, ``"beat"``, ``"percussion"`` or ``"classical"``.
    instrument : for kind ``"instrument"``.
    groove : for kind ``"beat"``.
    """

    noun: str
    kind: str
    instrument: Instrument | None = None
    groove: str | None = None


def draw_subject(rng) -> Subject:
    """Three quarters single instruments (six in ten by name, the rest by class noun), the rest beats and ensembles."""
    kind = str(rng.choice(["instrument", "beat", "percussion", "classical"], p=[0.75, 0.13, 0.06, 0.06]))
    if kind == "beat":
        groove = str(rng.choice(["rock", "jazz", "disco", "techno", "heavy metal", "hip hop", "reggae"]))
        return Subject(str(rng.choice(["drum beat", f"{groove} drum beat"])), kind, groove=groove)
    if kind == "percussion":
        return Subject(str(rng.choice(["percussion", "set of drums"])), kind)
    if kind == "classical":
        return Subject(str(rng.choice(["classical music", "classical orchestra"])), kind)
    instrument = INSTRUMENTS[int(rng.integers(len(INSTRUMENTS)))]
    by_name = rng.random() < INSTRUMENT_NAME_SHARE
    return Subject(instrument.name if by_name else str(rng.choice(instrument.nouns)), kind, instrument)


def draw_context(rng) -> str:
    """Neutral, extra, or one of the editability prompts with equal chance."""
    ids = [prompt.id for prompt in editability_prompts()]
    share = (1 - NEUTRAL_SHARE - EXTRA_SHARE) / len(ids)
    names = [NEUTRAL, *EXTRA, *ids]
    return str(rng.choice(names, p=[NEUTRAL_SHARE, *[EXTRA_SHARE / len(EXTRA)] * len(EXTRA), *[share] * len(ids)]))


def caption(subject: Subject, context: str, rng) -> str:
    """Write the caption: with the wording of the prompt six times in ten, otherwise with a paraphrase."""
    if context == NEUTRAL:
        return fill(str(rng.choice(training_templates())), subject.noun)
    if context in EXTRA:
        return fill(str(rng.choice(EXTRA[context])), subject.noun)
    main = next(prompt.template for prompt in editability_prompts() if prompt.id == context)
    template = main if rng.random() < MAIN_WORDING_SHARE else str(rng.choice(PARAPHRASES[context]))
    return fill(template, subject.noun)
