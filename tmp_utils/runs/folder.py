"""Where a run is kept, whether it is done, and how it is resumed.

Conventions: a run's identity is all that decides its result, as JSON values (`identity`). A run is written in a
hidden sibling of its folder, `.seed<k>.<hash of the identity>.partial`, and takes its name when complete: a folder
without a dot is finished. An interrupted run's sibling stays, and the same identity resumes it; another identity
gets a sibling of its own.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tmp_utils.files import EXPLAINED, explain_os_errors, explained, plain, remove_temporary, write_json
from tmp_utils.runs.identity import HASH_CHARS, differences, identity_hash
from tmp_utils.runs.integrity import MANIFEST, damages, fingerprint, fingerprints, read_manifest
from tmp_utils.runs.provenance import provenance


def lock_of(folder: Path) -> FileLock:
    """Return the lock of a run's folder, not yet taken; the system frees it when its process ends, however it ends."""
    return FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0, is_singleton=True)


def take_lock(folder: Path) -> FileLock:
    """Lock a run's folder for this process; RuntimeError, which names the process that has it, where it is locked."""
    lock, owner = lock_of(folder), owner_file(folder)
    try:
        lock.acquire()
    except Timeout:
        pid = owner.read_text(encoding="utf-8") if owner.exists() else "unknown"
        raise RuntimeError(
            f"{folder} is being written by process {pid} on this machine or one that shares the disk. "
            "Wait until it is done, or stop it; then run again and what it finished is kept."
        ) from None
    owner.write_text(str(os.getpid()), encoding="utf-8")
    return lock


def owner_file(folder: Path) -> Path:
    """Return the file that names the process which writes a run."""
    return folder.with_name(f".{folder.name}.pid")


def is_done(folder: str | Path, identity: Mapping[str, Any]) -> bool:
    """Whether `folder` holds the finished run of this identity.

    Raises
    ------
    ValueError : it holds a finished run of another identity; the message names the keys that differ.
    """
    folder = Path(folder)
    if not folder.exists():
        return False
    if differing := differences(read_manifest(folder)["parameters"], identity):
        raise ValueError(
            f"{folder} holds a finished run of other settings: {'; '.join(differing.values())}. Nothing "
            "was overwritten. Choose another runs_dir, go back to the earlier settings, or delete that folder."
        )
    return True


