"""The results table: every finished run of a profile in one tidy table, scored again only where it must be.

Conventions: the table (`metrics.RESULT_COLUMNS`) is kept as `<runs_dir>/<profile>/results.csv`. A run's own rows are
its ``metrics.csv``; ``scored.json`` beside them says which clips they were made from. A clip that changed or went
missing makes that run's rows stale and no others. What cannot be scored is a "failed" row with its reason; a run that
failed as a whole is tried again each time. The pooled distances of a setup have the concept "pooled" and metrics of
their own, ``pooled_fad`` and ``pooled_kad``, so that no mean over concepts takes them for a concept's.

collect_results : runs -> the table, written whole or not at all.
read_results    : the table as it was last collected; from `published`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from tmp_utils.files import below, file_sha256, write_csv, write_json, write_text
from tmp_utils.findings.published import RESULTS, publish
from tmp_utils.findings.published import read_results as read_results  # so that a notebook needs one import
from tmp_utils.inputs import concepts
from tmp_utils.inputs.prompts import editability_prompts, fill, reconstruction_prompt
from tmp_utils.metrics.table import (
    UNTRAINED,
    check_one_embedder,
    read_table,
    results_table,
    score_references,
    share_rows,
)
from tmp_utils.runs import folder as runs
from tmp_utils.runs.collection import METRICS, SWEEP, Collection, heard_by
from tmp_utils.runs.integrity import damages, record, recorded
from tmp_utils.runs.score import RECONSTRUCTION, failed_run, score_run

SCORED = "scored.json"
LISTINGS = ("clips/clips.csv", "curves.csv")  # what names a run's clips; the second is a style-transfer sweep's
RUN = ("concept", "method", "setup", "seed")


def collect_results(
    runs_dir: str | Path,
    profile: str,
    own_concepts: Sequence[str | Path] = (),
    embedder: str = "",
    pooled_embedder: str = "",
    say: Callable = print,
) -> pd.DataFrame:
    """Return the results table of all finished runs and write it to `<runs_dir>/<profile>/results.csv`.

    Parameters
    ----------
    runs_dir, profile
        Where the runs are.
    own_concepts : names or folders
        Recordings of your own that runs were made from.
    embedder : str
        Score every run that was scored with another one again, with this; "" keeps what there is and scores only
        what is missing or stale, with the one of the others.
    pooled_embedder : str
        For the pooled distances alone: "vggish" for the paper's FAD.
    say : callable
        Told in one line what was done.

    Raises
    ------
    FileNotFoundError
        If no run of a setup is finished; the message names what to run.
    ValueError
        If one metric was measured with two embedders.
    """
    collection = Collection(runs_dir, profile, own_concepts, embedder, pooled_embedder)
    tables, again, digests = [], [], []
    for folder in collection.folders:
        digest = _digest(folder)
        if not _is_current(folder, digest, collection.embedder.name if embedder else ""):
            _score_again(collection, folder, digest)
            again.append("/".join(folder.parts[-3:]))
        tables.append(read_table(folder / METRICS))
        digests.append(digest)
    table = share_rows(check_one_embedder(pd.concat(tables, ignore_index=True)))
    table = pd.concat([table, _pooled(collection, digests)], ignore_index=True)
    write_csv(collection.folder / RESULTS, table)
    unfinished = sorted(collection.folder.glob("*/*/.seed*.partial"))
    told = [f"{len(collection.folders)} runs", f"{len(again)} scored again"]
    if unfinished:
        told.append(f"{len(unfinished)} unfinished and left out")
    say(", ".join([*told, f"{(table['status'] == 'failed').sum()} failed rows"]) + ".")
    return table


def _listing(folder: Path) -> Path:
    return next((folder / name for name in LISTINGS if (folder / name).is_file()), folder / LISTINGS[0])


def _files(folder: Path) -> list[Path]:
    """Return the paths of a run's clips, there or not; none where its listing cannot be read."""
    try:
        return [below(folder / "clips", file) for file in pd.read_csv(_listing(folder))["file"].astype(str)]
    except (FileNotFoundError, KeyError, ValueError):  # what is wrong is said where the run is scored
        return []


def _digest(folder: Path) -> str:
    """Return a hash of a run's listing and of all its clips."""
    whole = hashlib.sha256()
    for path in [_listing(folder), *_files(folder)]:
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
        whole.update(f"{path.name}\0{content}\0".encode())
    return whole.hexdigest()


def _is_current(folder: Path, digest: str, embedder: str) -> bool:
    """Whether a run's rows were made from the clips that are there (and by `embedder`, if one is named)."""
    if not (folder / METRICS).is_file() or damages(folder, recorded(folder), [METRICS]):
        return False
    if embedder and any(name != embedder for name in heard_by(folder)):
        return False
    if (folder / SCORED).is_file():
        return _scored_clips(folder) == digest and not _failed_whole(folder)
    files = [_listing(folder), *_files(folder)]
    scored_s = _changed_s(folder / METRICS)
    if len(files) == 1 or not all(path.is_file() and _changed_s(path) <= scored_s for path in files):
        return False
    write_json(folder / SCORED, {"clips": digest})
    return True


def _scored_clips(folder: Path) -> str:
    """Return the digest of the clips that a run's rows were made from; empty where its file cannot be read."""
    try:
        return json.loads((folder / SCORED).read_text(encoding="utf-8"))["clips"]
    except (ValueError, KeyError, TypeError):  # damaged: the run is scored again, which writes it anew
        return ""


