"""The training loop, the only one: draw, add noise, predict, measure the error, step.

Conventions: a step serves one training or, for new words, several: the backbone is frozen, so they share a pass
through the text encoder and the denoiser. Each has its own clips, prompts, noise, seed, optimiser, history and
checkpoints, so that a training may begin alone and end in a batch, or the other way round. Shared passes keep every
bit only where the library sums the rows of a matrix product alike whatever their number; otherwise the gradients of
a first step differ by 1e-6 of their size.

train         : trainings -> adapters.
step          : one optimiser step of each training.
losses        : the error of one random batch of each.
prepared_denoiser : gradient checkpointing and compilation, switched on and off again.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import torch
from tqdm.auto import tqdm

from tmp_utils.inputs.profiles import Hyperparameters
from tmp_utils.model.adapter import Adapter
from tmp_utils.model.backbone import Backbone
from tmp_utils.model.device import explained
from tmp_utils.model.tensors import EMBEDDING, full_weights
from tmp_utils.personalize.objective import Draw, draw_batch, encode_drawn, squared_errors
from tmp_utils.personalize.training import Diverged, Training, step_generator


def train(
    backbone: Backbone, trainings: Sequence[Training], *, together: int = 1, progress: bool = True
) -> list[Adapter]:
    """Train to the end, each from its last checkpoint where it has one.

    Parameters
    ----------
    trainings : as `prepare` makes them; their tensors are trained in place.
    together : how many share a batch, so `together * batch_size` latents. Above 1 only new words (TI) can.

    Returns
    -------
    one adapter for each training, in their order; its seconds per step are its share of the time, None where its
    checkpoint had all steps.

    Raises
    ------
    ValueError : no trainings, `together` below 1, trainings that cannot share a batch, a checkpoint of another run or
        of a later step.
    Diverged : of the first training that did, once all others are finished.
    OutOfMemory : the message names the settings to reduce.
    """
    hyperparameters = _shared_hyperparameters(trainings, together)
    for training in trainings:
        training.resume()
    first_steps, began = [training.adapter.steps for training in trainings], time.perf_counter()
    name = trainings[0].adapter.name if len(trainings) == 1 else f"{len(trainings)} trainings"
    total = sum(training.recipe.steps for training in trainings)
    bar = tqdm(total=total, initial=sum(first_steps), desc=name, disable=not progress, leave=False)
    with prepared_denoiser(backbone, hyperparameters), explained(out_of_memory(hyperparameters, together)), bar:
        while unfinished := [training for training in trainings if not training.ended]:
            for start in range(0, len(unfinished), together):
                batch = unfinished[start : start + together]
                step(batch)
                for training in batch:
                    training.save_checkpoint()
                bar.update(sum(training.adapter.steps for training in trainings) - bar.n)
    taken = [training.adapter.steps - first for training, first in zip(trainings, first_steps, strict=True)]
    seconds_per_step = (time.perf_counter() - began) / max(sum(taken), 1)
    adapters = [training.result(seconds_per_step if n else None) for training, n in zip(trainings, taken, strict=True)]
    for error in (training.diverged for training in trainings if training.diverged):
        error.finished = tuple(adapters)
        raise error
    return adapters


def step(trainings: Sequence[Training]) -> None:
    """Take one optimiser step of each training, with one pass through the backbone for each batch.

    A training that diverges takes no step and keeps the error in `diverged`; the others take theirs without it. One
    whose fp16 gradients overflow takes none either, and tries the same step again in the next call.
    """
    for training in trainings:
        training.recipe.before_step(training.adapter.steps)
        training.require_gradients()
    generators = [step_generator(training.adapter.seed, training.adapter.steps) for training in trainings]
    try:
        batches = [accumulate(trainings, generators) for _ in range(trainings[0].hyperparameters.accumulation)]
    except Diverged:
        others = [training for training in trainings if not training.diverged]
        if not others:
            return
        for training in others:
            training.optimizer.zero_grad()
        return step(others)  # draws the same again
    for training, values in zip(trainings, zip(*batches, strict=True), strict=True):
        training.update(values)


def accumulate(trainings: Sequence[Training], generators: Sequence[torch.Generator]) -> list[float]:
    """Add the gradients of one batch to every training; their losses. Raises `Diverged`."""
    backbone, weights = trainings[0].backbone, {}
    for training in trainings:
        weights |= full_weights(backbone, training.tensors, training.spectra)
    with backbone.swapped(weights):  # until the backward pass is over: gradient checkpointing computes them again
        batch_losses, zero_losses = losses(trainings, generators)
        values, zeros = torch.stack([batch_losses.detach(), zero_losses]).tolist()
        for training, value, zero in zip(trainings, values, zeros, strict=True):
            training.check(value, zero)
        parts = zip(trainings, batch_losses, strict=True)
        scaled = [training.scaler.scale(loss / training.hyperparameters.accumulation) for training, loss in parts]
        torch.stack(scaled).sum().backward()
    return values


def losses(trainings: Sequence[Training], generators: Sequence[torch.Generator]) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean squared error of one random batch of each training, and that of always answering 0.

    Parameters
    ----------
    trainings : the backbone has their `full_weights` swapped in.
    generators : one for each training, on the CPU, so that a GPU draws the same.

    Returns
    -------
    two (len(trainings),); with prior preservation, `prior_weight` times the error of as many class clips is added.
    """
    backbone, dtype = trainings[0].backbone, trainings[0].dtype
    draws = [
        draw_batch(backbone, training.recipe, training.examples, training.hyperparameters.batch_size, generator)
        for training, generator in zip(trainings, generators, strict=True)
    ]
    with torch.autocast(backbone.device.type, dtype, enabled=dtype != torch.float32):
        condition = encode_drawn([training.conditions for training in trainings], draws)
        errors, squares = squared_errors(backbone, Draw.joined(draws), condition)
    sizes = [len(draw.rows) for draw in draws]
    parts = zip(trainings, errors.split(sizes), squares.split(sizes), strict=True)
    weighted = [
        (training.weighted(of_errors), training.weighted(of_squares)) for training, of_errors, of_squares in parts
    ]
    batch_losses, zero_losses = zip(*weighted, strict=True)
    return torch.stack(batch_losses), torch.stack(zero_losses)


