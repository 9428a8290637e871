"""Whether a grid fits on the disk, and adapters that it does not keep."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from tmp_utils.commands.grid.cells import Cell
from tmp_utils.files import write_json
from tmp_utils.inputs.profiles import load_profile
from tmp_utils.model.card import CARD
from tmp_utils.runs.disk import ADAPTER, Bytes, expected_bytes
from tmp_utils.runs.integrity import MANIFEST, read_manifest

KEEP = ("all", "clips")


def to_write(cells: Sequence[Cell], n_jobs: int = 1) -> Bytes:
    """Return what cells will write; `n_jobs` is how many of them train at once."""
    if not cells:
        return Bytes(0, 0, 0)
    place = cells[0].place
    return expected_bytes(place, load_profile(place.profile), [cell.method for cell in cells], n_jobs)


def check_room(cells: Sequence[Cell], folder: Path, keep: str = "all", n_jobs: int = 1) -> None:
    """Say how much cells will write below a folder, and how much is free there.

    Raises
    ------
    OSError : it does not fit.
    """
    folder, size = next(path for path in (folder, *folder.parents) if path.exists()), to_write(cells, n_jobs)
    size = size if keep == "all" else size._replace(adapters=0)
    needed, free = sum(size), shutil.disk_usage(folder).free
    line = f"at most {needed / 1e9:.1f} GB to write ({size}), {free / 1e9:.1f} GB free in {folder}"
    if needed > free:
        remedy = " KEEP=clips deletes each adapter once its clips are scored," if keep == "all" else ""
        raise OSError(f"{line}: it does not fit. Nothing was started.{remedy} RUNS=folder writes to another disk.")
    print(f"Grid: {line}", flush=True)


def drop_adapter(run: Path) -> None:
    """Delete a finished run's adapter and its card; the manifest names them under "dropped", so they are no damage."""
    if not (run / ADAPTER).exists():
        return
    manifest = read_manifest(run)
    dropped = [name for name in (ADAPTER, CARD) if (run / name).exists()]
    for name in dropped:
        manifest["files"].pop(name, None)
    write_json(run / MANIFEST, {**manifest, "dropped": dropped})
    for name in dropped:
        (run / name).unlink()