def _changed_s(path: Path) -> float:
    """Return when a file was written or moved here, in seconds since 1970."""
    return max(path.stat().st_mtime, path.stat().st_ctime)


def _score_again(collection: Collection, folder: Path, digest: str) -> None:
    sweep = folder.parent.name.startswith(SWEEP)
    write_csv(folder / METRICS, _failed_sweep(folder) if sweep else _scored(collection, folder))
    write_json(folder / SCORED, {"clips": digest})
    record(folder, METRICS)


def _failed_whole(folder: Path) -> bool:
    """Whether no score of a run could be made: what was missing, its concept say, may be there the next time."""
    if folder.parent.name.startswith(SWEEP):  # only notebook 04 measures a sweep
        return False
    return bool((read_table(folder / METRICS)["status"] == "failed").all())


def _failed_sweep(folder: Path) -> pd.DataFrame:
    """Return a sweep's rows without their values: its clips are measured where they are made."""
    note = "the sweep's clips changed since they were measured; delete its folder and run notebook 04 again"
    if not (folder / METRICS).is_file():
        return results_table([])
    rows = read_table(folder / METRICS)
    blank = {"value": float("nan"), "n": 0, "ci_low": float("nan"), "ci_high": float("nan")}
    return rows.assign(**blank, status="failed", note=note)


def _scored(collection: Collection, folder: Path) -> pd.DataFrame:
    """Return all rows of a run, failed ones where its clips or its concept's cannot be used."""
    parameters = runs.read_manifest(folder)["parameters"]
    identity = {"profile": folder.parents[2].name} | {name: parameters[name] for name in RUN}
    embedder = collection.embedder
    asked = editability_prompts(parameters["n_editability_prompts"])
    try:
        concept = collection.concept(parameters)
        training = concepts.load_clips(concept)
        manifest = _complete(pd.read_csv(_listing(folder)), [reconstruction_prompt(), *asked], parameters)
    except (FileNotFoundError, ValueError) as error:
        before = read_table(folder / METRICS) if (folder / METRICS).is_file() else None
        return failed_run(identity, embedder.name, str(error), before)
    texts = {prompt.id: fill(prompt.template, concept.class_noun) for prompt in editability_prompts()}
    rules = {"tempo": bool(concept.tempo_constant), "harmony": bool(concept.harmonic), "seed": parameters["seed"]}
    rows = score_run(manifest, folder / "clips", training, embedder, texts, identity, **rules)
    if parameters["method"] != UNTRAINED:
        return rows
    prompts = embedder.embed_prompts([texts[prompt.id] for prompt in asked])
    own = score_references(embedder.embed_clips(training), prompts, identity, embedder.name)
    return pd.concat([rows, own], ignore_index=True)


def _complete(manifest: pd.DataFrame, asked: Sequence, parameters: Mapping) -> pd.DataFrame:
    """Return the listing with a row for each clip it should name and does not, so that its prompt fails."""
    if "prompt_id" not in manifest:
        return manifest
    listed, lost = manifest["prompt_id"].value_counts(), []
    for prompt in asked:
        count = "reconstruction_clips" if prompt.kind == RECONSTRUCTION else "clips_per_prompt"
        for _ in range(listed.get(prompt.id, 0), parameters.get(count, 1)):
            lost.append(
                {"file": f"a clip of {prompt.id} not in clips.csv", "prompt_id": prompt.id, "kind": prompt.kind}
            )
    return pd.concat([manifest, pd.DataFrame(lost)], ignore_index=True) if lost else manifest


def _pooled(collection: Collection, digests: Sequence[str]) -> pd.DataFrame:
    """Return the pooled distances, from the last time if all clips and the embedder are the same."""
    own = [f"{name}:{concepts.clips_hash(concept)}" for name, concept in sorted(collection.own.items())]
    key = hashlib.sha256("".join([*digests, *map(str, collection.folders), *own, collection.pooled_spec]).encode())
    path = collection.folder / ".cache" / f"pooled-{key.hexdigest()[:16]}.csv"
    cached = _cached(path)
    if len(cached) and not cached["status"].eq("failed").any():
        return cached
    from tmp_utils.findings.pooled import pooled_distances

    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(path, pooled_distances(collection))
    write_text(path.with_suffix(".sha256"), file_sha256(path))
    return read_table(path)


def _cached(path: Path) -> pd.DataFrame:
    """Return the pooled distances of the last time; none where their file is missing or not as it was written."""
    digest = path.with_suffix(".sha256")
    if not path.is_file():
        return results_table([])
    if not digest.is_file() or digest.read_bytes() != file_sha256(path).encode():
        print(f"{path.name}: the cached pooled distances are damaged; measured again.")
        return results_table([])
    return read_table(path)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what only this command takes."""
    parser.add_argument("--publish", metavar="FILE", help="also write the table to FILE, with what made it")
    parser.add_argument("--grow", action="store_true", help="for --publish: keep the runs that only FILE has")
    parser.add_argument("--command", default="make study", help="for --publish: the command that made the runs")


def main(options: argparse.Namespace) -> None:
    """Collect the results, and publish them if asked to."""
    collect_results(options.runs_dir, options.profile, options.concepts)
    if options.publish:
        print(publish(options.runs_dir, options.profile, options.publish, options.command, options.grow))
