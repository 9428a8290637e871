"""Mixtures to learn from: clips in which several sounds play at once, and a class noun for each of them.

Conventions: a mixture's clips are float32 (163840,) at 16 kHz and `MIXTURE_LUFS` loud. Which part of the sound is
which is not known; the class nouns are. Of the rows of `data/mixtures.csv` the parts are known, too: they are two
shipped concepts, clip k with clip k, and add up to the mixture. They serve to judge what was learned and are never
learned from, except to see what could be reached. `level_db` is the loudness of the first part above the second's in
LU; without it the two keep the levels of their recording.

Mixture       : name, words, clips and, where they are known, parts.
load_mixture  : a name in `data/mixtures.csv` -> Mixture.
own_mixture   : a folder of recordings and class nouns -> Mixture.
load_parts    : a row of that table -> its two parts, as concepts.
mix           : the clips of two parts -> the parts at their levels.
list_mixtures : the rows of `data/mixtures.csv`.
MixtureSetup, load_mixture_setup, list_mixture_setups : how words are learned from a mixture.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, Field

from tmp_utils.inputs.audio import loudness_lufs
from tmp_utils.inputs.concepts import DEFAULT_RARE_WORD, Concept, load_clips, load_concept
from tmp_utils.inputs.profiles import DATA_DIR, Absent
from tmp_utils.inputs.sources import read_source
from tmp_utils.inputs.tables import Name, Words, read_rows, validate

STEMS = "stems"  # folder under data/: parts of songs whose other part is a shipped concept
MIXTURE_LUFS = -20.0  # near the median of the shipped concepts' clips, -20.7
Share = Annotated[float, Field(ge=0, le=1)]
MAX_LEVEL_DB = 20.0  # of one part above another: the masks of a fainter one are nearly empty


@dataclass(frozen=True)
class Mixture:
    """Several sounds at once.

    Attributes
    ----------
    name : a row of the table, or the folder's name.
    class_nouns, rare_words : a word for each of its sounds, in one order.
    clips : of the mixture.
    parts : of each sound its clips, as they are in the mixture; () where they are not known.
    concepts : those that the parts are clips of, at levels of their own.
    kind : "unlike" or "like" (two stand-ins of such timbres), "recordings", "song" or "own recording".
    """

    name: str
    class_nouns: tuple[str, ...]
    rare_words: tuple[str, ...]
    clips: tuple[np.ndarray, ...]
    parts: tuple[tuple[np.ndarray, ...], ...]
    kind: str
    concepts: tuple[Concept, ...] = ()

    def __post_init__(self):
        nouns = [noun.strip().lower() for noun in self.class_nouns]
        if len(nouns) < 2:
            raise ValueError(
                f"{self.name}: {len(nouns)} class noun; a mixture has two sounds or more. For one sound, learn a "
                "concept (notebooks 02 and 03)."
            )
        if twice := next((noun for noun in nouns if nouns.count(noun) > 1), None):
            raise ValueError(
                f'{self.name}: "{twice}" stands for two of its sounds, and the model can only tell them apart by their '
                'nouns. Use finer ones, such as "violin" and "guitar" for two string instruments.'
            )
        if len(nouns) > len(self.clips):
            raise ValueError(
                f"{self.name}: {len(nouns)} sounds in {len(self.clips)} clips; give at least as many clips as sounds, "
                "since a word is what its sound has in common in all of them."
            )

    @property
    def digest(self) -> str:
        """SHA-256 of the mixture's clips."""
        return hashlib.sha256(np.asarray(self.clips, dtype=np.float32).tobytes()).hexdigest()


class MixtureRow(BaseModel, extra="forbid"):
    """One row of `data/mixtures.csv`; a part is a concept, or a folder under `data/`."""

    name: Name
    first: Words
    second: Words
    level_db: Annotated[Annotated[float, Field(ge=-MAX_LEVEL_DB, le=MAX_LEVEL_DB, allow_inf_nan=False)] | None, Absent]
    kind: Literal["unlike", "like", "recordings", "song"]
    note: str


class MixtureSetup(BaseModel, extra="forbid", frozen=True):
    """One row of `data/mixture_setups.csv`: how the words of a mixture are learned (`personalize.mixtures`).

    method, setup : its name; the method says what trains, as in `data/setups.csv`.
    masks : whose predictions make the parts: "nouns", "words" or "both"; "stems": the stems; "none": none.
    parts_first, parts_last : the weight of the parts in the first and the last step; in between it changes linearly.
    """

    method: Literal["TI", "DB", "DB-LoRA", "DB-CD", "DB-SV"]
    setup: Name
    masks: Literal["none", "nouns", "words", "both", "stems"]
    parts_first: Share
    parts_last: Share
    note: str

    @property
    def name(self) -> str:
        """For messages and folders: "TI-PRIOR"."""
        return f"{self.method}-{self.setup}"


def list_mixture_setups() -> list[MixtureSetup]:
    """The rows of `data/mixture_setups.csv`, in its order; ValueError where one has a value that is not allowed."""
    path = DATA_DIR / "mixture_setups.csv"
    rows = read_rows(path, ("method", "setup"))
    return [validate(MixtureSetup, row, f"{path}, {row['method']}-{row['setup']}") for row in rows]


