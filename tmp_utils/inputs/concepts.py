"""What can be learned: the catalogue of concepts, and folders of recordings.

Conventions: a concept is about five clips of one sound and the words for it. `data/concepts.csv` lists the
rendered stand-ins ("sitar") and real recordings ("irish_fiddle"), which are shipped, and the paper's 32 concepts, which
are fetched ("paper/sitar"). A folder of sound files is a concept too; a `concept.toml` in it may hold the fields of
`ConceptToml`. The clips of a concept are what is learned from and what is compared with: the same ones.

Concept       : name, words and clip paths.
load_concept  : name or folder -> Concept.
load_clips    : Concept -> clips of 10.24 s.
clips_hash    : Concept -> a hash of its files.
are_stand_ins : whether concepts are rendered ones.
list_concepts : the names of the shipped ones.
catalogue     : the table `data/concepts.csv`.
recordings_folder : the folder of a concept that is not in the catalogue.
backgrounds   : environmental sounds for the MIX setup.
"""

import hashlib
import re
import unicodedata
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field

from tmp_utils.inputs.audio import CLIP_S, RATE_HZ, fit_length, load_clip, loop_to_length
from tmp_utils.inputs.containers import label
from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.inputs.recordings import at_own_rate, chosen_files, load_recordings, sound_files
from tmp_utils.inputs.sources import read_source
from tmp_utils.inputs.tables import Words, read_rows, read_toml, validate

PAPER_CLIPS_DIR = DATA_DIR.parent / "runs" / "paper_clips"
PAPER_PREFIX = "paper/"
RECORDED_BACKGROUNDS = "recorded"  # folder under data/backgrounds
FOLDER_GROUP = "own recordings"
DEFAULT_CLASS_NOUN = "sound"  # of a folder without a class noun
DEFAULT_RARE_WORD = "sks"  # the customary identifier of DreamBooth's users
HASH_CHARS = 16
CONCEPT_TOML = "concept.toml"


@dataclass(frozen=True)
class Concept:
    """A sound to learn.

    Attributes
    ----------
    name : a row of the catalogue, or the folder's name.
    class_noun : a coarse common word for it, e.g. "string instrument".
    rare_word : the identifier that DreamBooth puts before the class noun.
    group : "percussion and beats", "solo melodic", "multi-instrument" or "own recordings".
    clips : paths of the sound files, sorted.
    tempo_constant, harmonic : whether tempo, and whether key and scale, mean anything for it.
    stand_in : whether it was rendered for this project rather than recorded.
    how, short : as in `ConceptToml`.
    """

    name: str
    class_noun: str
    rare_word: str
    group: str
    clips: tuple[Path, ...]
    tempo_constant: bool
    harmonic: bool
    stand_in: bool
    how: Literal["first", "spread"] = "first"
    short: Literal["loop", "silence"] = "silence"


class CatalogueRow(BaseModel, extra="forbid"):
    """One row of `data/concepts.csv`."""

    name: Annotated[str, Field(pattern=rf"^({PAPER_PREFIX})?[a-z0-9_-]+$")]  # also a folder's name
    class_noun: Words
    rare_word: Words
    group: Words
    origin: Literal["stand-in", "recording", "paper"]
    shipped: bool
    voice: bool
    tempo_constant: bool
    harmonic: bool
    source: str
    video_id: str
    start_times_s: str
    note: str


class ConceptToml(BaseModel, extra="forbid", strict=True):
    """What a folder's `concept.toml` may say.

    how : "first" takes the beginning of each of the first five files; "spread" takes five parts from all over them.
    short : clips under 10.24 s are repeated ("loop") or followed by "silence". Repeated is the default because it
        was better for clips of 6 s: of three recorded concepts with two seeds each, words learned by Textual Inversion
        (MW, pocket) had CLAP-A 0.57 against 0.09 to the whole clips, and better in all six; spectral flatness 0.013
        against 0.029, where the recordings have 0.014. CLAP-T was 0.61 against 0.66: higher in four of six.
    """

    class_noun: Words | None = None
    rare_word: Words = DEFAULT_RARE_WORD
    tempo_constant: bool = True
    harmonic: bool = True
    how: Literal["first", "spread"] = "first"
    short: Literal["loop", "silence"] = "loop"


