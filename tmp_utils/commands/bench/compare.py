"""Ours beside the public loop: a training step, a generated clip, the metrics of a clip.

Conventions: Both sides have the same weights, clips, prompts and noise, and the losses of their
first step are in the row: they must agree for the ratio to mean anything.
"""

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tmp_utils.commands.bench.flops import unet_rate
from tmp_utils.commands.bench.public_loop import (
    PublicDraw,
    PublicDreamBooth,
    PublicTextualInversion,
    public_generate,
    public_scores,
)
from tmp_utils.commands.bench.timing import REPEATS, alternating, ratio_of, step_of, step_parts
from tmp_utils.inputs.audio import CLIP_S, load_clip, save_clip
from tmp_utils.inputs.concepts import Concept
from tmp_utils.inputs.profiles import Profile, load_setup
from tmp_utils.inputs.prompts import editability_prompts, fill
from tmp_utils.metrics.distances import frechet_audio_distance
from tmp_utils.metrics.similarity import clap_audio_similarity, clap_text_similarity
from tmp_utils.model.backbone import Backbone
from tmp_utils.model.generate import generate
from tmp_utils.model.tensors import EMBEDDING
from tmp_utils.personalize import loop, prepare
from tmp_utils.personalize.training import step_generator

N_CLIPS = 4  # generated in a turn
SEED = 0


def training_runs(backbone: Backbone, concept: Concept, method: str, profile: Profile, clip_s: float, **kwargs):
    """Our run of a method in setup BL, the public loop on the same clips, and a draw of step k for the latter."""
    run = prepare(backbone, concept, load_setup(method, "BL"), SEED, profile)
    recipe, hyperparameters, shape = run.recipe, run.hyperparameters, tuple(run.examples.mean.shape[2:])
    files = concept.clips[: len(run.examples.mean)]
    if method == "TI":
        first = recipe.tensors[EMBEDDING][0]
        word = (recipe.placeholder, first, hyperparameters.lr)
        public = PublicTextualInversion(backbone, files, recipe.prompts, *word, clip_s=clip_s, **kwargs)
    else:
        public = PublicDreamBooth(backbone, files, recipe.prompts, hyperparameters.lr, clip_s=clip_s, **kwargs)
    numbers = (hyperparameters.batch_size, len(recipe.prompts), len(files), shape)

    def draw(step: int) -> PublicDraw:
        return PublicDraw.of(step_generator(SEED, step), *numbers, backbone.scheduler.config.num_train_timesteps)

    return run, public, draw


def training_row(
    backbone: Backbone,
    concept: Concept,
    method: str,
    profile: Profile,
    clip_s: float,
    repeats: int = REPEATS,
    keep_front_end: bool = False,
) -> dict:
    """Ratio of a method's step, the losses of both for the same noise, the parts of ours and its UNet's speed.

    Most of the public step goes into a mel front end that is built anew for every clip; `keep_front_end` spares it
    that, and so tells how much of the ratio is due to it.
    """
    values = {**profile.method(method), "n_vectors": 1}  # the public loop has no more
    profile = replace(profile, methods={**profile.methods, method: values})
    run, public, draw = training_runs(backbone, concept, method, profile, clip_s, keep_front_end=keep_front_end)
    ours, _ = loop.losses([run], [step_generator(SEED, 0)])
    losses = {"loss_ours": float(ours), "loss_public": float(public.loss(draw(0)).detach())}
    ours, theirs = itertools.count(), itertools.count()
    actions = {
        "ours": lambda: step_of(run, next(ours) % run.recipe.steps),
        "public": lambda: public.step(draw(next(theirs))),
    }
    times = alternating(actions, repeats)
    ratio = ratio_of(times["ours"], times["public"])
    parts = step_parts(run, repeats)
    measured = {"parts": parts, "unet": unet_rate(run, parts)}
    return {"what": f"{method} step" + ", front end kept" * keep_front_end, **ratio, **losses, **measured}


def generation_row(backbone: Backbone, prompts: list[str], profile: Profile, repeats: int = 3) -> dict:
    """Ratio of generating clips, seconds a clip."""
    sampling = {"steps": profile.inference_steps, "guidance_scale": profile.guidance_scale, "clip_s": profile.clip_s}
    asked = (backbone, prompts, list(range(len(prompts))))
    actions = {
        "ours": lambda: generate(*asked, **sampling, progress=False),
        "public": lambda: public_generate(*asked, **sampling),
    }
    times = {name: [s / len(prompts) for s in of] for name, of in alternating(actions, repeats).items()}
    return {"what": "generation of a clip", **ratio_of(times["ours"], times["public"])}


def metrics_row(embedder, clips: list, prompts: list[str], concept: Concept, folder: Path) -> dict:
    """Ratio of scoring generated clips, seconds a clip; the files are read by both, and nothing is cached."""
    files = [save_clip(folder / f"{k}.wav", clip) for k, clip in enumerate(clips)]

    def ours() -> tuple:
        generated = embedder.embed_clips([load_clip(path) for path in files])
        training = embedder.embed_clips([load_clip(path) for path in concept.clips])
        texts = embedder.embed_prompts(prompts)
        return (
            clap_audio_similarity(generated, training),
            clap_text_similarity(generated, texts),
            frechet_audio_distance(training, generated),
        )

    actions = {"ours": ours, "public": lambda: public_scores(embedder, files, concept.clips, prompts)}
    times = {name: [s / len(files) for s in of] for name, of in alternating(actions, 3).items()}
    return {"what": "metrics of a clip", **ratio_of(times["ours"], times["public"])}


def compare(backbone: Backbone, concept: Concept, profile: Profile, embedder=None) -> Iterator[dict]:
    """Rows of everything, each as soon as it is known; the metrics only where there is an embedder."""
    for method in ("TI", "DB"):
        yield training_row(backbone, concept, method, profile, CLIP_S)
        yield training_row(backbone, concept, method, profile, CLIP_S, keep_front_end=True)
    prompts = [fill(prompt.template, concept.class_noun) for prompt in editability_prompts(N_CLIPS)]
    yield generation_row(backbone, prompts, profile)
    if embedder is not None:
        numbers = {"steps": profile.inference_steps, "clip_s": profile.clip_s, "progress": False}
        clips = generate(backbone, prompts, list(range(N_CLIPS)), **numbers)
        with tempfile.TemporaryDirectory() as folder:
            yield metrics_row(embedder, clips, prompts, concept, Path(folder))
