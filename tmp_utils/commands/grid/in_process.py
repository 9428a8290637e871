"""The runs of a grid in this process, one after the other: no notebooks, no engine, and models that are loaded once.

A job of the grid starts a kernel and loads every model, which is an eighth of the time of a pocket run. Processes that
share a grid each take whole concepts: who finds one taken comes back to it at the end, and finds it done.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from filelock import FileLock, Timeout

from tmp_utils.commands.grid.cells import Cell
from tmp_utils.commands.grid.disk import check_room, drop_adapter
from tmp_utils.inputs.concepts import load_concept
from tmp_utils.runs.lab import Lab
from tmp_utils.runs.protocol import run_reference, run_setup


def run_in_process(cells: Sequence[Cell], keep: str = "all") -> dict[str, str]:
    """Make the runs of cells that are not done.

    Parameters
    ----------
    cells : those of one concept and seed together, each after those that come first, as `cells.cells` gives them.
    keep : "clips" deletes each adapter once its clips are scored; "all" keeps them.

    Returns
    -------
    Name of a cell -> why it failed. What comes after a failed cell is made all the same, unless it reads its clips.

    Raises
    ------
    OSError : what is to be written does not fit.
    """
    place, failed = cells[0].place, {}
    check_room([cell for cell in cells if not cell.run_done], place.folder, keep)
    lab = Lab.load(place.profile, place.runs_dir)
    for group in _in_turn(list(group) for _, group in groupby(cells, lambda cell: (cell.concept, cell.seed))):
        for cell in group:
            try:
                _make(lab, cell, keep)
            except Exception as error:
                failed[cell.name] = f"{type(error).__name__}: {error}"
                print(f"{cell.name}: {failed[cell.name]}", file=sys.stderr, flush=True)
                if cell is group[0]:  # the reference, whose clips the others are scored with
                    failed |= {other.name: f"its reference failed: {failed[cell.name]}" for other in group[1:]}
                    break
    return failed


def _make(lab: Lab, cell: Cell, keep: str) -> None:
    concept = load_concept(cell.concept)
    if cell.chosen is None:
        run_reference(lab, concept, cell.seed)
        return
    run_setup(lab, concept, cell.chosen, cell.seed)
    if keep == "clips":
        drop_adapter(cell.run)


def _in_turn(groups: Iterable[list[Cell]]) -> Iterator[list[Cell]]:
    """Yield groups while their lock is held: first those that are free, then those that were taken."""
    taken = []
    for group in groups:
        lock = _lock(group)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            taken.append(group)
            continue
        with lock:
            yield group
    for group in taken:
        with _lock(group):
            yield group


def _lock(group: list[Cell]) -> FileLock:
    folder = group[0].run.parents[1]
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f".seed{group[0].seed}.turn")
