"""Textual Inversion of many concepts at once: the backbone is frozen, so their new words train in one batch.

Conventions: a job is one run (concept, setup, seed, folder of checkpoints). Each keeps its own clips, prompts, noise,
seed, optimiser, history and checkpoints, which are those of `personalise`: a run may be begun by either and finished by
the other. `together` is how many jobs share a pass through the text encoder and the UNet. At 1 the results are those
of separate runs bit for bit (on a CPU, in fp32). Above 1 they are so only where the library sums the rows of a matrix
product alike whatever its height: measured on an AVX-512 CPU with torch 2.13, two jobs of 4 latents in one batch kept
every bit over 30 steps, while a batch of 8 and 8 batches of 1 differed by 1e-6 of the gradient. That is the tolerance
of a first step; AdamW, which divides by the gradient's own size, enlarges it where a gradient is close to 0.

personalise_many : jobs -> adapters.
Job              : what one of them is.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from tmp_utils.inputs.concepts import Concept
from tmp_utils.inputs.profiles import Profile, Setup
from tmp_utils.model.adapter import EMBEDDING, Adapter
from tmp_utils.model.backbone import Backbone
from tmp_utils.model.device import explained
from tmp_utils.personalize import prepare
from tmp_utils.personalize.checkpoint import last_checkpoint, restore, write_checkpoint
from tmp_utils.personalize.loop import Diverged, Training, out_of_memory, prepared_unet, step_generator
from tmp_utils.personalize.objective import Draw, draw_batch, squared_errors

ROLES = [field.name for field in fields(Draw)]


@dataclass(frozen=True)
class Job:
    """One run: what `personalise` takes."""

    concept: Concept
    setup: Setup
    seed: int
    checkpoint_dir: Path | None = None


def personalise_many(
    backbone: Backbone, jobs: Sequence[Job], *, profile: Profile, together: int | None = None, progress: bool = True
) -> list[Adapter]:
    """Learn the new words of several concepts (or setups, or seeds) side by side.

    Parameters
    ----------
    together : jobs in one batch, so `together * batch_size` latents; None is 1 on a CPU, which keeps the bits, and all
        of them on a GPU.

    Returns
    -------
    one adapter a job, in the jobs' order; the seconds per step of their cost are its share of the time.

    Raises
    ------
    ValueError : no jobs, `together` below 1, or a method that trains more than a word; and those of `personalise`.
    Diverged : of the first job that did, once all others are finished; its `finished` holds their adapters.
    OutOfMemory : the message says what to change.
    """
    if not jobs or (together is not None and together < 1):
        raise ValueError(f"{len(jobs)} jobs, together={together}; give at least one job, and together=1 or more.")
    if other := sorted({job.setup.name for job in jobs if job.setup.method != "TI"}):
        raise ValueError(f"{', '.join(other)}: only Textual Inversion leaves the backbone to share. Use `personalise`.")
    together = together or (1 if backbone.device.type == "cpu" else len(jobs))
    runs = [Training(backbone, *prepare(backbone, job.concept, job.setup, job.seed, profile)) for job in jobs]
    for run, job in zip(runs, jobs, strict=True):
        if found := last_checkpoint(job.checkpoint_dir):
            restore(found, run.adapter, run.tensors, run.optimizer)
    options, first_steps = runs[0].options, [run.adapter.steps for run in runs]
    todo = sum(run.recipe.steps for run in runs) - sum(first_steps)
    what, began = f"{out_of_memory(options)}; or fewer than together={together}", time.perf_counter()
    bar = tqdm(total=todo, desc=f"{len(jobs)} new words", disable=not progress, leave=False)
    diverged: dict[int, Diverged] = {}  # by the run's number
    with prepared_unet(backbone, options), explained(what), bar:
        while going := [k for k, run in enumerate(runs) if not (k in diverged or _finished(run))]:
            for first in range(0, len(going), together):
                part = going[first : first + together]
                diverged |= _step_of_those_that_can(runs, part)
                for k in set(part) - diverged.keys():
                    _checkpoint(runs[k], jobs[k].checkpoint_dir)
                    bar.update()
    taken = sum(run.adapter.steps for run in runs) - sum(first_steps)
    seconds = (time.perf_counter() - began) / max(taken, 1)
    adapters = [None if k in diverged else _result(run, seconds) for k, run in enumerate(runs)]
    if diverged:
        error = next(iter(diverged.values()))
        error.finished = tuple(adapters)
        raise error
    return adapters


def _step_of_those_that_can(runs: list[Training], numbers: Sequence[int]) -> dict[int, Diverged]:
    """Take a step of each run; one that diverges takes no part, and the others take theirs without it."""
    left, diverged = list(numbers), {}
    while left:
        before = {k: len(runs[k].adapter.history) for k in left}
        try:
            step_together([runs[k] for k in left])
            break
        except Diverged as error:
            bad = next(k for k in left if runs[k].adapter is error.adapter)
            diverged[bad] = error
            # What had its turn before it keeps its step; the rest repeat theirs, which draws the same again.
            left = [k for k in left if k != bad and len(runs[k].adapter.history) == before[k]]
            for k in left:
                runs[k].optimizer.zero_grad()
    return diverged


def step_together(runs: list[Training]) -> None:
    """Take one optimiser step of each run, with one pass through the frozen parts for each batch."""
    options = runs[0].options
    for run in runs:
        run.activate(run.adapter.steps)
    generators = [step_generator(run.adapter.seed, run.adapter.steps) for run in runs]
    losses = [accumulate_together(runs, generators) for _ in range(options.accumulation)]
    for run, of_run in zip(runs, zip(*losses, strict=True), strict=True):
        run.adapter.history.append(run.update(run.adapter.steps, list(of_run)))
        run.adapter.steps += 1


def accumulate_together(runs: list[Training], generators: list[torch.Generator]) -> list[float]:
    """Add one batch's gradients to every run; their losses."""
    backbone, options = runs[0].backbone, runs[0].options
    n, n_timesteps = options.batch_size, backbone.scheduler.config.num_train_timesteps
    drawn = zip(runs, generators, strict=True)
    draws = [draw_batch(run.recipe, run.examples, n_timesteps, n, generator) for run, generator in drawn]
    joint = Draw(*(torch.cat([getattr(draw, name) for draw in draws]) for name in ROLES))
    with torch.autocast(backbone.device.type, runs[0].dtype, enabled=runs[0].dtype != torch.float32):
        errors, squares = squared_errors(backbone, joint, conditions_together(runs, draws))
        weights = torch.ones_like(errors[:n]) / n
        losses = [(weights * of_run).sum() for of_run in errors.split(n)]
        ignorant = [(weights * of_run).sum() for of_run in squares.split(n)]
    values, limits = torch.stack([torch.stack(losses).detach(), torch.stack(ignorant)]).tolist()
    for run, value, limit in zip(runs, values, limits, strict=True):
        run.check(value, limit)
    parts = zip(runs, losses, strict=True)
    torch.stack([run.scaler.scale(loss / options.accumulation) for run, loss in parts]).sum().backward()
    return values


