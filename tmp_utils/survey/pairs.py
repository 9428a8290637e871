"""Pairs of generated clips that a questionnaire can compare.

Conventions: two clips are a pair if two variants made them for the same concept, seed, prompt and index.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tmp_utils.files import below
from tmp_utils.runs.clips import LISTING, read_listing
from tmp_utils.runs.integrity import read_manifest
from tmp_utils.runs.place import Place
from tmp_utils.survey.questions import KINDS

VARIANTS = ("DB-BL", "TI-BL")  # the paper's comparison
KEYS = ["concept", "class_noun", "seed", "kind", "family", "prompt_id", "index"]


def find_pairs(place: Place, variants: Sequence[str] = VARIANTS) -> pd.DataFrame:
    """Every pair of clips that two of the variants made for the same thing.

    Returns
    -------
    One row a pair: concept, seed, kind, family, prompt_id, index, first, second (variants), file_first,
    file_second (paths).

    Raises
    ------
    ValueError : fewer than two variants, or no pair of them in the runs.
    """
    if len(set(variants)) < 2:
        raise ValueError(f"variants {list(variants)}: name two or more different ones, such as {VARIANTS}.")
    folders = place.runs()
    clips = [_run_clips(folder) for folder in folders if folder.parent.name in set(variants)]
    pairs = [
        _matched(pd.concat(clips, ignore_index=True), first, second)
        for first, second in (itertools.combinations(variants, 2) if clips else ())
    ]
    if not any(len(part) for part in pairs):
        finished = sorted({f"{folder.parts[-3]}/{folder.parent.name}" for folder in folders})
        raise ValueError(
            f"no pairs of {' and '.join(variants)} in {place.folder}: a pair needs "
            f"both, for the same concept, seed and prompt. Finished runs: {', '.join(finished) or 'none'}. "
            f"Make them with `make study` or notebooks 02 and 03, or name other variants."
        )
    return pd.concat(pairs, ignore_index=True)


def _run_clips(folder: Path) -> pd.DataFrame:
    """The clips of a run: `KEYS`, variant and path."""
    listing = read_listing(folder)
    place = folder / LISTING
    if missing := {"family", "index"} - set(listing.columns):
        raise ValueError(f"{place}: columns {sorted(missing)} are missing. Make that run again.")
    table = listing[listing["index"].notna()].astype({"prompt_id": str}).fillna({"family": ""})  # the rest is lost
    for column, valid, allowed in (
        ("kind", table["kind"].isin(KINDS), " or ".join(KINDS)),
        ("index", pd.to_numeric(table["index"], errors="coerce").isin(range(100_000)), "a whole number from 0 up"),
    ):
        if len(wrong := table.loc[~valid, column]):
            raise ValueError(f"{place}: {column} {wrong.iloc[0]!r}; expected {allowed}. Make that run again.")
    parameters = read_manifest(folder)["parameters"]
    table["path"] = [str(below(place.parent, file)) for file in table["file"]]
    table["concept"] = parameters.get("concept", folder.parts[-3])
    table["class_noun"] = parameters.get("class_noun", "")
    seed = int(folder.name.removeprefix("seed"))
    return table.astype({"index": int}).assign(variant=folder.parent.name, seed=seed)


def _matched(clips: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    sides = [clips.loc[clips["variant"] == variant, [*KEYS, "path"]] for variant in (first, second)]
    pairs = sides[0].merge(sides[1], on=KEYS, suffixes=("_first", "_second"))
    pairs = pairs.rename(columns={"path_first": "file_first", "path_second": "file_second"})
    return pairs.assign(first=first, second=second)