def load_mixture_setup(name: str) -> MixtureSetup:
    """The setup of a name such as "TI-PRIOR"; ValueError lists the valid ones."""
    setups = {setup.name: setup for setup in list_mixture_setups()}
    if name not in setups:
        raise ValueError(f'"{name}" is not a setup of mixtures; data/mixture_setups.csv has {", ".join(setups)}.')
    return setups[name]


def list_mixtures() -> list[MixtureRow]:
    """The rows of `data/mixtures.csv`, in its order; ValueError where one has a value that is not allowed."""
    path = DATA_DIR / "mixtures.csv"
    return [validate(MixtureRow, row, f"{path}, {row['name']}") for row in read_rows(path, "name")]


def load_mixture(name: str) -> Mixture:
    """Mix the two concepts of a row.

    Raises
    ------
    ValueError : no such row, one concept twice, or a part that cannot be mixed.
    """
    rows = {row.name: row for row in list_mixtures()}
    if name not in rows:
        raise ValueError(
            f'"{name}" is not a mixture; data/mixtures.csv has {", ".join(rows)}. For a folder of your own recordings, '
            "give the class nouns of its sounds."
        )
    row = rows[name]
    if row.first == row.second:
        raise ValueError(f"{name}: {row.first} with itself is one concept. Name two.")
    concepts = load_parts(row)
    parts = mix([load_clips(concept) for concept in concepts], row.level_db, name)
    return Mixture(
        name=name,
        class_nouns=tuple(concept.class_noun for concept in concepts),
        rare_words=tuple(concept.rare_word for concept in concepts),
        clips=tuple(np.sum(at_once, axis=0) for at_once in zip(*parts, strict=True)),
        parts=parts,
        kind=row.kind,
        concepts=tuple(concepts),
    )


def load_parts(row: MixtureRow) -> list[Concept]:
    """The two parts of a row.

    Raises
    ------
    FileNotFoundError, ValueError : a part without its clips, or a recording without its source or licence.
    """
    return [_part(name) for name in (row.first, row.second)]


def _part(name: str) -> Concept:
    folder = DATA_DIR / name
    if not folder.is_dir():
        return load_concept(name)
    read_source(folder)
    return load_concept(folder)


def own_mixture(folder: str | Path, class_nouns: Sequence[str]) -> Mixture:
    """A folder of recordings in which several sounds play at once.

    Parameters
    ----------
    class_nouns : what the sounds are, such as ["drum beat", "violin"]; DreamBooth's rare word is the same for all.

    Raises
    ------
    ValueError : no such folder, fewer than two nouns, a noun twice, or fewer clips than nouns; a file that cannot be
        used.
    """
    if not Path(folder).expanduser().is_dir():
        raise ValueError(
            f"{folder}: there is no such folder. Class nouns are for a folder of your own recordings; leave them out "
            "for a row of data/mixtures.csv."
        )
    nouns = tuple(noun.strip() for noun in class_nouns)
    if blank := [noun for noun in nouns if not noun]:
        raise ValueError(f"{folder}: {len(blank)} of {len(nouns)} class nouns are empty. Say what each sound is.")
    concept = load_concept(folder, class_noun=" and ".join(nouns) or None)
    clips = [_at(clip, MIXTURE_LUFS - _loudness(clip, concept.name)) for clip in load_clips(concept)]
    rare_words = (DEFAULT_RARE_WORD,) * len(nouns)
    return Mixture(concept.name, nouns, rare_words, tuple(clips), (), "own recording")


def mix(parts: Sequence[Sequence[np.ndarray]], level_db: float | None, name: str) -> tuple[tuple[np.ndarray, ...], ...]:
    """Bring the clips of two parts to their levels: clip k of one plays with clip k of the other.

    Parameters
    ----------
    parts : two of as many clips, each float (n,).
    level_db : loudness of the first above the second in LU; None leaves the levels as they are.

    Returns
    -------
    the parts, so that their sum is `MIXTURE_LUFS` loud.

    Raises
    ------
    ValueError : not as many clips in one as in the other, or a clip that is silent.
    """
    first, second = parts
    if len(first) != len(second):
        raise ValueError(f"{name}: {len(first)} clips with {len(second)}; a mixture takes them in pairs.")
    mixed = []
    for k, (a, b) in enumerate(zip(first, second, strict=True), 1):
        levels = [_loudness(clip, f"{name}, clip {k}, part {i}") for i, clip in enumerate((a, b), 1)]
        if level_db is not None:
            a = _at(a, levels[1] + level_db - levels[0])
        gain_db = MIXTURE_LUFS - loudness_lufs(a + b)
        mixed.append((_at(a, gain_db), _at(b, gain_db)))
    return tuple(zip(*mixed, strict=True))


def _loudness(clip: np.ndarray, what: str) -> float:
    level_lufs = loudness_lufs(clip)
    if np.isnan(level_lufs):
        raise ValueError(f"{what}: silent, so there is nothing of it in the mixture. Choose another clip.")
    return level_lufs


def _at(clip: np.ndarray, gain_db: float) -> np.ndarray:
    return np.asarray(clip, dtype=np.float32) * np.float32(10 ** (gain_db / 20))
