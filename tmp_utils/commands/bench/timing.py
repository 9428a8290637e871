"""Seconds: of actions in turns, and of the parts of a training step.

Conventions: those of the package. An action is called without arguments.

alternating : seconds of several actions, called in turns.
Ratio       : theirs over ours, with its range.
step_of     : one step of a training.
step_parts  : where a training step's time goes.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import torch

from tmp_utils.personalize import loop
from tmp_utils.personalize.training import Training

REPEATS = 5
PARTS = ("draws", "text encoder", "UNet forward", "backward", "optimiser", "rest")


@dataclass(frozen=True)
class Ratio:
    """Median seconds of both, and the median, lowest and highest of the turns' ratios."""

    ours_s: float
    public_s: float
    ratio: float
    low: float
    high: float

    @classmethod
    def of(cls, ours_s: list[float], public_s: list[float]) -> "Ratio":
        """Of as many turns of each."""
        ratios = [theirs / ours for ours, theirs in zip(ours_s, public_s, strict=True)]
        middle = [statistics.median(values) for values in (ours_s, public_s, ratios)]
        return cls(*middle, min(ratios), max(ratios))


def synchronise() -> None:
    """Wait for the GPU, if there is one, so that the clock sees its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds_of(action: Callable[[], object]) -> float:
    """Seconds of one call."""
    synchronise()
    start = time.perf_counter()
    action()
    synchronise()
    return time.perf_counter() - start


def alternating(actions: Mapping[str, Callable[[], object]], repeats: int = REPEATS) -> dict[str, list[float]]:
    """Seconds (repeats,) of each action; they take turns, so that what else the machine does falls on all alike."""
    for action in actions.values():
        action()
    turns = [{name: seconds_of(action) for name, action in actions.items()} for _ in range(repeats)]
    return {name: [turn[name] for turn in turns] for name in actions}


def step_of(run: Training, number: int) -> None:
    """Take the step of a number, counted from 0, again if it was taken before."""
    run.adapter.steps = number
    loop.step([run])


def step_parts(run: Training, repeats: int = REPEATS) -> dict[str, float]:
    """Mean seconds by part of a training step, "total" among them; `PARTS` add up to it.

    "backward" is what autograd does; "optimiser" the clipping, AdamW, and the row of the history.
    """
    step_of(run, 0)
    with _watched(run) as seconds:
        for step in range(1, repeats + 1):
            seconds["total"] += seconds_of(lambda step=step: step_of(run, step % run.recipe.steps))
    found = {part: seconds[part] / repeats for part in (*PARTS[:-1], "total")}
    return {**found, "rest": found["total"] - sum(found[part] for part in PARTS[:-1])}


@contextmanager
def _watched(run: Training) -> Iterator[dict[str, float]]:
    """Seconds by part, filled while steps are taken."""
    seconds: dict[str, float] = defaultdict(float)

    def timed(part: str, function: Callable) -> Callable:
        def wrapper(*args, **kwargs):
            synchronise()
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                synchronise()
                seconds[part] += time.perf_counter() - start

        return wrapper

    watched = (
        ("draws", loop, "draw_batch"),
        ("text encoder", run.backbone, "encode"),
        ("UNet forward", run.backbone.unet, "forward"),
        ("backward", torch.Tensor, "backward"),
        ("optimiser", run, "update"),
    )
    with ExitStack() as stack:
        for part, owner, name in watched:
            stack.enter_context(patch.object(owner, name, timed(part, getattr(owner, name))))
        yield seconds
