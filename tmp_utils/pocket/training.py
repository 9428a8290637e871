"""How every part of the pocket model is trained: steps, checkpoints, curves, and a word on the cost beforehand.

Conventions: a stage draws everything random from the generator it is handed, which depends on (seed, step) alone, so a
run that was stopped goes on exactly as it would have. Learning rates follow one cycle: a linear rise over the first
tenth, then a cosine to zero.

Stage     : what one part supplies: modules, optimizers, a step, a validation.
run_stage : the loop.
ema_update: exponential moving average of weights.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Protocol

import pandas as pd
import torch

from tmp_utils.files import write_csv

RISE = 0.1
CHECKPOINT_EVERY_S = 60.0
PROBE_STEPS = 3


class Stage(Protocol):
    """One part in training.

    Attributes
    ----------
    name : str
    modules : dict of str to torch.nn.Module
        Everything a checkpoint must hold.
    optimizers : dict of str to (torch.optim.Optimizer, float)
        Each with its highest learning rate.
    validate_every : int
    """

    name: str
    modules: dict
    optimizers: dict
    validate_every: int

    def step(self, generator: torch.Generator) -> dict[str, float]:
        """One optimisation step; returns what to log."""

    def validate(self) -> dict[str, float]:
        """Measures on held-out clips."""


def one_cycle(progress: float) -> float:
    """Learning-rate factor in [0, 1] at a share ``progress`` of the run."""
    if progress < RISE:
        return progress / RISE
    return 0.5 * (1 + math.cos(math.pi * (progress - RISE) / (1 - RISE)))


@torch.no_grad()
def ema_update(average: torch.nn.Module, model: torch.nn.Module, decay: float) -> None:
    """Move ``average`` towards ``model`` by ``1 - decay``."""
    for a, m in zip(average.parameters(), model.parameters(), strict=True):
        a.lerp_(m, 1 - decay)


def _save(stage: Stage, folder: Path, step: int, history: list[dict]) -> None:
    state = {
        "step": step,
        "modules": {name: module.state_dict() for name, module in stage.modules.items()},
        "optimizers": {name: optimizer.state_dict() for name, (optimizer, _) in stage.optimizers.items()},
    }
    part = folder / "checkpoint.pt.part"
    torch.save(state, part)
    part.replace(folder / "checkpoint.pt")
    write_csv(folder / "curve.csv", pd.DataFrame(history))


def _resume(stage: Stage, folder: Path, n_steps: int) -> tuple[int, list[dict]]:
    settings = folder / "stage.json"
    if not (folder / "checkpoint.pt").exists():
        settings.write_text(json.dumps({"name": stage.name, "n_steps": n_steps}))
        return 0, []
    before = json.loads(settings.read_text())
    if before["n_steps"] != n_steps:
        raise ValueError(
            f"{folder} holds a run of {before['n_steps']} steps and {n_steps} were asked for; the learning-rate cycle "
            f"depends on the number. Ask for {before['n_steps']}, or remove the folder to begin again."
        )
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    for name, module in stage.modules.items():
        module.load_state_dict(state["modules"][name])
    for name, (optimizer, _) in stage.optimizers.items():
        optimizer.load_state_dict(state["optimizers"][name])
    return state["step"], pd.read_csv(folder / "curve.csv").to_dict("records")


def run_stage(stage: Stage, folder: Path, n_steps: int, seed: int = 0, log=print) -> pd.DataFrame:
    """Train a stage, or go on where it was stopped.

    Parameters
    ----------
    stage : Stage
    folder : pathlib.Path
        Holds ``checkpoint.pt`` (at least every minute) and ``curve.csv``.
    n_steps : int
    seed : int
    log : callable
        Where progress goes, a line of text at a time.

    Returns
    -------
    pandas.DataFrame
        The curve: step, seconds, what the steps logged, and ``val_*`` where there was a validation.
    """
    folder.mkdir(parents=True, exist_ok=True)
    first, history = _resume(stage, folder, n_steps)
    if first >= n_steps:
        log(f"{stage.name}: {n_steps} steps are done already ({folder})")
        return pd.DataFrame(history)
    started = saved = time.monotonic()
    for step in range(first, n_steps):
        for optimizer, highest in stage.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = highest * one_cycle(step / n_steps)
        row = {"step": step, **stage.step(torch.Generator().manual_seed(seed * 1_000_003 + step))}
        elapsed_s = time.monotonic() - started
        history.append(row | {"seconds": elapsed_s})
        if step - first == PROBE_STEPS:
            minutes = elapsed_s / (PROBE_STEPS + 1) * (n_steps - step) / 60
            log(f"{stage.name}: {n_steps - step} steps to go, about {minutes:.0f} min at this speed")
        if (step + 1) % stage.validate_every == 0 or step + 1 == n_steps:
            history[-1] |= {f"val_{key}": value for key, value in stage.validate().items()}
            shown = "  ".join(f"{k} {v:.4g}" for k, v in history[-1].items() if k not in ("step", "seconds"))
            log(f"{stage.name} {step + 1}/{n_steps} {elapsed_s / 60:.1f} min  {shown}")
        if time.monotonic() - saved > CHECKPOINT_EVERY_S or step + 1 == n_steps:
            _save(stage, folder, step + 1, history)
            saved = time.monotonic()
    return pd.DataFrame(history)