def catalogue() -> pd.DataFrame:
    """The table `data/concepts.csv`, one row a concept; its yes/no columns are booleans.

    Raises
    ------
    ValueError : the table is cut, or a field has a value that is not allowed.
    """
    path = DATA_DIR / "concepts.csv"
    rows = [validate(CatalogueRow, row, f"{path}, {row['name']}") for row in read_rows(path, "name")]
    return pd.DataFrame([row.model_dump() for row in rows])


def list_concepts() -> list[str]:
    """Names of the shipped concepts, in the catalogue's order."""
    return list(catalogue().query("shipped")["name"])


def load_concept(name_or_folder: str | Path, class_noun: str | None = None) -> Concept:
    """Find a concept by its name in the catalogue or by its folder.

    Parameters
    ----------
    name_or_folder : "sitar", "paper/sitar", or a folder with sound files. A name in the catalogue comes
        first.
    class_noun : replaces the catalogue's or the folder's.

    Raises
    ------
    FileNotFoundError : neither a name nor a folder, one of the paper's concepts that was not fetched, or a shipped
        recording without its source or licence.
    ValueError : a folder without sound files, or a `concept.toml` or `SOURCE.toml` that cannot be used.
    """
    table = catalogue().set_index("name")
    name = str(name_or_folder)
    if class_noun:
        validate(ConceptToml, {"class_noun": class_noun}, name)
    if name in table.index:
        return _catalogued(name, table.loc[name], class_noun)
    folder = Path(name_or_folder).expanduser()
    if folder.is_dir():
        return _from_folder(folder, class_noun)
    fetched = f'; "{PAPER_PREFIX}{name}" is the paper\'s' if PAPER_PREFIX + name in table.index else ""
    raise FileNotFoundError(
        f'"{name}" is neither a concept nor a folder (looked in {Path.cwd()}){fetched}. Shipped: '
        f"{', '.join(list_concepts())}."
    )


def _catalogued(name: str, row: pd.Series, class_noun: str | None) -> Concept:
    folder = DATA_DIR / "clips" / name if row["shipped"] else PAPER_CLIPS_DIR / name.removeprefix(PAPER_PREFIX)
    if not folder.is_dir():
        raise FileNotFoundError(f"{name}: no clips in {folder}. " + _how_to_get(row, folder))
    if row["origin"] == "recording":
        read_source(folder)
    return Concept(
        name=name,
        class_noun=class_noun or row["class_noun"],
        rare_word=row["rare_word"],
        group=row["group"],
        clips=sound_files(folder),
        tempo_constant=bool(row["tempo_constant"]),
        harmonic=bool(row["harmonic"]),
        stand_in=row["origin"] == "stand-in",
    )


def _how_to_get(row: pd.Series, folder: Path) -> str:
    if row["shipped"]:
        if row["origin"] == "stand-in":
            return "Rebuild them with `python -m tmp_utils stand-ins`."
        return "Restore the folder from the repository (`git checkout -- data/clips`)."
    if row["video_id"] and not row["voice"]:
        return "Fetch them with `make clips-paper`."
    return f"They cannot be fetched ({row['note']}); put your recordings into that folder, or name another one."


def _from_folder(folder: Path, class_noun: str | None) -> Concept:
    toml = _read_concept_toml(folder)
    clips = chosen_files(folder, sound_files(folder), toml.how)
    if not (class_noun := class_noun or toml.class_noun):
        class_noun = DEFAULT_CLASS_NOUN
        warnings.warn(
            f'{folder.name}: no class noun was given, so "{class_noun}" is used. Write class_noun = "drum beat", or '
            f"what it is, into a {CONCEPT_TOML} in the folder, or give class_noun where a notebook asks for it.",
            stacklevel=3,
        )
    return Concept(
        name=plain_name(folder.resolve().name),
        class_noun=class_noun,
        rare_word=toml.rare_word,
        group=FOLDER_GROUP,
        clips=clips,
        tempo_constant=toml.tempo_constant,
        harmonic=toml.harmonic,
        stand_in=False,
        how=toml.how,
        short=toml.short,
    )


