"""Training at full size without the weights: seconds, memory and FLOP/s of an AudioLDM-M with random weights.

Conventions: The weights are random and the latents are noise, which changes neither time nor
memory. A row that does not fit says so and the next one is tried.
"""

import statistics
from functools import cache, partial
from typing import NamedTuple

import torch

from tmp_utils.commands.bench.flops import matmul_peak, training_flops
from tmp_utils.commands.bench.timing import seconds_of
from tmp_utils.inputs.audio import CLIP_S
from tmp_utils.inputs.concepts import Concept
from tmp_utils.inputs.profiles import Hyperparameters, load_profile, load_setup
from tmp_utils.model import device as devices
from tmp_utils.model.adapter import Adapter
from tmp_utils.model.backbone import Backbone
from tmp_utils.model.blank import blank_pipeline
from tmp_utils.model.device import PRECISIONS, OutOfMemory, explained, peak_memory
from tmp_utils.model.families import backbone_of
from tmp_utils.model.generate import generate
from tmp_utils.personalize import METHODS, loop
from tmp_utils.personalize.examples import Examples
from tmp_utils.personalize.loop import out_of_memory, prepared_denoiser
from tmp_utils.personalize.training import Training

HALF = "half"  # the half precision that a run takes by itself on this device: bf16, or fp16 where there is none
FP16 = "fp16"
CASES = (("fp32", False), (HALF, False), (HALF, True))  # precision, compiled
COMPANIES = (1, 4, 16, 32)
N_CLIPS = 5
CLIP_STEPS, CLIPS_AT_ONCE = 50, 4
CLIP = f"clip, {CLIP_STEPS} steps"


class Measurement(NamedTuple):
    """What one row measures."""

    what: str
    precision: str
    compiled: bool
    concepts: int


def blank_backbone(size: str, device: str) -> Backbone:
    """A backbone with random weights, frozen, that has no folder."""
    return backbone_of(blank_pipeline(size).to(device), f"blank:{size}")


def blank_run(
    backbone: Backbone, method: str, hyperparameters: Hyperparameters, clip_s: float, index: int = 0
) -> Training:
    """A run of the loop in setup BL, on latents of noise; `index` tells several apart."""
    concept = Concept(f"noise-{index}", "guitar", "zyx", "own recordings", (), False, True, True)
    recipe = METHODS[method](backbone, concept, load_setup(method, "BL"), hyperparameters, index)
    mean = torch.randn(N_CLIPS, 1, *backbone.latent_shape(clip_s), generator=torch.Generator().manual_seed(index))
    header = {name: "" for name in ("backbone_id", "backbone_hash", "words")}
    header |= {"method": method, "setup": "BL", "concept": concept.name, "class_noun": concept.class_noun}
    header |= {"rare_word": concept.rare_word, "placeholder": recipe.placeholder}
    adapter = Adapter(**header, seed=index, hyperparameters={})
    return Training(backbone, recipe, Examples(mean, torch.zeros_like(mean), 1.0, "noise"), hyperparameters, adapter)


def planned(device: str) -> list[Measurement]:
    """What is measured on a device; what is compiled comes last, since compiling takes longest."""
    half = half_precision(device)
    cases = [(half if precision == HALF else precision, compiled) for precision, compiled in CASES]
    steps = [Measurement(f"{method} step", *case, 1) for method in ("TI", "DB") for case in cases]
    if device == "cuda":  # a T4 trains in it, so it is also measured where a run would take bf16
        steps += [Measurement(f"{method} step", FP16, False, 1) for method in ("TI", "DB")]
    together = half if device == "cuda" else "fp32"
    steps += [Measurement("TI step", together, False, concepts) for concepts in COMPANIES]
    clips = [Measurement(CLIP, precision, False, 1) for precision, _ in cases]
    return sorted(dict.fromkeys([*steps, *clips]), key=lambda each: each.compiled)


def measured(backbone: Backbone, each: Measurement, clip_s: float = CLIP_S, repeats: int = 5) -> dict:
    """Return the row of one measurement.

    Returns
    -------
    what, precision, compiled, concepts, latents (of a step), seconds (of a step), seconds_per_concept, tflop_per_s,
    share_of_peak, peak_memory_mb (None off the GPU), status ("ok", or why not).
    """
    return _clip_row(backbone, each, clip_s) if each.what == CLIP else _step_row(backbone, each, clip_s, repeats)


@cache
def _peak(device: str, precision: str) -> float:
    return matmul_peak(device, PRECISIONS[precision])


def half_precision(device: str) -> str:
    """The name of what "auto" computes in on a GPU; bf16 elsewhere."""
    kind = devices.precision("auto", device) if device == "cuda" else torch.bfloat16
    return next(name for name, known in PRECISIONS.items() if known == kind)


def _step_row(backbone: Backbone, each: Measurement, clip_s: float, repeats: int) -> dict:
    method, device = each.what.split()[0], backbone.device.type
    chosen = {**load_profile("paper").method(method), "precision": each.precision, "compile": each.compiled}
    if method == "TI":
        chosen["gradient_checkpointing"] = each.concepts > 4  # 64 latents and more do not fit otherwise
    hyperparameters = Hyperparameters.of(chosen, method)
    row = {**each._asdict(), "gradient_checkpointing": hyperparameters.gradient_checkpointing}
    row["latents"] = each.concepts * hyperparameters.batch_size
    try:
        with (
            peak_memory(device) as memory,
            prepared_denoiser(backbone, hyperparameters),
            explained(out_of_memory(hyperparameters)),
        ):
            runs = [blank_run(backbone, method, hyperparameters, clip_s, index) for index in range(each.concepts)]
            for _ in range(2):  # compilation, and the memory that is kept
                loop.step(runs)
            seconds = statistics.median(seconds_of(lambda: loop.step(runs)) for _ in range(repeats))
    except OutOfMemory as error:
        return {**row, "status": str(error)}
    if errors := [run.diverged for run in runs if run.diverged]:  # such a training takes no steps that could be timed
        return {**row, "status": str(errors[0])}
    latents, peak = (row["latents"], *backbone.latent_shape(clip_s)), _peak(device, each.precision)
    flops = training_flops(backbone.denoiser, latents, trained=method == "DB")
    rates = {"tflop_per_s": flops / seconds / 1e12, "share_of_peak": flops / seconds / peak}
    times = {"seconds": seconds, "seconds_per_concept": seconds / each.concepts}
    return {**row, **times, **rates, **memory, "status": "ok"}


def _clip_row(backbone: Backbone, each: Measurement, clip_s: float) -> dict:
    row = {**each._asdict(), "latents": 2 * CLIPS_AT_ONCE}
    prompts, seeds = ["a jazz song"] * CLIPS_AT_ONCE, list(range(CLIPS_AT_ONCE))
    numbers = {"steps": CLIP_STEPS, "clip_s": clip_s, "batch_size": CLIPS_AT_ONCE, "precision": each.precision}
    make = partial(generate, backbone, prompts, seeds, progress=False, **numbers)
    try:
        with peak_memory(backbone.device.type) as memory:
            times = [seconds_of(make) for _ in range(2)]
    except OutOfMemory as error:
        return {**row, "status": str(error)}
    return {**row, "seconds": min(times) / CLIPS_AT_ONCE, **memory, "status": "ok"}
