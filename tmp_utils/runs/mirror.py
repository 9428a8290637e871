"""A second folder that keeps copies of the runs: a mounted Drive, a network disk, a USB stick.

Conventions: runs are made on the local disk. After each checkpoint, and when it is finished, a run is copied to the
mirror, under its path below `runs_dir`. Its `run.json` comes last and lists the SHA-256 of every file ("copied", where
the run's own list is not complete yet), so that a copy that was cut short is the earlier one, or none. Where copying
takes seconds, it takes a tenth of the time at most, and only some checkpoints are copied. What goes wrong with a mirror
is said once. It is tried again at the next copy, and stops no run.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from tmp_utils.files import below, copy_file, whole_folder, write_json, write_text
from tmp_utils.runs.folder import lock_of
from tmp_utils.runs.identity import HASH_CHARS
from tmp_utils.runs.integrity import MANIFEST, damages, fingerprints, read_manifest
from tmp_utils.runs.place import Place
from tmp_utils.runs.provenance import PROJECT_DIR

MARK = "MIRROR.txt"  # a disk that is not mounted leaves an empty folder, which must not be filled
MARK_TEXT = "Copies of runs. A session that is given this folder as its mirror restores them and goes on.\n"
CHECKPOINTS, COPIED_FILES = "checkpoints/", "copied"
QUICK_S, WAIT = 1.0, 9  # after a copy that was not quick, the next checkpoint waits so many times as long
RUN = re.compile(r"(seed\d+)|\.(seed\d+)\.\w+\.partial")


def open_mirror(folder: str | Path, place: Place, say: Callable = print) -> Mirror | None:
    """Return the mirror in a folder, which is made if need be; those of its runs that are not here are restored.

    Parameters
    ----------
    folder : "" is no mirror. A relative one is taken from the project's folder.

    Raises
    ------
    OSError, ValueError : the folder cannot be made, or overlaps with the runs.
    """
    if not folder:
        return None
    folder, runs_dir = (PROJECT_DIR / Path(folder).expanduser()).resolve(), place.runs_dir.resolve()
    if folder.is_relative_to(runs_dir) or runs_dir.is_relative_to(folder):
        raise ValueError(f"mirror {folder} and runs_dir {runs_dir} overlap. Choose a folder on another disk.")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        remedy = "Mount its disk first (on Colab: Files, Mount Drive), or choose another folder."
        raise OSError(error.errno, f"mirror {folder} cannot be made: {error.strerror}. {remedy}") from error
    mirror = Mirror(folder, runs_dir, say)
    with mirror.trouble():
        (folder / MARK).is_file() or write_text(folder / MARK, MARK_TEXT)
    mirror.restore(place.folder.name)
    return mirror


@dataclass(eq=False)
class Mirror:
    """A folder with copies of the runs in `runs_dir`; `failed` is whether something went wrong, which was said."""

    folder: Path
    runs_dir: Path
    say: Callable = print
    failed: bool = False
    _next_s: float = 0.0

    @contextlib.contextmanager
    def trouble(self) -> Iterator[None]:
        """Say what is wrong with the mirror in a `with` block, the first time, and go on."""
        try:
            yield
        except OSError as error:
            reason = error.strerror if error.__cause__ is None else error.__cause__.strerror  # not the runs' remedy
            if not self.failed:
                self.say(f"mirror {self.folder}: {reason or error}. Runs continue, without copies until it works.")
            self.failed = True

    def copy(self, run: Path, may_wait: bool = False) -> None:
        """Copy a run's folder as it is, or, if it may wait and copies are slow, not yet; files that are there stay."""
        start_s = time.monotonic()
        if may_wait and start_s < self._next_s:
            return
        with self.trouble():
            self._copy(run)
        end_s = time.monotonic()
        if end_s - start_s > QUICK_S:
            self._next_s = end_s + WAIT * (end_s - start_s)

    def _copy(self, run: Path) -> None:
        if not (self.folder / MARK).is_file():
            raise FileNotFoundError(f"{MARK} is not there, so this is another disk or none")
        target, manifest = self.folder / run.resolve().relative_to(self.runs_dir), read_manifest(run)
        files, there = fingerprints(run, manifest["files"]), _listed(target)
        target.mkdir(parents=True, exist_ok=True)
        for name, written in files.items():
            if there.get(name, {}).get("sha256") != written["sha256"] or not (target / name).is_file():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                copy_file(run / name, target / name)
        write_json(target / MANIFEST, manifest if files == manifest["files"] else manifest | {COPIED_FILES: files})
        for name in there.keys() - files.keys():
            (target / name).unlink(missing_ok=True)
        if not run.name.startswith("."):
            unfinished = f".{run.name}.{manifest['parameters_hash'][:HASH_CHARS]}.partial"
            shutil.rmtree(target.with_name(unfinished), ignore_errors=True)

    def restore(self, profile: str) -> None:
        """Copy the runs of a profile that are not on the local disk; what is damaged is left out, and so made again."""
        names = []
        with self.trouble():
            for manifest in sorted((self.folder / profile).glob(f"*/*/*/{MANIFEST}"), reverse=True):  # finished first
                if (name := RUN.fullmatch(manifest.parent.name)) and self._restore(manifest.parent, name[1] or name[2]):
                    names.append(manifest.parent.name)
        if names:
            unfinished = sum(name.startswith(".") for name in names)
            finished = len(names) - unfinished
            self.say(f"mirror {self.folder}: {finished} finished and {unfinished} unfinished runs restored.")

    def _restore(self, source: Path, finished: str) -> bool:
        target = self.runs_dir / source.relative_to(self.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(Timeout), lock_of(target.with_name(finished)):  # another process may be making it
            if target.exists() or target.with_name(finished).exists():
                return False
            try:
                manifest = read_manifest(source)
                files = manifest.pop(COPIED_FILES, None) or manifest["files"]
                with whole_folder(target) as part:
                    _copy_whole(source, part, files)
                    write_json(part / MANIFEST, manifest)
                return True
            except (ValueError, LookupError, TypeError) as error:
                self.say(f"mirror: {source} is damaged and not restored ({error}).")
        return False


def _listed(target: Path) -> dict:
    """Return the files that a run's folder in the mirror lists; none where it has no whole manifest."""
    try:
        manifest = read_manifest(target)
    except (FileNotFoundError, ValueError):
        return {}
    return manifest.get(COPIED_FILES) or manifest["files"]


def _copy_whole(source: Path, part: Path, files: dict[str, dict]) -> None:
    """Copy the files of a run that are as they were written; of its checkpoint all or none."""
    for name in files:
        below(part, name).parent.mkdir(parents=True, exist_ok=True)
        if (source / name).is_file():
            copy_file(source / name, part / name)
    damaged = damages(part, files=files).keys()
    if any(name.startswith(CHECKPOINTS) for name in damaged):
        damaged |= {name for name in files if name.startswith(CHECKPOINTS)}
        shutil.rmtree(part / CHECKPOINTS, ignore_errors=True)
    for name in files:
        if name in damaged:
            (part / name).unlink(missing_ok=True)
        else:
            os.utime(part / name, ns=(files[name]["changed_ns"],) * 2)
