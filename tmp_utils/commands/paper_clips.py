"""Fetch the paper's concept clips, which are other people's recordings and not shipped here.

Conventions: clips go to `runs/paper_clips/<name>/<name>_<k>.wav` (16 kHz mono, 10 s) and `concepts` finds
them as "paper/<name>". `manifest.csv` beside the folders has a row a clip: name, file, status, sha256,
note. A status is "fetched", "failed" or "by hand" (recordings without an address). Fetched clips are not fetched again;
running again tries the rest.

`python -m tmp_utils clips-paper` needs yt-dlp and ffmpeg; its exit code is 1 if a clip could not be fetched.
"""

import argparse
import importlib.util
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from tmp_utils.commands import DONE, NOT_ALL
from tmp_utils.files import file_sha256, write_csv
from tmp_utils.inputs.audio import load_clip, save_clip
from tmp_utils.inputs.concepts import PAPER_CLIPS_DIR, PAPER_PREFIX, catalogue

CLIP_DURATION_S = 10
TIMEOUT_S = 300
SITE = ("www.youtube.com", 443)
COLUMNS = ("name", "file", "status", "sha256", "note")
Runner = Callable[[list[str]], subprocess.CompletedProcess]


def run_command(command: list[str]) -> subprocess.CompletedProcess:
    """Run a command quietly; its output comes back as text."""
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def is_online() -> bool:
    """Whether the videos' site answers within five seconds."""
    try:
        socket.create_connection(SITE, 5).close()
    except OSError:
        return False
    return True


def fetch_paper_clips(
    folder: Path = PAPER_CLIPS_DIR, names: list[str] | None = None, run: Runner | None = None
) -> pd.DataFrame:
    """Fetch the missing clips and write `manifest.csv`.

    Parameters
    ----------
    folder : where the concepts' folders go.
    names : the paper's concepts to fetch, without "paper/"; None is all but living people's voices.
    run : runs one command; tests pass a stand-in.

    Returns
    -------
    the manifest's rows for `names`, one a clip: name, file, status, sha256, note.

    Raises
    ------
    ValueError : a name that the paper does not have, or whose clips are a living person's voice.
    """
    run = run or run_command
    table = catalogue().query("origin == 'paper' and not voice").copy()
    table["name"] = table["name"].str.removeprefix(PAPER_PREFIX)
    unknown = sorted(set(names or []) - set(table["name"]))
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: cannot be fetched; choose from {', '.join(table['name'])}.")
    chosen = table if names is None else table[table["name"].isin(names)]
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for concept in tqdm(chosen.to_dict("records"), desc="paper's clips", unit="concept"):
        for row in _concept_rows(concept, folder, run):
            rows.append(row)
            _write_manifest(folder, rows)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _concept_rows(concept: dict, folder: Path, run: Runner):
    if not concept["video_id"]:
        yield dict.fromkeys(COLUMNS, "") | {
            "name": concept["name"], "status": "by hand", "note": concept["note"],
        }  # fmt: skip
        return
    for k, start_s in enumerate(concept["start_times_s"].split(";"), start=1):
        path = folder / concept["name"] / f"{concept['name']}_{k}.wav"
        note = "" if path.is_file() else _fetch(concept["video_id"], int(start_s), path, run)
        yield {
            "name": concept["name"],
            "file": path.relative_to(folder).as_posix(),
            "status": "fetched" if path.is_file() else "failed",
            "sha256": file_sha256(path) if path.is_file() else "",
            "note": note,
        }


def _fetch(video_id: str, start_s: int, path: Path, run: Runner) -> str:
    """Fetch one part of a video into `path`; return "" or, if that did not work, why."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            *(sys.executable, "-m", "yt_dlp", "--no-playlist", "--quiet", "--force-keyframes-at-cuts"),
            *("-x", "--audio-format", "wav"),
            *("--download-sections", f"*{start_s}-{start_s + CLIP_DURATION_S}"),
            *("-o", f"{scratch}/clip.%(ext)s", f"https://www.youtube.com/watch?v={video_id}"),
        ]
        try:
            done = run(command)
        except subprocess.TimeoutExpired:
            return f"no answer within {TIMEOUT_S} s"
        files = sorted(Path(scratch).glob("clip.*"))
        if done.returncode != 0 or not files:
            return (done.stderr.strip() or "yt-dlp left no file").splitlines()[-1][:200]
        try:
            clip = load_clip(files[0], duration_s=CLIP_DURATION_S)
        except ValueError as error:
            return str(error)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_clip(path, clip)
    return ""


def _write_manifest(folder: Path, rows: list[dict]) -> None:
    """Replace these concepts' rows in the manifest and keep the others'."""
    path, new = folder / "manifest.csv", pd.DataFrame(rows, columns=list(COLUMNS))
    if path.is_file():
        old = pd.read_csv(path, dtype=str, keep_default_na=False)
        new = pd.concat([old[~(old["name"] + old["file"]).isin(new["name"] + new["file"])], new])
    write_csv(path, new.sort_values(["name", "file"]))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what only this command takes."""
    parser.add_argument("names", nargs="*", help="concepts, such as sitar cajon (default: all)")
    parser.add_argument("--folder", type=Path, default=PAPER_CLIPS_DIR, help="where they go")


def main(options: argparse.Namespace) -> int:
    """Fetch the clips; return 0 if all that can be fetched are there, else 1."""
    if not is_online():
        raise ConnectionError(f"no network: {SITE[0]} cannot be reached. The study runs without these clips.")
    if missing := _missing_tools():
        raise FileNotFoundError(
            f"{' and '.join(missing)} not found; pip install 'tmp-utils[clips]', ffmpeg by your system."
        )
    manifest = fetch_paper_clips(options.folder, options.names or None)
    print(f"{options.folder}: " + ", ".join(f"{n} {s}" for s, n in manifest["status"].value_counts().items()))
    for row in manifest.query("status == 'by hand'").to_dict("records"):
        print(f"  {row['name']}: {row['note']}; put them in {options.folder / row['name']}")
    for row in manifest.query("status == 'failed'").to_dict("records"):
        print(f"  {row['file']}: {row['note']}")
    status = set(manifest["status"])
    return DONE if "fetched" in status and "failed" not in status else NOT_ALL


def _missing_tools() -> list[str]:
    has_yt_dlp, has_ffmpeg = importlib.util.find_spec("yt_dlp"), shutil.which("ffmpeg")
    return [name for name, installed in (("yt-dlp", has_yt_dlp), ("ffmpeg", has_ffmpeg)) if not installed]
