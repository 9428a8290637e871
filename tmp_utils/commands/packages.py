"""Files out of Debian and npm packages, and out of the archives inside them.

Conventions: a Debian package is an `ar` archive with a `data.tar`, an npm package a gzipped tar; both are read without
dpkg or npm. A path inside a package has no leading "./".
"""

import shutil
import struct
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

PATTERNS = {"Debian": "{name}_*.deb", "npm": "{name}-*.tgz"}
CLIENTS = {"Debian": ("apt-get", "download", "{name}={version}"), "npm": ("npm", "pack", "{name}@{version}")}
AR_MAGIC, AR_HEADER_BYTES = b"!<arch>\n", 60
COMPRESSED, DIRECTORY, ZSTD = 1, 2, 4  # flags of a node in a Qt resource archive


def find_package(registry: str, name: str, folder: Path) -> Path | None:
    """Return the newest file of a package in a folder, or None."""
    files = sorted(folder.glob(PATTERNS[registry].format(name=name)), key=lambda path: path.stat().st_mtime)
    return files[-1] if files else None


def fetch_package(registry: str, name: str, version: str, folder: Path) -> Path:
    """Download a package into a folder.

    Raises
    ------
    RuntimeError : the client is missing or failed; the message says what to do.
    """
    command = [word.format(name=name, version=version) for word in CLIENTS[registry]]
    by_hand = f"Run `{' '.join(command)}` on a machine that can, and give its folder with --packages."
    if shutil.which(command[0]) is None:
        raise RuntimeError(f"{command[0]} is not installed, so {name} {version} cannot be downloaded. {by_hand}")
    folder.mkdir(parents=True, exist_ok=True)
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    package = find_package(registry, name, folder)
    if result.returncode or package is None:
        reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(
            f"{name} {version} could not be downloaded ({reason}). Is there a network, and is the package list up to "
            f"date (`apt-get update`)? {by_hand}"
        )
    return package


def unpack(package: Path, wanted: Iterable[tuple[str, str]], folder: Path) -> dict[tuple[str, str], Path]:
    """Copy files of a package into a folder.

    Parameters
    ----------
    wanted : (path, inside): a path in the package and, where that file is an `.rcc` or `.zip` archive, a path inside it
        ("" for the file itself).

    Raises
    ------
    FileNotFoundError : a path is not in the package.
    ValueError : the package or an archive in it cannot be read.
    """
    wanted = set(wanted)
    copies = {}
    for path, stream in _members(package, {path for path, _ in wanted}):
        insides = [inside for p, inside in wanted if p == path]
        for inside, body in _bodies(path, stream, insides, folder):
            copies[path, inside] = target = folder / package.stem / path / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(body)
    if missing := sorted("/".join(filter(None, pair)) for pair in wanted - set(copies)):
        raise FileNotFoundError(f"{package.name}: no {missing[0]} in it. Get the version that SOURCE.toml names.")
    return copies


def _members(package: Path, paths: set[str]) -> Iterator[tuple[str, IO[bytes]]]:
    with package.open("rb") as file:
        if package.suffix == ".deb":
            _seek_data(file, package.name)
        try:
            with tarfile.open(fileobj=file, mode="r|*") as tar:
                for member in tar:
                    if (name := member.name.removeprefix("./")) in paths:
                        yield name, tar.extractfile(member)
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise ValueError(f"{package.name}: not a readable package ({error}). Download it again.") from error


def _seek_data(file: IO[bytes], name: str) -> None:
    """Go to the first byte of `data.tar` in a Debian package."""
    if file.read(len(AR_MAGIC)) != AR_MAGIC:
        raise ValueError(f"{name}: not a Debian package (it does not begin with {AR_MAGIC!r}). Download it again.")
    while len(header := file.read(AR_HEADER_BYTES)) == AR_HEADER_BYTES:
        if header.startswith(b"data.tar"):
            return
        size = int(header[48:58])
        file.seek(size + size % 2, 1)
    raise ValueError(f"{name}: a Debian package without data.tar. Download it again.")


def _bodies(path: str, stream: IO[bytes], insides: list[str], folder: Path) -> Iterator[tuple[str, bytes]]:
    if path.endswith(".rcc"):
        files = read_rcc(stream.read())
        yield from ((inside, files[inside]) for inside in insides if inside in files)
    elif path.endswith(".zip"):
        folder.mkdir(parents=True, exist_ok=True)
        whole = folder / ".whole.zip"  # a zip's table is at its end, so it cannot be read as a stream
        try:
            with whole.open("wb") as copy:
                shutil.copyfileobj(stream, copy)
            with zipfile.ZipFile(whole) as archive:
                yield from ((i, archive.read(i)) for i in insides if i in archive.namelist())
        finally:
            whole.unlink(missing_ok=True)
    else:
        yield "", stream.read()


def read_rcc(data: bytes) -> dict[str, bytes]:
    """Read the files of a Qt resource archive (https://doc.qt.io/qt-6/resources.html), versions 1 to 3.

    Returns
    -------
    path -> the file's bytes.

    Raises
    ------
    ValueError : not such an archive, cut short, or compressed with Zstandard.
    """
    if data[:4] != b"qres":
        raise ValueError(f"not a Qt resource archive: it begins with {data[:4]!r}, expected b'qres'.")
    try:
        version, tree, bodies, names = struct.unpack_from(">4I", data, 4)
        return dict(_rcc_files(data, (tree, bodies, names), 14 if version == 1 else 22, 0, ""))
    except (struct.error, RecursionError) as error:
        raise ValueError(f"Qt resource archive: cut short or damaged ({error}). Download it again.") from error


def _rcc_files(data: bytes, parts: tuple[int, int, int], node_bytes: int, index: int, above: str):
    tree, bodies, names = parts
    node = tree + index * node_bytes
    name_at, flags = struct.unpack_from(">IH", data, node)
    path = above
    if index:  # the root has no name
        (length,) = struct.unpack_from(">H", data, names + name_at)  # in UTF-16 units; then a hash of 4 bytes
        path += data[names + name_at + 6 :][: 2 * length].decode("utf-16-be")
    if flags & DIRECTORY:
        count, first = struct.unpack_from(">II", data, node + 6)
        for child in range(first, first + count):
            yield from _rcc_files(data, parts, node_bytes, child, f"{path}/" if path else "")
        return
    (body_at,) = struct.unpack_from(">I", data, node + 10)
    (size,) = struct.unpack_from(">I", data, bodies + body_at)
    body = data[bodies + body_at + 4 :][:size]
    if len(body) < size:
        raise struct.error(f"{path} holds {len(body)} of {size} bytes")
    if flags & ZSTD:
        raise ValueError(f"{path}: compressed with Zstandard, which is not read here; expected zlib or none.")
    yield path, zlib.decompress(body[4:]) if flags & COMPRESSED else body
