"""The players on the report's page.

Conventions: HTML, empty where there is nothing to hear; all text from files is escaped. Clips are chosen by rule, and
none by ear.

telling_clips : a concept, both methods' first clip of it, and the untrained model's.
clips_of_runs : the first clips of runs spread evenly over all.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

import pandas as pd

from tmp_utils.findings import narrative
from tmp_utils.findings.listen import player
from tmp_utils.inputs.concepts import Concept, list_concepts, load_concept
from tmp_utils.metrics.table import UNTRAINED
from tmp_utils.runs.folder import read_manifest
from tmp_utils.runs.identity import CLASS_NOUN

MAX_RUNS_HEARD = 12
CLIPS_PER_RUN = 2
AS_MADE = "All play as loud as they were made, and louder seems better: listen past that."


def telling_clips(runs: list[Path], own: dict[str, Concept]) -> str:
    """Return players: a concept, both methods' first clip of it, and the untrained model's; by rule, not by ear."""
    by_name = {run.parts[-3:]: run for run in runs}
    for concept, variant, seed in sorted(by_name):
        pair = [by_name.get((concept, f"{method}-BL", seed)) for method in narrative.METHODS]
        if variant == "DB-BL" and all(pair):
            untrained = by_name.get((concept, f"{UNTRAINED}-{CLASS_NOUN}", seed))
            first = [next(iter(_players(run, 1)), "") for run in (*pair, untrained) if run]
            return _own_clip(concept, own) + "".join(first) + f"<p class='quiet'>{AS_MADE}</p>"
    return ""


def clips_of_runs(runs: list[Path], own: dict[str, Concept]) -> str:
    """Return players for the first clips of some runs, spread evenly over all, and for the concepts' own."""
    heard = [run for run in runs if (run / "clips" / "clips.csv").exists() or (run / "clips.csv").exists()]
    if not heard:
        return ""
    step = max(1, -(-len(heard) // MAX_RUNS_HEARD))
    first = [_own_clip(concept, own) for concept in sorted({run.parts[-3] for run in heard[::step]})]
    players = [*first, *(row for run in heard[::step] for row in _players(run, CLIPS_PER_RUN))]
    chosen = f"{len(heard[::step])} of {len(heard)} runs, {CLIPS_PER_RUN} clips of each at most, none chosen by ear."
    return f"<p class='quiet'>{chosen} {AS_MADE}</p><div class='clips'>{''.join(players)}</div>"


def _own_clip(concept: str, own: dict[str, Concept]) -> str:
    """Return a player for a concept's first clip; nothing where its recordings are no longer where they were."""
    found = own.get(concept) or (load_concept(concept) if concept in list_concepts() else None)
    return _player(found.clips[0], f"{concept}: the concept itself", "one of its own clips") if found else ""


def _players(run: Path, n: int) -> Iterable[str]:
    listing = run / "clips.csv" if (run / "clips.csv").exists() else run / "clips" / "clips.csv"
    asked = read_manifest(run)["parameters"]
    method = asked.get("method", run.parts[-2])
    variant = f"{narrative.METHODS.get(method, method)} {asked.get('setup', '')}".strip()
    for clip in pd.read_csv(listing).drop_duplicates("prompt_id").head(n).itertuples():
        paths = (run / "clips" / clip.file, run / clip.file)
        yield _player(next(filter(Path.exists, paths), paths[0]), f"{run.parts[-3]}: {variant}", f"“{clip.prompt}”")


def _player(path: Path, who: str, what: str) -> str:
    return f"<p class='clip'><b>{escape(who)}</b><br>{escape(what)}<br>{player(path)}</p>"
