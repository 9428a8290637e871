"""The clips of a run: which there should be, and which can be used.

Conventions: a run's ``clips/clips.csv`` lists its clips (file, prompt_id, kind, duration_s); clips are at 16 kHz. A
clip that is missing, damaged, silent, too faint to have a level, NaN or cut short has a reason and no array; the clips
left are never averaged in its place. A file whose clip was over full scale is at a lower level; it is read at the level
of the clip as generated.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from tmp_utils.files import below
from tmp_utils.inputs.audio import RATE_HZ, load_clip, loudness_lufs
from tmp_utils.inputs.prompts import RECONSTRUCTION, editability_prompts, reconstruction_prompt
from tmp_utils.runs.integrity import check_files, damage_of, read_manifest, recorded

CLIPS = "clips"
LISTING = f"{CLIPS}/clips.csv"
DURATION_TOLERANCE_S = 0.05
BAD_CLIPS = "clips cannot be used"  # in the note of every row that failed for its clips


def read_listing(folder: str | Path) -> pd.DataFrame:
    """Return a run's clips.csv; a clip that it should list and does not is a row of its own.

    Raises
    ------
    FileNotFoundError, ValueError : clips.csv is missing, not as it was written, empty or without its columns.
    """
    folder = Path(folder)
    path = folder / LISTING
    remedy = "Delete the run's folder and run its notebook again."
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing, so the run's clips are not known. {remedy}")
    check_files(folder, LISTING)
    try:
        listing = pd.read_csv(path, float_precision="round_trip")
    except ValueError as error:  # empty, or not a table
        raise ValueError(f"{path}: not a table ({error}). {remedy}") from error
    if missing := {"file", "prompt_id", "kind"} - set(listing.columns):
        raise ValueError(f"{path}: without the columns {sorted(missing)}; it has {list(listing.columns)}. {remedy}")
    return _completed(listing, read_manifest(folder)["parameters"])


def _completed(listing: pd.DataFrame, parameters: dict) -> pd.DataFrame:
    """Return the listing with a row for each clip that the run's identity asks for and it lacks."""
    if "n_editability_prompts" not in parameters:
        return listing
    counts, lost = listing["prompt_id"].value_counts(), []
    for prompt in (reconstruction_prompt(), *editability_prompts(parameters["n_editability_prompts"])):
        planned = parameters["reconstruction_clips" if prompt.kind == RECONSTRUCTION else "clips_per_prompt"]
        row = {"file": f"a clip of {prompt.id} not in clips.csv", "prompt_id": prompt.id, "kind": prompt.kind}
        lost += [row] * (planned - counts.get(prompt.id, 0))
    return pd.concat([listing, pd.DataFrame(lost)], ignore_index=True) if lost else listing


def read_clips(folder: str | Path, kind: str | None = None) -> pd.DataFrame:
    """Return the listing (of one kind) with ``clip``, (n,) at 16 kHz or None, and ``reason``, empty where it is good.

    Raises
    ------
    FileNotFoundError, ValueError : as `read_listing`.
    """
    folder, listing = Path(folder), read_listing(folder)
    if kind is not None:
        listing = listing[listing["kind"] == kind]
    files = recorded(folder)
    loaded = [_clip(folder, row, files.get(f"{CLIPS}/{row.file}")) for row in listing.itertuples()]
    clips = pd.Series([clip for clip, _ in loaded], index=listing.index, dtype=object)
    return listing.assign(clip=clips, reason=[reason for _, reason in loaded])


def _clip(folder: Path, row, written: dict | None) -> tuple:
    """Return a clip and "", or None and the reason; `written` is what the run recorded of the file."""
    try:
        path = below(folder / CLIPS, row.file)
        if written and path.is_file() and (damage := damage_of(path, written)):
            return None, f"{row.file}: damaged ({damage})"
        clip = load_clip(path)
    except FileNotFoundError:
        return None, f"{row.file}: missing"
    except (ValueError, OSError) as error:
        return None, str(error)
    seconds, planned_s = len(clip) / RATE_HZ, float(getattr(row, "duration_s", float("nan")))
    if abs(seconds - planned_s) > DURATION_TOLERANCE_S:
        return None, f"{row.file}: cut short, {seconds:.2f} s of {planned_s:.2f} s"
    clip = at_level(clip, float(getattr(row, "peak", float("nan"))))
    if np.isnan(loudness_lufs(clip)):  # under the gate of BS.1770, so that no gain brings it to a level
        return None, f"{row.file}: too faint to have a level (peak {np.abs(clip).max():.1e})"
    return clip, ""


def at_level(clip: np.ndarray, peak: float) -> np.ndarray:
    """Return a clip that `save_clip` lowered to full scale at the level it had, from its peak (nan if not known)."""
    return clip * np.float32(peak) if peak > 1 else clip


def failure(table: pd.DataFrame) -> str:
    """Return in one line what is wrong with a table of `read_clips`; empty where all clips are good."""
    bad = table[table["reason"] != ""]
    if table.empty:
        return "no clips of this kind in the run"
    if bad.empty:
        return ""
    return f"{len(bad)} of {len(table)} {BAD_CLIPS}: {bad.iloc[0]['reason']}"
