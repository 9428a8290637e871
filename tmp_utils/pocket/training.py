"""The training loop of every part of the pocket model: steps, checkpoints, curves, and an estimate of the time.

Conventions: a stage draws all its random numbers from the generator that it is passed, which depends on (seed, step)
alone, so a run that was interrupted and resumed ends with the same weights. Learning rates follow one cycle: a linear
rise over the first tenth, then a cosine to zero.

A stage has a `name`; `modules`, whose weights are in the checkpoint; `optimizers`, each with its highest learning rate;
`step(generator)`, which takes one step and returns the values to log; and `validate()`, which returns measures on
held-out clips and is called every `validate_every` steps.
"""

import io
import json
import math
import time
from pathlib import Path

import pandas as pd
import torch

from tmp_utils.files import write_bytes, write_csv, write_json

RISE = 0.1
CHECKPOINT_EVERY_S = 60.0
PROBE_STEPS = 3


def one_cycle(progress: float) -> float:
    """Learning-rate factor in [0, 1] at a share ``progress`` of the run."""
    if progress < RISE:
        return progress / RISE
    return 0.5 * (1 + math.cos(math.pi * (progress - RISE) / (1 - RISE)))


def descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor, max_grad_norm: float = 1.0) -> None:
    """Take one step down the gradient of `loss`, whose norm is cut to `max_grad_norm`."""
    optimizer.zero_grad()
    loss.backward()
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    torch.nn.utils.clip_grad_norm_(weights, max_grad_norm)
    optimizer.step()


@torch.no_grad()
def ema_update(average: torch.nn.Module, model: torch.nn.Module, decay: float) -> None:
    """Move ``average`` towards ``model`` by ``1 - decay``."""
    for a, m in zip(average.parameters(), model.parameters(), strict=True):
        a.lerp_(m, 1 - decay)


def _save(stage, folder: Path, step: int, history: list[dict]) -> None:
    state = {
        "step": step,
        "modules": {name: module.state_dict() for name, module in stage.modules.items()},
        "optimizers": {name: optimizer.state_dict() for name, (optimizer, _) in stage.optimizers.items()},
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes(folder / "checkpoint.pt", buffer.getvalue())
    write_csv(folder / "curve.csv", pd.DataFrame(history))


def _resume(stage, folder: Path, n_steps: int) -> tuple[int, list[dict]]:
    settings = folder / "stage.json"
    if not (folder / "checkpoint.pt").exists():
        write_json(settings, {"name": stage.name, "n_steps": n_steps})
        return 0, []
    before = json.loads(settings.read_text())
    if before["n_steps"] != n_steps:
        raise ValueError(
            f"{folder} holds a checkpoint of a training of {before['n_steps']} steps, but the budget says {n_steps}. "
            f"The learning-rate cycle depends on it. Set {before['n_steps']}, or remove the folder to start again."
        )
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    for name, module in stage.modules.items():
        module.load_state_dict(state["modules"][name])
    for name, (optimizer, _) in stage.optimizers.items():
        optimizer.load_state_dict(state["optimizers"][name])
    return state["step"], pd.read_csv(folder / "curve.csv").to_dict("records")


def run_stage(stage, folder: Path, n_steps: int, seed: int = 0, log=print) -> None:
    """Train a stage, or resume it from its checkpoint; `log` is called with each line of progress.

    Parameters
    ----------
    folder : holds ``checkpoint.pt`` (at least every minute) and ``curve.csv``: step, seconds, the values that the steps
        logged, and ``val_*`` at the steps with a validation.
    """
    folder.mkdir(parents=True, exist_ok=True)
    first, history = _resume(stage, folder, n_steps)
    if first >= n_steps:
        log(f"{stage.name}: all {n_steps} steps are done already ({folder})")
        return
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
