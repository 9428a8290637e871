"""What a method tells the training loop: which tensors train, when and how fast, and on which prompts.

Conventions: tensors are named as in `adapter`. Steps are optimiser steps, learning rates AdamW's.

Hyperparameters : of a method, as a profile gives them, each within its range.
Phase           : tensors that train together for a while.
Recipe          : the whole of it; every method is a function that returns one.
"""

import math
from dataclasses import dataclass, fields

import torch

from tmp_utils.model.device import PRECISIONS

# What a hyperparameter may be: its type, its lowest value, and whether that value itself is allowed.
RANGES = {
    **dict.fromkeys(("lr", "ti_lr", "max_grad_norm"), (float, 0, False)),
    **dict.fromkeys(("steps", "batch_size", "accumulation", "checkpoint_every"), (int, 1, True)),
    **dict.fromkeys(("n_vectors", "prior_clips"), (int, 1, True)),
    **{"weight_decay": (float, 0, True), "ti_steps": (int, 0, True)},
}
FLAGS = ("gradient_checkpointing", "compile", "keep_checkpoints")


@dataclass(frozen=True)
class Hyperparameters:
    """Hyperparameters of a method, as a profile gives them; ValueError names one that is out of range.

    Attributes
    ----------
    lr, steps, batch_size : of AdamW; `accumulation` batches make a step.
    weight_decay, max_grad_norm : decay of DreamBooth's weights, never of a new word; the norm gradients are
        cut to.
    precision : "fp32", "bf16", "fp16"; "auto" is fp32 on a CPU, and on a GPU bf16 where it has it, else fp16.
        The trained tensors and their moments stay fp32.
    gradient_checkpointing : less memory for about a third more time; the same gradients.
    compile : let torch.compile fuse the UNet: a minute or more at the start, then faster on a GPU; other rounding.
    checkpoint_every, keep_checkpoints : steps; whether earlier ones are kept.
    n_vectors, ti_lr, ti_steps : of a new word, and of the first phase of TI-DB.
    prior_clips : class clips of prior preservation.
    """

    lr: float
    steps: int
    batch_size: int = 4
    accumulation: int = 1
    weight_decay: float = 1e-2
    max_grad_norm: float = 1.0
    precision: str = "auto"
    gradient_checkpointing: bool = False
    compile: bool = False
    checkpoint_every: int = 50
    keep_checkpoints: bool = False
    n_vectors: int = 1
    ti_lr: float = 2e-2
    ti_steps: int = 0
    prior_clips: int = 16

    def __post_init__(self):
        if self.precision not in ("auto", *PRECISIONS):
            raise ValueError(f"precision = {self.precision!r}: expected one of auto, {', '.join(PRECISIONS)}.")
        for name in FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} = {getattr(self, name)!r}: expected true or false.")
        for name, (kind, lowest, included) in RANGES.items():
            value = getattr(self, name)
            number = isinstance(value, (int, kind)) and not isinstance(value, bool) and math.isfinite(value)
            if not number or value < lowest or (value == lowest and not included):
                what = "a whole number" if kind is int else "a number"
                limit = f"of at least {lowest}" if included else f"above {lowest}"
                raise ValueError(f"{name} = {value!r}: expected {what} {limit}.")

    @classmethod
    def of(cls, method: str, values: dict) -> "Hyperparameters":
        """Hyperparameters of a profile's table; ValueError names the method, and the value or the valid keys."""
        valid = [f.name for f in fields(cls)]
        if unknown := sorted(values.keys() - set(valid)):
            raise ValueError(f"{method}: unknown hyperparameters {', '.join(unknown)}; valid: {', '.join(valid)}.")
        if lacking := sorted({"lr", "steps"} - values.keys()):
            raise ValueError(f"{method}: no {' and no '.join(lacking)}; give it in the profile's methods.")
        try:
            return cls(**values)
        except ValueError as error:
            raise ValueError(f"{method} in the profile's methods: {error}") from error


@dataclass(frozen=True)
class Phase:
    """Tensors that train from step `start` up to step `stop`."""

    names: list[str]
    lr: float
    start: int
    stop: int
    weight_decay: float


@dataclass
class Recipe:
    """What a method tells the loop.

    Attributes
    ----------
    tensors : what may train, with its first values; the adapter holds what became of it.
    phases : which of them train when.
    words, placeholder : what stands in for "{}" of a prompt, and the token in it that is new, if any.
    prompts : training prompts, one drawn at random for each latent.
    prior_prompt, prior_weight : the class's prompt and the weight of its loss, for prior preservation.
    """

    tensors: dict[str, torch.Tensor]
    phases: list[Phase]
    words: str
    prompts: list[str]
    placeholder: str | None = None
    prior_prompt: str | None = None
    prior_weight: float = 0.0

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return max(phase.stop for phase in self.phases)

    def active(self, step: int) -> list[str]:
        """Names of what trains in a step."""
        return [name for phase in self.phases if phase.start <= step < phase.stop for name in phase.names]
