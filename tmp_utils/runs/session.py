"""What a session has, and what a notebook needs, in one line before anything is loaded.

Conventions: minutes are those of `data/published/minutes.csv`, which `make readme-figures` writes from the records of
executed notebooks: whole numbers, 0 for under half a minute.
"""

import shutil
from pathlib import Path

import pandas as pd
import torch

from tmp_utils.inputs.profiles import DATA_DIR, load_profile
from tmp_utils.model.hub import download_bytes
from tmp_utils.model.published import published, terms
from tmp_utils.runs.place import Place

MINUTES = DATA_DIR / "published" / "minutes.csv"
COLUMNS = ["profile", "notebook", "minutes", "commit", "machine"]


def read_minutes(path: Path = MINUTES) -> pd.DataFrame:
    """Return `COLUMNS` of the notebooks that were timed; no rows where none was."""
    return pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=COLUMNS)


def in_words(minutes: float) -> str:
    """Return "under 1" of 0, and otherwise the number."""
    return f"{minutes:.0f}" if minutes else "under 1"


def session_line(profile: str, runs_dir: str | Path, notebook: str) -> str:
    """Return the GPU and its memory, the free disk, the download and its licence, and how long the notebook takes.

    Parameters
    ----------
    notebook : its file's name without the suffix; the minutes are those with the parameters that it has at first.

    Raises
    ------
    ValueError : there is no such profile; the message lists them.
    """
    chosen, runs_dir = load_profile(profile), Place(runs_dir, profile).runs_dir
    gpu = "no GPU"
    if torch.cuda.is_available():
        about = torch.cuda.get_device_properties(0)
        gpu = f"{about.name} with {about.total_memory / 1e9:.1f} GB"
    disk = next(path for path in (runs_dir, *runs_dir.parents) if path.exists())
    n_bytes = download_bytes(chosen.backbone)
    download = "nothing to download"
    if n_bytes:
        download = f"{n_bytes / 1e9:.1f} GB to download ({chosen.backbone}, {terms(chosen.backbone)})"
        if published(chosen.backbone).conversion:
            download += " and to convert to diffusers' format, see the README"
    timed = read_minutes().query("profile == @profile and notebook == @notebook")
    took = "not timed at this profile"
    if len(timed):
        took = f"{in_words(timed['minutes'].iloc[0])} min on {timed['machine'].iloc[0]}"
    return f"{gpu}; {shutil.disk_usage(disk).free / 1e9:.0f} GB of disk free; {download}; {took}"