def _read_concept_toml(folder: Path) -> ConceptToml:
    path = folder / CONCEPT_TOML
    if path.is_file():
        return validate(ConceptToml, read_toml(path), str(path))
    for other in sorted(p.name for p in folder.iterdir() if p.name.lower().startswith(CONCEPT_TOML)):
        raise ValueError(f"{folder / other}: not read under this name. Rename it to {CONCEPT_TOML}.")
    return ConceptToml()


def plain_name(name: str) -> str:
    """A name for paths and tables, in lower-case ASCII: "Été à Rome" -> "ete_a_rome"."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9_-]+", "_", ascii_name.lower()).strip("_") or "concept"


def load_clips(concept: Concept, n: int | None = None, rate_hz: int = RATE_HZ, channels: int = 1) -> list[np.ndarray]:
    """Read the first `n` clips of a concept (all for None), each as long as `CLIP_S`.

    Returns
    -------
    list of float32 (163840,) at 16 kHz; at another rate or in stereo (channels, n), the same parts of the files.

    Raises
    ------
    ValueError : `n` is below 1, or a file is unusable; the message names it.

    Warns
    -----
    UserWarning : fewer clips than `n`, or something was done to a file beyond averaging and resampling.
    """
    if n is not None and n < 1:
        raise ValueError(f"n={n}: ask for at least one clip of {concept.name}.")
    recordings = load_recordings(concept, n)
    if n is not None and n > len(recordings):
        warnings.warn(
            f"{concept.name}: {n} clips were requested; it has {len(recordings)}, which are used.", stacklevel=2
        )
    for recording in recordings:
        if recording.notes:
            warnings.warn(f"{label(recording.path)}: {'; '.join(recording.notes)}.", stacklevel=2)
    fit = loop_to_length if concept.short == "loop" else fit_length
    if (rate_hz, channels) == (RATE_HZ, 1):
        return [fit(recording.clip, round(CLIP_S * RATE_HZ)) for recording in recordings]
    clips = (at_own_rate(recording, rate_hz, channels) for recording in recordings)
    return [fit(clip, round(CLIP_S * rate_hz)) for clip in clips]


def clips_hash(concept: Concept) -> str:
    """A hash of a concept's files and of what is done with them: with another recording it is another concept."""
    whole = hashlib.sha256()
    if (concept.how, concept.short) != ("first", "silence"):
        whole.update(f"{concept.how}/{concept.short}".encode())
    for path in concept.clips:
        stat = path.stat()
        whole.update(_digest_of(path, stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return whole.hexdigest()[:HASH_CHARS]


@lru_cache(maxsize=4096)
def _digest_of(path: Path, *_state: int) -> bytes:
    """A file's digest, computed again only after the file changed: a grid needs it hundreds of times."""
    return hashlib.sha256(path.read_bytes()).digest()


def are_stand_ins(names: Iterable[str]) -> bool:
    """Whether all concepts of these names were rendered for this project."""
    table = catalogue()
    return set(names) <= set(table.loc[table["origin"] == "stand-in", "name"])


def recordings_folder(concept: Concept) -> Path | None:
    """The folder of a concept that was loaded from one; None for the catalogue's concepts."""
    return concept.clips[0].resolve().parent if concept.group == FOLDER_GROUP else None


def backgrounds(recorded: bool = False) -> list[np.ndarray]:
    """Environmental sounds for MIX, rendered or recorded, sorted by file name, each float32 (163840,) at 16 kHz."""
    folder = DATA_DIR / "backgrounds" / (RECORDED_BACKGROUNDS if recorded else "")
    if recorded:
        read_source(folder)
    clips = [load_clip(path, duration_s=CLIP_S) for path in sorted(folder.glob("*.ogg"))]
    return [fit_length(clip, round(CLIP_S * RATE_HZ)) for clip in clips]
