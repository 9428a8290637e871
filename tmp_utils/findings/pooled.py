"""FAD and KAD over all concepts of a setup: a single concept has so few clips that FAD measures mostly its own bias.

Conventions: the reconstruction clips of all concepts of a setup and seed are compared with the clips of those concepts.
Setups that cover the same concepts are compared at the same n, which the row gives; a setup that covers fewer concepts
has a note. A setup fails as a whole if a clip of one of its runs cannot be used.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from tmp_utils.figures.look import setups_in_order
from tmp_utils.inputs import concepts
from tmp_utils.inputs.prompts import RECONSTRUCTION
from tmp_utils.metrics.names import short_name
from tmp_utils.metrics.scores import distance_rows
from tmp_utils.metrics.table import POOLED, UNTRAINED, result_row, results_table, whole_runs
from tmp_utils.runs.clips import failure, read_clips
from tmp_utils.runs.collection import SWEEP, Collection
from tmp_utils.runs.integrity import read_manifest

DISTANCES = ("fad", "kad")


def pooled_distances(collection: Collection) -> pd.DataFrame:
    """Return the pooled rows of every setup and seed of a `collection.Collection`."""
    embedder, pools, rows = collection.pooled_embedder, defaultdict(dict), []
    runs = [folder for folder in collection.folders if not folder.parent.name.startswith(SWEEP)]
    parameters = {folder: read_manifest(folder)["parameters"] for folder in runs}
    for folder, known in parameters.items():
        pools[known["method"], known["setup"], known["seed"]][known["concept"]] = folder
    training = _training(collection, parameters.values())
    good, sizes = [], defaultdict(list)
    for (method, setup, seed), folders in pools.items():
        identity = {"method": method, "setup": setup, "seed": seed, "concept": POOLED}
        identity["profile"] = collection.place.profile
        missing = [name for name in folders if isinstance(training[name], str)]
        note = f"{missing[0]}: {training[missing[0]]}" if missing else _first_failure(folders)
        if note:
            rows += [result_row(identity, f"pooled_{name}", None, embedder.name, note=note) for name in DISTANCES]
            continue
        group = seed, *sorted(folders)  # pooled distances can be compared only where these are the same
        for clips in (_generated(folders), _reference(training, folders)):
            sizes[group].append(len(embedder.embed_windows(clips)))
        good.append((group, identity, folders))
    tables = [results_table(rows)]
    most = max(map(len, pools.values()), default=0)
    for group, identity, folders in good:
        sides = _generated(folders), _reference(training, folders)
        table = distance_rows(*sides, embedder, identity, identity["seed"], min(sizes[group]))
        fewer = ", so not comparable with setups over more" * (len(folders) < most)
        about = f"{len(folders)} of {most} concepts{fewer}"
        notes = [f"{about}; {note}" if note else about for note in table["note"]]
        tables.append(table.assign(metric="pooled_" + table["metric"], note=notes))
    return pd.concat([table for table in tables if len(table)], ignore_index=True) if pools else results_table([])


def _training(collection: Collection, runs: Iterable[Mapping]) -> dict[str, list[np.ndarray] | str]:
    """Return each concept's clips by its name, or the reason why there are none."""
    training: dict[str, list[np.ndarray] | str] = {}
    for parameters in runs:
        name = parameters["concept"]
        if name not in training:
            try:
                training[name] = concepts.load_clips(collection.concept(parameters))
            except (FileNotFoundError, ValueError) as error:
                training[name] = str(error)
    return training


def _first_failure(folders: Mapping[str, Path]) -> str:
    """Return which concept's clips cannot be used and why; empty where all can."""
    for name, folder in sorted(folders.items()):
        try:
            note = failure(read_clips(folder, RECONSTRUCTION))
        except (FileNotFoundError, ValueError) as error:
            note = str(error)
        if note:
            return f"{name}: {note}"
    return ""


def _generated(folders: Mapping[str, Path]) -> list[np.ndarray]:
    return [clip for _, folder in sorted(folders.items()) for clip in read_clips(folder, RECONSTRUCTION)["clip"]]


def _reference(training: Mapping[str, list[np.ndarray]], folders: Mapping[str, Path]) -> list[np.ndarray]:
    return [clip for name in sorted(folders) for clip in training[name]]


def distance_table(results: pd.DataFrame) -> pd.DataFrame:
    """Return method, setup and, for each distance, its mean over concepts and its pooled value, each with its n.

    The mean is over concepts and seeds, the pooled value over seeds; n is the number of embedded windows on each side.
    """
    columns = {}
    for name in DISTANCES:
        for metric, label in ((name, "by concept"), (f"pooled_{name}", "pooled")):
            groups = whole_runs(results, metric, references=True).groupby(["method", "setup"], sort=False)
            columns[f"{short_name(name)} {label}"] = groups["value"].mean()
            columns[f"n {short_name(name)} {label}"] = groups["n"].min()
    table = pd.DataFrame(columns)
    setups = setups_in_order(setup for setup in table.index if setup[0] != UNTRAINED)
    return table.loc[setups].reset_index(names=["method", "setup"])
