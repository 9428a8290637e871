"""Credits of the shipped recordings, for pages and cards that are shared.

Conventions: a credit is one line with title, maker, licence and its address, source, and that the clips were cut and
resampled, as CC BY and CC BY-SA ask. It is the `credit` of the folder's `SOURCE.toml`. Rendered stand-ins, the paper's
clips and folders of a user's own recordings have none.

Credit        : the line, and the licence's name.
folder_credit : folder of clips -> Credit, or None.
credits_of    : Concept and setups -> the credits of all that was learned from.
learned_from  : the same by the names that an adapter has.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tmp_utils.inputs.concepts import RECORDED_BACKGROUNDS, Concept, catalogue, load_concept
from tmp_utils.inputs.mixtures import list_mixtures, load_parts
from tmp_utils.inputs.profiles import DATA_DIR, list_setups
from tmp_utils.inputs.sources import SOURCE_NAME, read_source


@dataclass(frozen=True)
class Credit:
    """One recording: the line that credits it, and its licence, such as "CC BY-SA 3.0"."""

    line: str
    licence: str


def folder_credit(folder: Path) -> Credit | None:
    """The credit of a folder of shipped recordings; None for any other folder.

    Raises
    ------
    FileNotFoundError, ValueError : its licence or `SOURCE.toml` is not whole.
    """
    if not (folder / SOURCE_NAME).is_file() or not folder.resolve().is_relative_to(DATA_DIR.resolve()):
        return None
    source = read_source(folder)
    return Credit(source["credit"], source["licence"])


def credits_of(concept: Concept | None, setups: Collection[str] = ()) -> list[Credit]:
    """The credits of a concept's clips, and of the recorded backgrounds where one of the setups mixes them in.

    Parameters
    ----------
    concept : None is a folder of recordings that is not here any more.
    setups : names such as "DB-MIX". Those that are not in `data/setups.csv` mix nothing in.
    """
    folders = [concept.clips[0].parent] if concept else []
    mixing = {setup.name for setup in list_setups() if setup.mix_snr_db is not None}
    if mixing & set(setups) and not (concept and concept.stand_in):
        folders.append(DATA_DIR / "backgrounds" / RECORDED_BACKGROUNDS)
    return [credit for credit in map(folder_credit, folders) if credit]


def learned_from(name: str, rare_word: str | None, setup: str) -> list[Credit]:
    """The credits of what an adapter learned from: a shipped concept, or the two parts of a shipped mixture.

    Parameters
    ----------
    name : of the concept; of a mixture, "drums_fiddle-drum-beat".
    rare_word : the shipped ones are unusual, so that a user's own folder of the same name is told apart by it.
    setup : such as "DB-MIX".
    """
    shipped = catalogue().query("shipped").set_index("name")["rare_word"]
    if rare_word and shipped.get(name) == rare_word:
        return credits_of(load_concept(name), [setup])
    for row in list_mixtures():
        if name.startswith(f"{row.name}-"):
            parts = load_parts(row)
            if rare_word in {part.rare_word for part in parts}:
                return [credit for part in parts for credit in credits_of(part)]
    return credits_of(None, [setup])
