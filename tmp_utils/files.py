"""Files that are whole or not there, and disk errors in words.

Conventions: a file is written beside its place under a hidden temporary name, flushed to disk and renamed.
JSON is UTF-8, indented and ends with a newline; not-a-number is written as null. CSV has no index column.

write_bytes, write_text, write_json, write_csv, write_tensors, copy_file : write a file whole or not at all.
whole_folder : the same for a folder.
remove_temporary : clear what killed processes left half-written.
file_sha256 : a file's SHA-256.
below : a name from a table -> its path, which must be below the table's folder.
check_writable : whether a file can be written, before the work that fills it.
explain_os_errors : no space, no permission: which folder, and the next move.
plain : what JSON can hold of a value.
slug  : a name that is safe as a folder.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import math
import os
import re
import shutil
import tempfile
import unicodedata
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import pandas as pd

MAX_NAME_CHARS = 80
COPY_BYTES = 1 << 22  # at a time
TEMPORARY = ".tmp"  # ends the hidden name of a file that is being written
DENIED = "no permission to write in {folder}. Choose another folder, or ask its owner for access."
NO_FOLDER = "{folder} cannot be a folder: a part of its path is a file. Choose another folder."
EXPLAINED = {
    errno.ENOSPC: "no space left for {folder}. Free some, or choose another folder; finished "
    "work is kept, and running again continues.",
    errno.EDQUOT: "the disk quota is used up for {folder}. Free some space, or choose another folder.",
    errno.EACCES: DENIED,
    errno.EPERM: DENIED,
    errno.EROFS: "{folder} is on a read-only disk. Choose another folder.",
    errno.ENOTDIR: NO_FOLDER,
    errno.EEXIST: NO_FOLDER,
}


@contextlib.contextmanager
def explain_os_errors(folder: str | Path) -> Iterator[None]:
    """Say in words what a full or closed disk means for `folder`; the class and number of the error stay.

    Raises
    ------
    OSError : the error that came, with a message that names the folder and the next move.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in EXPLAINED or getattr(error, "explained", False):
            raise
        raise explained(error, folder) from error


def explained(error: OSError, folder: str | Path) -> OSError:
    """Return the same kind of error with a message that names the folder and the next move."""
    message = type(error)(error.errno, EXPLAINED[error.errno].format(folder=folder))
    message.explained = True
    return message


def check_writable(path: str | Path) -> None:
    """Make the folder of a file, and check that the file can be written, before the work that fills it.

    Raises
    ------
    IsADirectoryError : `path` is a folder.
    OSError : the file cannot be written; the message names the folder and the next move.
    """
    path = Path(path)
    with explain_os_errors(path.parent):
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder; name a file in it.")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass


def plain(value: Any) -> Any:
    """Return `value` as JSON holds it; NumPy and torch become numbers and lists, paths text, NaN null.

    Raises
    ------
    TypeError : something in it has no place in JSON.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # NumPy and torch, arrays and scalars
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"{value!r} is a {type(value).__name__}; JSON holds text, numbers, lists and mappings of them.")


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Write `data` to `path`, whole or not at all; an earlier file stays until the new one is on the disk."""
    return _write_stream(Path(path), io.BytesIO(data))


def copy_file(source: str | Path, path: str | Path) -> Path:
    """Copy a file to `path`, whole or not at all."""
    with Path(source).open("rb") as stream:
        return _write_stream(Path(path), stream)


def _write_stream(path: Path, stream: BinaryIO) -> Path:
    temporary = path.with_name(f".{uuid.uuid4().hex}{TEMPORARY}")
    with explain_os_errors(path.parent):
        try:
            with temporary.open("wb") as file:
                shutil.copyfileobj(stream, file, COPY_BYTES)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            with contextlib.suppress(OSError):  # an unreachable disk must not hide the error above
                temporary.unlink(missing_ok=True)
    return path


def write_tensors(path: str | Path, tensors: Mapping[str, Any]) -> Path:
    """Write torch tensors to `path` as safetensors, whole or not at all."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path = Path(path)
    temporary = path.with_name(f".{uuid.uuid4().hex}{TEMPORARY}")
    with explain_os_errors(path.parent):
        try:
            save_file(dict(tensors), temporary)
            with temporary.open("r+b") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        except SafetensorError as error:
            number = re.search(r"os error (\d+)", str(error))
            raise OSError(int(number[1]), str(error)) if number else error from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    return path


def write_text(path: str | Path, text: str) -> Path:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    return write_bytes(path, text.encode())


def remove_temporary(folder: str | Path) -> None:
    """Remove what killed processes left half-written anywhere below `folder`."""
    for path in sorted(Path(folder).rglob(f".*{TEMPORARY}")):
        path.unlink(missing_ok=True)


def write_json(path: str | Path, data: Any) -> Path:
    """Write JSON-like `data` to `path`, whole or not at all."""
    return write_text(path, json.dumps(plain(data), indent=2, ensure_ascii=False) + "\n")


def write_csv(path: str | Path, table: pd.DataFrame) -> Path:
    """Write a table (a DataFrame, or rows as mappings) to `path` as CSV, whole or not at all."""
    import pandas as pd

    return write_text(path, pd.DataFrame(table).to_csv(index=False, lineterminator="\n"))


def below(folder: str | Path, name: str) -> Path:
    """Return the path of a file that a table or manifest names; it must lie below the table's folder.

    Raises
    ------
    ValueError : the name is absolute or leads out of the folder.
    """
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(f"{name!r} leads out of {folder}. Names in a file must lie below its folder; do not use it.")
    return Path(folder) / name


def file_sha256(path: str | Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def slug(name: str) -> str:
    """Return a name that is safe as a folder on every system; a name that had to change ends in a hash.

    >>> slug("sitar")
    'sitar'
    """
    ascii_name = unicodedata.normalize("NFKD", str(name)).encode("ascii", "ignore").decode()
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", ascii_name).strip("-. ")[:MAX_NAME_CHARS]
    if safe == name:
        return safe
    digest = hashlib.sha256(unicodedata.normalize("NFC", str(name)).encode()).hexdigest()[:6]
    return f"{safe}-{digest}" if safe else digest


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary sibling to write into, renamed to `folder` when all went well and removed when not."""
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    part.mkdir(parents=True)
    try:
        yield part
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
