"""``python -m tmp_utils how-many``: how many clips a concept needs, and how many steps; one table, which grows.

Conventions: by default it learns the concepts of ``data/how_many.csv``, which were chosen before the first training:
rendered stand-ins that no search has used, half of them percussive and half melodic. A concept needs 26 clips for the
default numbers, more than are shipped. They lie in ``<clips>/<concept>/``: rendered ones come from ``python -m
tmp_utils stand-ins --only koto sitar --takes 26 --folder runs/more_clips``; of recordings, any 26 clips in a folder of
the concept's name. The table is written after each training; what is in it is not made again, and several processes can
share the work.

Cost: at pocket size one training (DreamBooth on 20 clips, with its measurements, on one core) took 137 CPU seconds, and
what all trainings of a concept share 31. At that rate the nine of a concept take 21 minutes, and all 126 take 5 hours.
"""

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

from tmp_utils.commands import Unfinished
from tmp_utils.files import check_writable, write_csv
from tmp_utils.findings.published import how_many_path, read_if_there
from tmp_utils.findings.stopping import halves
from tmp_utils.inputs.concepts import Concept, load_concept
from tmp_utils.inputs.profiles import Setup, load_setup
from tmp_utils.inputs.recordings import sound_files
from tmp_utils.runs.how_many import CLIP_COUNTS, HowMany, check_clips, clips_needed
from tmp_utils.runs.lab import Lab

DEFAULT_METHODS, SETUP = ("TI", "DB", "DB-LoRA"), "BL"
FOLDER = "how_many"  # of unfinished trainings, in the profile's folder
KEYS = ["concept", "method", "n_clips", "seed"]


def with_more_clips(names: Sequence[str], folder: Path, most: int) -> list[Concept]:
    """Return concepts of the catalogue, each with all the clips in `folder`/name in place of its own.

    Raises
    ------
    FileNotFoundError, ValueError : no such concept or folder, or too few clips to learn from `most` and judge by
        others.
    """
    concepts = [load_concept(name) for name in names]
    if missing := [concept.name for concept in concepts if not (folder / concept.name).is_dir()]:
        raise FileNotFoundError(
            f"{folder} has no folder {', '.join(missing)}. Put clips there, or render those of stand-ins: "
            f"python -m tmp_utils stand-ins --only {' '.join(missing)} --takes {clips_needed(most)} "
            f"--folder {folder.parent}"
        )
    concepts = [replace(concept, clips=sound_files(folder / concept.name)) for concept in concepts]
    for concept in concepts:
        check_clips(concept, most)
    return concepts


def make_curves(
    lab: Lab,
    concepts: Sequence[Concept],
    setups: Sequence[Setup],
    counts: Sequence[int],
    seeds: Sequence[int],
    path: Path,
) -> int:
    """Add to the table at `path` the trainings that it lacks, one at a time.

    Returns
    -------
    How many another process was making meanwhile.

    Raises
    ------
    ValueError : the table has one of these trainings, made with other clips, words, models or hyperparameters.
    OSError : the table cannot be written; nothing was trained.
    """
    check_writable(path)
    tasks = [HowMany(lab, concept, seed, max(counts)) for concept in concepts for seed in seeds]
    wanted = [(task, setup, n) for task in tasks for n in counts for setup in setups]
    table = read_if_there(path)
    for task, setup, n in wanted:
        _is_made(table, task, setup, n, path)  # a contradiction is an error before anything is trained
    elsewhere, folder = 0, lab.place.folder / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for task, setup, n in wanted:
        name = f"{task.concept.name}, {setup.method}, {n} clips, seed {task.seed}"
        try:
            with FileLock(folder / f"{task.identity(setup, n)}.lock", timeout=0):
                if not _is_made(read_if_there(path), task, setup, n, path):
                    curve = task.curve(setup, n, folder)
                    with FileLock(folder / "table.lock"):
                        table = read_if_there(path)
                        write_csv(path, curve if table is None else pd.concat([table, curve], ignore_index=True))
                    print(f"{name}: done", flush=True)
                checkpoints = folder / task.identity(setup, n)
                if checkpoints.exists():  # also those of a process that was stopped once it had written the table
                    shutil.rmtree(checkpoints)
        except Timeout:
            elsewhere += 1
    return elsewhere


def _is_made(table: pd.DataFrame | None, task: HowMany, setup: Setup, n_clips: int, path: Path) -> bool:
    if table is None:
        return False
    key = dict(zip(KEYS, (task.concept.name, setup.method, n_clips, task.seed), strict=True))
    there = set(table.loc[(table[KEYS] == pd.Series(key)).all(axis=1), "identity"])
    if there - {task.identity(setup, n_clips)}:
        raise ValueError(
            f"{path} has {key}, made with other clips, words, models or hyperparameters than now. Delete these rows, "
            "or name another file with --table."
        )
    return bool(there)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what only this command takes."""
    parser.epilog = (
        "Without --concepts it learns the 14 of data/how_many.csv. At pocket size a training of DB on 20 clips took "
        "137 CPU seconds, and what all trainings of a concept share 31."
    )
    parser.add_argument("--clips", type=Path, default=Path("runs/more_clips/clips"), help="folder of concepts' folders")
    parser.add_argument(
        "--methods", nargs="+", default=DEFAULT_METHODS, metavar="NAME", help=f"{', '.join(DEFAULT_METHODS)} (default)"
    )
    parser.add_argument(
        "--counts", nargs="+", type=int, default=CLIP_COUNTS, metavar="N", help="numbers of clips (default: 1 5 20)"
    )
    parser.add_argument("--table", type=Path, help="default: data/published/how-many-<profile>.csv")


def main(options: argparse.Namespace) -> None:
    """Make what the table lacks."""
    if min(options.counts) < 1:
        raise ValueError(f"--counts {min(options.counts)}: a training needs one clip or more.")
    setups = [load_setup(method, SETUP) for method in options.methods]
    concepts = with_more_clips(options.concepts or list(halves()), options.clips, max(options.counts))
    lab = Lab.load(options.profile, options.runs_dir)
    path = options.table or how_many_path(lab.profile.name)
    elsewhere = make_curves(lab, concepts, setups, options.counts, options.seeds or [0], path)
    print(f"Written: {path}")
    if elsewhere:
        raise Unfinished(f"another process is making {elsewhere} of these trainings.")