def conditions_together(runs: list[Training], draws: list[Draw]) -> torch.Tensor:
    """Conditions (sum of batches, d), each run's new words spliced into its own prompts."""
    backbone, ids, masks, vectors, offset = runs[0].backbone, [], [], [], 0
    length = max(run.conditions.ids.shape[1] for run in runs)
    for run, draw in zip(runs, draws, strict=True):
        rows, spare = draw.rows.to(backbone.device), length - run.conditions.ids.shape[1]
        own = run.conditions.ids[rows]
        # Every run counts its new words from the same id; in company they need ids of their own.
        own = torch.where(own >= len(backbone.tokenizer), own + offset, own)
        ids.append(F.pad(own, (0, spare), value=backbone.tokenizer.pad_token_id))
        masks.append(F.pad(run.conditions.mask[rows], (0, spare)))
        vectors.append(run.tensors[EMBEDDING])
        offset += len(vectors[-1])
    return backbone.encode(torch.cat(ids), torch.cat(masks), torch.cat(vectors))


def _finished(run: Training) -> bool:
    return run.adapter.steps >= run.recipe.steps


def _checkpoint(run: Training, folder: Path | None) -> None:
    adapter, options = run.adapter, run.options
    if folder and (adapter.steps % options.checkpoint_every == 0 or _finished(run)):
        adapter.tensors = run.learned()
        write_checkpoint(folder, adapter, run.tensors, run.optimizer, options.keep_checkpoints)


def _result(run: Training, seconds_per_step: float) -> Adapter:
    run.adapter.tensors, run.adapter.cost = run.learned(), run.cost(seconds_per_step)
    return run.adapter
