"""One job of the grid: a cell made, whoever else is at work.

Conventions: the grid calls `python -m tmp_utils grid-job` with the words that name a cell. Jobs of one cell take turns
by a lock that the system frees when a process ends, however it ends; whoever waited finds the cell done. A failed job
leaves `<name>-failed.ipynb`, and `<name>-failed.txt` says why.
"""

import argparse
import os
from pathlib import Path

from filelock import FileLock, Timeout

from tmp_utils.commands import NOT_ALL, headless
from tmp_utils.commands.grid.cells import BESIDE, NOTEBOOK_05, NOTEBOOKS_DIR, Cell
from tmp_utils.commands.grid.disk import KEEP, drop_adapter
from tmp_utils.files import write_text
from tmp_utils.runs.place import Place

LOOK_S = 1.0  # how often a job that waits tries again


def make(cell: Cell, attempt: int = 1, keep: str = "all") -> bool:
    """Make a cell; return whether it is done.

    Parameters
    ----------
    attempt : from 1. A notebook that raised is not executed again by a later attempt; one whose process was lost is.
    keep : "clips" deletes the adapter, unless other cells are shown beside it; the grid does that at its end.
    """
    label = cell.output or cell.run
    label.parent.mkdir(parents=True, exist_ok=True)
    with _turn(label):
        if cell.done and cell.setup != NOTEBOOK_05:
            print(f"{label}: already done")
            return True
        if attempt > 1 and cell.why_not:
            print(f"{label}: it failed before, and is not tried again: {cell.why_not}")
            return False
        cell.failure.unlink(missing_ok=True)
        try:
            _reference(cell) if cell.notebook is None else _execute(cell)
        except Exception as error:
            reason = str(error) if isinstance(error, headless.NotebookFailed) else f"{type(error).__name__}: {error}"
            write_text(cell.failure, f"{reason}\n")
            raise
    if keep == "clips" and cell.run is not None and cell.setup != BESIDE:
        drop_adapter(cell.run)
    print(f"{label}: done")
    return True


def _execute(cell: Cell) -> None:
    threads = {name: os.environ.get("OMP_NUM_THREADS", "1") for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    declared = headless.declared_parameters(cell.notebook)
    parameters = {name: value for name, value in cell.parameters.items() if name in declared}
    headless.execute(cell.notebook, cell.output, parameters, cell.name, threads)
    if cell.run is not None and not cell.done:
        failed = cell.output.with_name(f"{cell.output.stem}-failed.ipynb")
        cell.output.replace(failed)
        raise headless.NotebookFailed(
            f"{cell.notebook.name} ran to its end but left no finished run in {cell.run}. Executed: {failed}"
        )


def _reference(cell: Cell) -> None:
    from tmp_utils.inputs.concepts import load_concept
    from tmp_utils.runs.protocol import Lab, run_reference

    run_reference(Lab.load(cell.place.profile, cell.place.runs_dir), load_concept(cell.concept), cell.seed)


def _turn(path: Path) -> FileLock:
    """Take and return the lock of a job's output; print a line if another grid's job holds it."""
    lock = FileLock(path.with_name(f".{path.name}.turn"), poll_interval=LOOK_S)
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        print(f"{path}: another process is making it; waiting for it", flush=True)
        return lock.acquire()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what only this command takes."""
    parser.add_argument("setup", help="TI-BL, untrained-class-noun, or metrics for notebook 05")
    parser.add_argument("--concept", default="", help="a name in data/concepts.csv, or a folder")
    parser.add_argument("--seed", type=int, default=0, help="which seed")
    parser.add_argument("--notebooks-dir", type=Path, default=NOTEBOOKS_DIR, help="where the notebooks are")
    parser.add_argument(
        "--keep", choices=KEEP, default="all", help="clips: delete the adapter at the end (default: all)"
    )
    parser.add_argument("--attempt", type=int, default=1, help="which attempt this is, from 1")


def main(options: argparse.Namespace) -> int | None:
    """Make the cell that the options name."""
    place = Place(options.runs_dir, options.profile)
    cell = Cell(place, options.notebooks_dir, options.setup, options.concept, options.seed)
    return None if make(cell, options.attempt, options.keep) else NOT_ALL
