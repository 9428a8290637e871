"""Seconds: of actions in turns, and of the parts of a training step.

Conventions: An action is called without arguments.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from tmp_utils.personalize import loop
from tmp_utils.personalize.training import Training

REPEATS = 5
EVENTS = {  # beginnings of the profiler's names, two of them ours
    "text encoder": "text encoder",
    "UNet forward": "UNet forward",
    "autograd::engine::evaluate_function": "backward",
    "Optimizer.step": "optimiser",
}
PARTS = (*EVENTS.values(), "rest")


def ratio_of(ours_s: list[float], public_s: list[float]) -> dict[str, float]:
    """Median seconds of both (ours_s, public_s), and the median (ratio), low and high of the turns' ratios."""
    ratios = [theirs / ours for ours, theirs in zip(ours_s, public_s, strict=True)]
    names = {"ours_s": ours_s, "public_s": public_s, "ratio": ratios}
    return {name: statistics.median(of) for name, of in names.items()} | {"low": min(ratios), "high": max(ratios)}


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
    """Train step `number`, from 0; a step may be trained again."""
    run.adapter.steps = number
    loop.step([run])


def step_parts(run: Training, repeats: int = REPEATS) -> dict[str, float]:
    """Mean seconds by part of a training step, as torch.profiler sees them, "total" among them; `PARTS` add up to it.

    On a GPU the parts are seconds of its kernels, and the rest is when it waits. "backward" is what autograd does;
    "rest" are the draws, gradient clipping and the history. The profiler itself slows small steps by some percent.
    """
    step_of(run, 0)
    on_gpu = run.backbone.device.type == "cuda"
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu
    modules = {"text encoder": run.backbone.text_encoder.text_model, "UNet forward": run.backbone.unet}
    with _labelled(modules), profile(activities=activities) as profiler:
        total = seconds_of(lambda: [step_of(run, k % run.recipe.steps) for k in range(1, repeats + 1)])
    seconds = dict.fromkeys(PARTS, 0.0)
    for event in profiler.key_averages():
        part = next((part for prefix, part in EVENTS.items() if event.key.startswith(prefix)), None)
        if part:
            seconds[part] += (event.device_time_total if on_gpu else event.cpu_time_total) / 1e6 / repeats
    seconds["rest"] = total / repeats - sum(seconds.values())
    return {**seconds, "total": total / repeats}


@contextmanager
def _labelled(modules: Mapping[str, torch.nn.Module]) -> Iterator[None]:
    """Give the profiler a name for each module's forward passes."""
    with ExitStack() as stack:
        for name, module in modules.items():
            labels: list[record_function] = []

            def enter(*_, name=name, labels=labels) -> None:
                labels.append(record_function(name))
                labels[-1].__enter__()

            def leave(*_, labels=labels) -> None:
                labels.pop().__exit__(None, None, None)

            stack.callback(module.register_forward_pre_hook(enter).remove)
            stack.callback(module.register_forward_hook(leave).remove)
        yield
