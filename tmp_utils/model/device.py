"""The device: which number format to compute in, and what to say when its memory is full.

Conventions: sizes in MB are 10^6 bytes, and those that torch's allocator holds; other programs' are not in them.

check_memory : whether a GPU is large enough for some work.
explained    : torch's out-of-memory error, with what was tried and what helps.
OutOfMemory  : that error.
peak_memory  : the most that a piece of work held.
precision    : the name of a number format -> torch's type.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class OutOfMemory(RuntimeError):
    """The GPU's memory is too small for the work; the message says what to change."""


def check_memory(needed_bytes: float, what: str, remedy: str) -> None:
    """Check that the GPU, if there is one, can hold some work at all; memory that other programs hold is ignored.

    Raises
    ------
    OutOfMemory : it cannot; the message says how much it has, what needs more, and `remedy`.
    """
    if torch.cuda.is_available() and torch.cuda.get_device_properties(0).total_memory < needed_bytes:
        needed = f"{what} needs about {needed_bytes / 1e6:.0f} MB"
        raise OutOfMemory(f"the GPU's memory{_size()} is too small: {needed}. {remedy}")


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn torch's error into `OutOfMemory`.

    Parameters
    ----------
    what : what was tried, with which numbers, and the parameters that help.

    Raises
    ------
    OutOfMemory : the message says how much the GPU has, and `what`.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(f"the GPU's memory{_size()} is not enough for {what}.") from error


def _size() -> str:
    if not torch.cuda.is_available():
        return ""
    return f" ({torch.cuda.get_device_properties(0).total_memory / 1e6:.0f} MB)"


@contextmanager
def peak_memory(device: str) -> Iterator[dict[str, float | None]]:
    """Measure `memory["peak_memory_mb"]` of the work within; None off the GPU, where it is not known."""
    memory: dict[str, float | None] = {"peak_memory_mb": None}
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    yield memory
    if device == "cuda":
        memory["peak_memory_mb"] = torch.cuda.max_memory_allocated() / 1e6


def precision(name: str, device: str) -> torch.dtype:
    """The type to compute in: "auto" is fp32 off the GPU, bf16 on one that has it, else fp16."""
    if name != "auto":
        return PRECISIONS[name]
    if device != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
