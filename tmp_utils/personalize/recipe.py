"""What a method tells the training loop: which tensors train, when and how fast, and on which prompts.

Conventions: tensors are named as in `adapter`. Steps are optimiser steps, learning rates AdamW's.

Phase  : tensors that train together for a while.
Recipe : the whole of it; every method is a function that returns one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from tmp_utils.model.tensors import EMBEDDING


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
    others : further new tokens, whose vectors follow the placeholder's, as many for each.
    before_step : called before each step with its number, counted from 0.
    """

    tensors: dict[str, torch.Tensor]
    phases: list[Phase]
    words: str
    prompts: list[str]
    placeholder: str | None = None
    prior_prompt: str | None = None
    prior_weight: float = 0.0
    others: tuple[str, ...] = ()
    before_step: Callable[[int], None] = lambda step: None

    @property
    def sizes(self) -> dict[str, int]:
        """Number of vectors by new token, in their order."""
        tokens = (self.placeholder, *self.others) if self.placeholder else ()
        return {token: len(self.tensors[EMBEDDING]) // len(tokens) for token in tokens}

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return max(phase.stop for phase in self.phases)

    def active(self, step: int) -> list[str]:
        """Names of the tensors that are trained in a step."""
        return [name for phase in self.phases if phase.start <= step < phase.stop for name in phase.names]
