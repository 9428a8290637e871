"""Checkpoints of training: an adapter as far as it has got, and its optimiser's moments.

Conventions: `step-000050/` is an adapter folder (so `load_adapter` reads it) with an `optimizer.safetensors`
beside: "<moment>/<tensor>" for AdamW's "step", "exp_avg" and "exp_avg_sq". It appears whole or not at all. No
generator is stored, since what a step draws depends on (seed, step) alone.

checkpoint_folder : a step's.
write_checkpoint : save one, and drop the earlier ones.
last_checkpoint  : folder -> the latest checkpoint in it.
restore          : checkpoint -> adapter, tensors and optimiser as they were.
"""

import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from tmp_utils.files import whole_folder, write_tensors
from tmp_utils.model.adapter import Adapter, load_adapter, write_adapter

OPTIMIZER_FILE = "optimizer.safetensors"


def checkpoint_folder(folder: Path, steps: int) -> Path:
    """The folder of the checkpoint after so many steps."""
    return Path(folder) / f"step-{steps:06d}"


def write_checkpoint(
    folder: Path,
    adapter: Adapter,
    tensors: dict[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    keep: bool,
) -> Path:
    """Save a checkpoint; earlier ones go when it is complete, or with `keep` only their optimiser's moments."""
    path = checkpoint_folder(folder, adapter.steps)
    moments = {
        f"{moment}/{name}": value.detach().cpu()
        for name, tensor in tensors.items()
        for moment, value in optimizer.state.get(tensor, {}).items()
    }
    with whole_folder(path) as part:
        write_adapter(adapter, part)
        write_tensors(part / OPTIMIZER_FILE, moments)
    for left_over in sorted(path.parent.glob(".step-*")):  # of a training that was killed while writing
        shutil.rmtree(left_over)
    for earlier in sorted(path.parent.glob("step-*")):
        if earlier != path and keep:
            (earlier / OPTIMIZER_FILE).unlink(missing_ok=True)
        elif earlier != path:
            shutil.rmtree(earlier)
    return path


def last_checkpoint(folder: Path | None) -> Path | None:
    """The latest checkpoint in a folder, or None."""
    return max(Path(folder).glob("step-*"), default=None) if folder else None


def restore(path: Path, adapter: Adapter, tensors: dict[str, torch.Tensor], optimizer: torch.optim.Optimizer) -> None:
    """Fill `adapter`, `tensors` and `optimizer` from a checkpoint.

    Raises
    ------
    ValueError : it is of another run, or damaged.
    """
    saved = load_adapter(path)
    ours, theirs = adapter.identity, saved.identity
    if ours != theirs:
        keys = sorted(k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k))
        differing = ", ".join(f"{k} {theirs.get(k)!r} (now {ours.get(k)!r})" for k in keys)
        raise ValueError(
            f"{path}: a checkpoint of another run: {differing}. Give this run another folder, or delete it."
        )
    try:
        moments = load_file(path / OPTIMIZER_FILE)
    except (SafetensorError, FileNotFoundError) as error:
        raise ValueError(f"{path}: a damaged checkpoint ({error}). Delete it; training starts before it.") from error
    for name, tensor in saved.tensors.items():
        tensors[name].copy_(tensor)
    for key, value in moments.items():
        moment, _, name = key.partition("/")
        on_cpu = moment == "step" and not optimizer.defaults["fused"]
        optimizer.state[tensors[name]][moment] = value if on_cpu else value.to(tensors[name].device)
    adapter.steps, adapter.history, adapter.tensors = saved.steps, saved.history, saved.tensors
