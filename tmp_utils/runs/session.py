"""What a session has, and what a notebook needs, in one line before anything is loaded.

session_line : profile + runs folder + minutes -> the line.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch

from tmp_utils.inputs.profiles import load_profile
from tmp_utils.model.pipelines import download_bytes
from tmp_utils.runs.place import Place

MACHINES = {"pocket": "on two CPU cores", "smoke": "on two CPU cores", "paper": "on a T4, by estimate"}


def session_line(profile: str, runs_dir: str | Path, minutes: Mapping[str, float]) -> str:
    """Return the GPU and its memory, the free disk, what will be downloaded, and how long the notebook takes.

    Parameters
    ----------
    minutes : by profile, what the notebook takes with the parameters that it has at first.

    Raises
    ------
    ValueError
        If there is no such profile; the message lists them.
    """
    chosen, runs_dir = load_profile(profile), Place(runs_dir, profile).runs_dir
    gpu = "no GPU"
    if torch.cuda.is_available():
        about = torch.cuda.get_device_properties(0)
        gpu = f"{about.name} with {about.total_memory / 1e9:.1f} GB"
    disk = next(path for path in (runs_dir, *runs_dir.parents) if path.exists())
    n_bytes = download_bytes(chosen.backbone)
    download = f"{n_bytes / 1e9:.1f} GB to download ({chosen.backbone})" if n_bytes else "nothing to download"
    took = "time not known for this profile"
    if profile in minutes:
        took = f"about {minutes[profile]:g} min {MACHINES[profile]}"
    return f"{gpu}; {shutil.disk_usage(disk).free / 1e9:.0f} GB of disk free; {download}; {took}"
