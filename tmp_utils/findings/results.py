"""The results table: every finished run of a profile in one tidy table.

Conventions: the table (`metrics.table.RESULT_COLUMNS`) is `<runs_dir>/<profile>/results.csv`. A run's rows are its
``metrics.csv``. A run is scored again when that file is missing or damaged, when its rows failed for clips that could
not be used, or when a clip is not as it was written: then the rows that need the clip are "failed" with the reason, and
no others change. Those of a style-transfer sweep follow from its ``curves.csv``, and no file of it is written. The
pooled distances of a setup have the concept "pooled" and metrics of their own, ``pooled_fad`` and ``pooled_kad``, so
that no mean over concepts includes them.
"""

import argparse
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from tmp_utils.files import check_writable, write_csv
from tmp_utils.findings.published import RESULTS, is_whole, publish, write_checked
from tmp_utils.inputs import concepts
from tmp_utils.metrics.names import CODED
from tmp_utils.metrics.table import check_one_embedder, read_table, results_table
from tmp_utils.runs.clips import BAD_CLIPS, CLIPS
from tmp_utils.runs.collection import METRICS, SWEEP, Collection, embedders_of
from tmp_utils.runs.integrity import damages, fingerprints, read_manifest, record, recorded
from tmp_utils.runs.place import Place
from tmp_utils.runs.score import codec_paths, failed_run, names_of, score_run
from tmp_utils.runs.sweep import sweep_rows


def collect_results(
    place: Place,
    recordings: Sequence[str | Path] = (),
    embedder: str = "",
    pooled_embedder: str = "",
    say: Callable = print,
) -> pd.DataFrame:
    """Return the results table of all finished runs and write it to `<runs_dir>/<profile>/results.csv`.

    Parameters
    ----------
    place : where the runs are.
    recordings : names or folders; where the recordings of concepts outside the catalogue are, if not where the runs
        found them.
    embedder : score every run that was scored with another embedder again, with this one; "" scores only what has to be
        scored again, with the embedder of the others.
    pooled_embedder : for the pooled distances alone: "vggish" for the paper's FAD.
    say : prints one line: how many runs there are, were scored again, are unfinished.

    Raises
    ------
    FileNotFoundError : no run of a setup is finished; the message names what to run.
    ValueError : one metric was measured with two embedders.
    """
    collection = Collection(place, recordings, embedder, pooled_embedder)
    tables, n_scored = [], 0
    for folder in collection.folders:
        if folder.parent.name.startswith(SWEEP):  # its clips are measured where they are made
            tables.append(sweep_rows(folder))
            continue
        if not _is_current(folder, collection.embedder.name if embedder else ""):
            write_csv(folder / METRICS, _scored(collection, folder))
            record(folder, METRICS)
            n_scored += 1
        tables.append(read_table(folder / METRICS))
    table = check_one_embedder(pd.concat(tables, ignore_index=True))
    table = pd.concat([table, _pooled(collection)], ignore_index=True)
    write_checked(place.folder / RESULTS, table)
    counts = [f"{len(collection.folders)} runs", f"{n_scored} scored again"]
    if unfinished := len(list(place.folder.glob("*/*/.seed*.partial"))):
        counts.append(f"{unfinished} unfinished and left out")
    say(", ".join([*counts, f"{(table['status'] == 'failed').sum()} failed rows"]) + ".")
    return table


def _is_current(folder: Path, embedder: str) -> bool:
    """Whether a run's rows were made from its clips as they are (and by `embedder`, if one is named)."""
    if not (folder / METRICS).is_file() or damages(folder):
        return False
    if embedder and any(name != embedder for name in embedders_of(folder)):
        return False
    rows = read_table(folder / METRICS)
    if codec_paths(folder) and not rows["metric"].str.endswith(CODED).any():  # scored before its reference was made
        return False
    failed = rows["status"] == "failed"
    return not (failed.all() or rows.loc[failed, "note"].str.contains(BAD_CLIPS).any())


def _scored(collection: Collection, folder: Path) -> pd.DataFrame:
    """Return all rows of a run, failed ones where its clips or its concept's cannot be used."""
    before = read_table(folder / METRICS) if _is_whole(folder / METRICS) else None
    try:
        return score_run(folder, collection.concept(read_manifest(folder)["parameters"]), collection.embedders)
    except (FileNotFoundError, ValueError) as error:
        return failed_run(names_of(folder), collection.embedders, str(error), before)


def _is_whole(path: Path) -> bool:
    return path.is_file() and not damages(path.parent, path.name)


def _pooled(collection: Collection) -> pd.DataFrame:
    """Return the pooled distances, from the last time if all clips and the embedder are the same."""
    users = {name: concepts.clips_hash(concept) for name, concept in sorted(collection.recordings.items())}
    parts = [[_clips_of(folder) for folder in collection.folders], users, collection.pooled_spec]
    key = hashlib.sha256(json.dumps([*parts, list(map(str, collection.folders))]).encode())
    path = collection.place.cache / f"pooled-{key.hexdigest()[:16]}.csv"
    cached = _cached(path)
    if len(cached) and not cached["status"].eq("failed").any():
        return cached
    from tmp_utils.findings.pooled import pooled_distances

    path.parent.mkdir(parents=True, exist_ok=True)
    write_checked(path, pooled_distances(collection))
    return read_table(path)


def _clips_of(folder: Path) -> dict:
    """Return the hashes of a run's clips and listing, and what is damaged."""
    files = fingerprints(folder, recorded(folder))
    clips = {name: file["sha256"] for name, file in files.items() if name.startswith(f"{CLIPS}/")}
    return clips | damages(folder)


def _cached(path: Path) -> pd.DataFrame:
    """Return the cached pooled distances; none if their file is missing or damaged."""
    if not path.is_file():
        return results_table([])
    if not is_whole(path):
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
    place = Place(options.runs_dir, options.profile)
    if options.publish:
        check_writable(options.publish)
    collect_results(place, options.concepts)
    if options.publish:
        print(publish(place, options.publish, options.command, options.grow))
