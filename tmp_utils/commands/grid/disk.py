"""How much a grid will write, and whether it fits.

Conventions: bytes. A run is its clips (16 bits a sample), its adapter, and `OTHER_BYTES` for tables and the executed
notebook. An adapter is as large as that of a finished run of its method; before there is one, a method that changes the
whole denoiser is counted with all its weights in single precision, which is the most it can be. While such a run
trains, its checkpoint is there too, with the optimiser's two moments.

to_write   : cells -> bytes of clips, of adapters, and of checkpoints while it runs.
check_room : says all of it, and refuses a grid that does not fit.
drop_adapter : a finished run's adapter is deleted, and its manifest says so.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tmp_utils.commands.grid.cells import Cell
from tmp_utils.files import write_json
from tmp_utils.inputs.audio import RATE_HZ
from tmp_utils.inputs.profiles import DATA_DIR, Profile, load_profile
from tmp_utils.runs.folder import MANIFEST, read_manifest
from tmp_utils.runs.place import Place

ADAPTER = "adapter.safetensors"
WHOLE_DENOISER = ("DB", "TI-DB")  # methods whose adapter may hold all weights; those of the others are small
SMALL_BYTES, OTHER_BYTES = 10_000_000, 1_000_000
DENOISER_BYTES = {"audioldm-s": 4 * 185_000_000, "audioldm-m": 4 * 416_000_000, "audioldm-l": 4 * 739_000_000}
KEEP = ("all", "clips")


class Bytes(NamedTuple):
    """What a grid writes."""

    clips: int
    adapters: int
    checkpoints: int


def to_write(cells: Sequence[Cell], n_jobs: int = 1) -> Bytes:
    """Return what cells will write; `n_jobs` is how many of them train at once."""
    if not cells:
        return Bytes(0, 0, 0)
    profile = load_profile(cells[0].place.profile)
    n_clips = profile.reconstruction_clips + profile.clips_per_prompt * profile.n_editability_prompts
    clips = len(cells) * (round(n_clips * profile.clip_s * RATE_HZ * 2) + OTHER_BYTES)
    measured = adapter_sizes(cells[0].place)
    whole = denoiser_bytes(profile)
    methods = [cell.method for cell in cells if cell.method]
    expected = {method: whole if method in WHOLE_DENOISER else SMALL_BYTES for method in methods} | measured
    at_once = min(n_jobs, sum(method in WHOLE_DENOISER for method in methods))
    return Bytes(clips, sum(expected[method] for method in methods), 3 * whole * at_once)


def adapter_sizes(place: Place) -> dict[str, int]:
    """Return the largest adapter of a profile's finished runs, by method."""
    sizes: dict[str, int] = {}
    for folder in place.runs():
        if (folder / ADAPTER).exists():
            method = read_manifest(folder)["parameters"]["method"]
            sizes[method] = max(sizes.get(method, 0), (folder / ADAPTER).stat().st_size)
    return sizes


def denoiser_bytes(profile: Profile) -> int:
    """Return the size of the backbone's denoiser in single precision; AudioLDM-M's for an unknown one of the hub."""
    for folder in (Path(profile.backbone).expanduser(), DATA_DIR / profile.backbone):
        weights = list((folder / "unet").glob("*.safetensors")) + list((folder / "unet").glob("*.bin"))
        if weights:
            return 2 * max(path.stat().st_size for path in weights)  # which may be in half precision
    known = [size for name, size in DENOISER_BYTES.items() if name in profile.backbone]
    return known[0] if known else DENOISER_BYTES["audioldm-m"]


def check_room(cells: Sequence[Cell], folder: Path, keep: str = "all", n_jobs: int = 1) -> None:
    """Say how much cells will write below a folder, and how much is free there.

    Raises
    ------
    OSError
        If it does not fit.
    """
    folder, size = next(path for path in (folder, *folder.parents) if path.exists()), to_write(cells, n_jobs)
    adapters = size.adapters if keep == "all" else 0
    needed, free = size.clips + adapters + size.checkpoints, shutil.disk_usage(folder).free
    parts = f"clips {_gb(size.clips)}, adapters {_gb(adapters)}, checkpoints while it trains {_gb(size.checkpoints)}"
    line = f"at most {_gb(needed)} to write ({parts}), {_gb(free)} free in {folder}"
    if needed > free:
        remedy = " KEEP=clips deletes each adapter once its clips are scored," if keep == "all" else ""
        raise OSError(f"{line}: it does not fit. Nothing was started.{remedy} RUNS=folder writes to another disk.")
    print(f"Grid: {line}", flush=True)


def drop_adapter(run: Path) -> None:
    """Delete a finished run's adapter; its manifest names it under "dropped", so that it is not taken for damage."""
    if not (run / ADAPTER).exists():
        return
    manifest = read_manifest(run)
    manifest.get("files", {}).pop(ADAPTER, None)
    write_json(run / MANIFEST, {**manifest, "dropped": [ADAPTER]})
    (run / ADAPTER).unlink()


def _gb(n: int) -> str:
    return f"{n / 1e9:.1f} GB"