@dataclass
class RunFolder:
    """A run that is being written, or one that is done.

    Attributes
    ----------
    path : the folder to write in (hidden until finished), or the finished folder.
    identity : all that decides the result.
    done : True if a run of this identity was finished before; there is nothing to do.
    resumed : True if `path` may hold what an interrupted run left.
    backbone, recordings : what made the run and from which folder; for the manifest.
    needs : how much it writes, in words, for the message of a full disk.
    files : what was entered by `keep` and is still as it was, with its size, time and SHA-256.
    damaged : the files that were not, and why; they were removed.
    mirror : where it is copied to, or None.
    """

    folder: Path
    path: Path
    identity: dict
    done: bool = False
    resumed: bool = False
    backbone: dict | None = None
    recordings: str | None = None
    needs: str = ""
    timings: dict[str, float] = field(default_factory=dict)
    files: dict[str, dict] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    mirror: Any = None
    _lock: Any = field(default=None, repr=False)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, kind, error, trace) -> None:
        """Give the lock back; an unfinished folder stays as it is, to be resumed."""
        self.close()
        if not isinstance(error, OSError) or error.errno not in EXPLAINED:
            return
        if error.errno == errno.ENOSPC and self.needs:
            message = f"{EXPLAINED[errno.ENOSPC].format(folder=self.folder)} A run of this kind writes {self.needs}."
            raise OSError(errno.ENOSPC, message) from error
        if not getattr(error, "explained", False):
            raise explained(error, self.folder) from error

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the seconds of a `with` block to `timings[stage]`, across interruptions."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.took(stage, time.monotonic() - start)

    def took(self, stage: str, seconds: float) -> None:
        """Add seconds to `timings[stage]`; a run's share, where several are trained together."""
        self.timings[stage] = round(self.timings.get(stage, 0.0) + seconds, 3)
        if not self.done:
            self._write_manifest("running")

    def keep(self, *names: str) -> None:
        """Enter finished files, named by their path below the run's folder; a resumed run has them only if whole."""
        self.files |= {name: fingerprint(self.path / name) for name in names}
        self._write_manifest("running")
        self.copy(may_wait=True)

    def copy(self, may_wait: bool = False) -> None:
        """Copy what there is of the run to the mirror, if there is one; see `Mirror.copy`."""
        if self.mirror:
            self.mirror.copy(self.path, may_wait)

    def finish(self) -> Path:
        """Complete the manifest and give the folder its name; returns the finished folder."""
        if self.done:
            return self.folder
        with explain_os_errors(self.folder):
            remove_temporary(self.path)
            self.files = fingerprints(self.path, self.files)
            self._write_manifest("complete")
            self.path.rename(self.folder)
        self.path, self.done = self.folder, True
        self.copy()
        self.close()
        return self.folder

    def close(self) -> None:
        """Give the lock back. Safe to call twice."""
        if self._lock is not None:
            owner_file(self.folder).unlink(missing_ok=True)
            self._lock.release(force=True)
            self._lock = None

    def _begin(self) -> bool:
        """Lock the run and make or find its hidden folder; False if another process finished it meanwhile."""
        name = f".{self.folder.name}.{identity_hash(self.identity)[:HASH_CHARS]}.partial"
        with explain_os_errors(self.folder):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self._lock = take_lock(self.folder)
            try:
                self.path = self.folder.with_name(name)
                if is_done(self.folder, self.identity):
                    if not damages(self.folder):
                        self.close()
                        return False
                    shutil.rmtree(self.path, ignore_errors=True)
                    self.folder.rename(self.path)
                self.resumed = (self.path / MANIFEST).exists()
                self.path.mkdir(exist_ok=True)
                if self.resumed:
                    self._take_over()
                self._write_manifest("running")
            except BaseException:
                self.close()
                raise
        return True

    def _take_over(self) -> None:
        """Continue from what is there; what is damaged goes, so that it is made again."""
        manifest = read_manifest(self.path)
        self.timings, self.files = manifest["timings"], manifest["files"]
        self.damaged = damages(self.path, files=self.files)
        for name in self.damaged:
            del self.files[name]
            (self.path / name).unlink(missing_ok=True)

    def _write_manifest(self, status: str) -> None:
        stages = [seconds for stage, seconds in self.timings.items() if stage != "total_s"]
        self.timings["total_s"] = round(sum(stages), 3)
        manifest = {
            "status": status,
            "parameters": self.identity,
            "parameters_hash": identity_hash(self.identity),
            "backbone": self.backbone,
            "recordings": self.recordings,
            "timings": self.timings,
            "files": self.files,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            **provenance(),
        }
        write_json(self.path / MANIFEST, manifest)


def open_run(
    folder: str | Path,
    identity: Mapping[str, Any],
    backbone: Any = None,
    say: Callable = print,
    recordings: str | Path | None = None,
    mirror: Any = None,
) -> RunFolder:
    """Open the run of this identity: done already, resumed, or new.

    Parameters
    ----------
    folder : from `Place.run`.
    identity : all that decides the result, as JSON values; see `identity`.
    backbone : named in the manifest.
    say : prints one line: whether the run is done, resumed or damaged.
    recordings : the folder of a user's recordings that the run is made from, so that later steps find them again.
    mirror : where the run is copied to.

    Returns
    -------
    Look at `done` first; write in `path`; call `finish()`. Works as a context manager, too.

    Raises
    ------
    ValueError : the folder holds a finished run of another identity.
    RuntimeError : another process is writing it.
    OSError : the folder cannot be written; the message says why and what to do.
    """
    folder, identity = Path(folder), plain(identity)
    made_by = None if backbone is None else {"id": str(backbone.id), "hash": str(backbone.hash)}
    if getattr(backbone, "revision", None):  # of the Hugging Face hub, also where the profile names none
        made_by["revision"] = backbone.revision
    run = RunFolder(folder, folder, identity, backbone=made_by, recordings=recordings and str(recordings))
    run.mirror = mirror
    if (is_done(folder, identity) and not damages(folder)) or not run._begin():
        run.done, run.path = True, folder
        run.copy()  # of one that was made without this mirror
        say(f"{_short(folder)}: already done with these settings, nothing to do.")
    elif run.damaged:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in run.damaged.items())
        say(f"{_short(folder)}: damaged files are made again ({reasons}).")
    elif run.resumed:
        say(f"{_short(folder)}: interrupted before; continues from what it finished.")
    return run


def _short(folder: Path) -> str:
    return "/".join(folder.parts[-3:])
