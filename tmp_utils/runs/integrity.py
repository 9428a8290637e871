"""Whether the files of a run are still as they were written.

Conventions: a run's `run.json` holds, under "files", the size in bytes, the time of the last change (ns) and the
SHA-256 of each of its files, named by their path below the run's folder. A file whose size and time are unchanged is
taken to be whole; otherwise it is hashed.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from tmp_utils.files import file_sha256, write_json

MANIFEST = "run.json"


def fingerprint(path: Path) -> dict:
    """Return a file's size in bytes, time of the last change in ns and SHA-256."""
    status = path.stat()
    return {"bytes": status.st_size, "changed_ns": status.st_mtime_ns, "sha256": file_sha256(path)}


def fingerprints(folder: Path, known: Mapping[str, dict]) -> dict[str, dict]:
    """Return those of all files of a run but its manifest; `known` ones are read again where size or time differ."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / MANIFEST]
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: _unchanged(path, known.get(name)) or fingerprint(path) for name, path in names.items()}


def _unchanged(path: Path, known: dict | None) -> dict | None:
    """Return a known fingerprint while the file has its size and time; else None."""
    status = path.stat()
    same = known is not None and (known["bytes"], known["changed_ns"]) == (status.st_size, status.st_mtime_ns)
    return known if same else None


def damage_of(path: Path, expected: Mapping) -> str:
    """Return what is wrong with a file; empty where nothing is."""
    if not path.is_file():
        return "missing"
    status = path.stat()
    if status.st_size != expected["bytes"]:
        return f"{status.st_size} bytes where {expected['bytes']} were written"
    if status.st_mtime_ns != expected["changed_ns"] and file_sha256(path) != expected["sha256"]:
        return "its content is not what was written"
    return ""


def damages(folder: Path, *names: str, files: Mapping[str, dict] | None = None) -> dict[str, str]:
    """Return the damaged files of a run (of `names`, where given) and what is wrong with each.

    Parameters
    ----------
    files : what they should be; by default what the run's manifest lists.
    """
    files = recorded(folder) if files is None else files
    wrong = {name: damage_of(folder / name, expected) for name, expected in files.items() if name in (names or files)}
    return {name: reason for name, reason in wrong.items() if reason}


def read_manifest(folder: str | Path) -> dict:
    """Return a run's `run.json`.

    Raises
    ------
    FileNotFoundError, ValueError : the folder has no manifest, or one that cannot be read; says what to do.
    """
    path = Path(folder) / MANIFEST
    if not path.exists():
        raise FileNotFoundError(
            f"{folder} has no {MANIFEST}, so it is not a finished run. Move it elsewhere, or choose another runs_dir."
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        for name in ("parameters", "files"):
            if not isinstance(manifest.get(name), dict):
                raise ValueError(f"it has no {name}")
    except (ValueError, AttributeError) as error:  # not JSON, not UTF-8, or no mapping
        raise ValueError(f"{path} is damaged ({error}). Delete the folder it is in, and run it again.") from error
    return manifest


def recorded(folder: Path) -> dict[str, dict]:
    """Return the files that a run's manifest lists; none without a manifest, as in an adapter's own folder."""
    return read_manifest(folder)["files"] if (folder / MANIFEST).is_file() else {}


def check_files(folder: Path, *names: str) -> None:
    """Check files of a finished run before they are read.

    Raises
    ------
    ValueError : one is not as it was written; the message names it and what to do.
    """
    for name, reason in damages(folder, *names).items():
        raise ValueError(
            f"{folder / name}: damaged ({reason}). Run the notebook that made it again: only what is "
            "damaged is made again."
        )


def record(folder: Path, *names: str) -> None:
    """Enter files that were written into a finished run, such as new scores, into its manifest."""
    manifest = read_manifest(folder)
    manifest["files"] |= {name: fingerprint(folder / name) for name in names}
    write_json(folder / MANIFEST, manifest)
