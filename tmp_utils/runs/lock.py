"""What keeps other processes from writing a run."""

import os
from pathlib import Path

from filelock import FileLock, Timeout


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