def check_together(others: Collection[str], together: int) -> None:
    """Check that so many trainings can share a batch.

    Parameters
    ----------
    others : names of those that train more than a new word, such as "DB-BL".

    Raises
    ------
    ValueError : `together` is below 1, or above 1 with any of `others`.
    """
    if together < 1:
        raise ValueError(f"together={together}: expected 1 or more trainings in a batch.")
    if others and together > 1:
        raise ValueError(
            f"{', '.join(sorted(others))}: only Textual Inversion leaves the backbone as it is, so that a batch can "
            "share it. Use together=1."
        )


def _shared_hyperparameters(trainings: Sequence[Training], together: int) -> Hyperparameters:
    """The hyperparameters of all trainings; ValueError where they cannot be trained side by side."""
    if not trainings:
        raise ValueError("0 trainings; give at least one.")
    names = {f"{t.adapter.method}-{t.adapter.setup}" for t in trainings if t.tensors.keys() != {EMBEDDING}}
    check_together(names, together)
    if any(training.hyperparameters != trainings[0].hyperparameters for training in trainings):
        raise ValueError("trainings side by side need the same hyperparameters. Train the others in another call.")
    return trainings[0].hyperparameters


@contextmanager
def prepared_denoiser(backbone: Backbone, hyperparameters: Hyperparameters) -> Iterator[None]:
    """Let the denoiser recompute its activations in the backward pass, or be compiled, as the hyperparameters say."""
    if hyperparameters.gradient_checkpointing:
        backbone.denoiser.enable_gradient_checkpointing(backbone.checkpointed)
    if hyperparameters.compile:
        backbone.denoiser.compile()
    try:
        yield
    finally:
        backbone.denoiser.disable_gradient_checkpointing()
        backbone.denoiser._compiled_call_impl = None  # torch has no public way back from Module.compile


def out_of_memory(hyperparameters: Hyperparameters, together: int = 1) -> str:
    """What to try when the GPU's memory does not hold a step."""
    fewer = f"; or lower together={together}" if together > 1 else ""
    return (
        f"training with batch_size={hyperparameters.batch_size}, "
        f"gradient_checkpointing={hyperparameters.gradient_checkpointing}. Set gradient_checkpointing = true (the same "
        "result, a third more time), or halve batch_size and double accumulation, in data/profiles.toml" + fewer
    )
