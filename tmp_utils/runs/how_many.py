"""How many clips, and how many steps? Trainings on 1, 5 and 20 clips of a concept, measured along the way.

Conventions: a concept's clips are parted once, whatever is learned from. The last `N_HELD_OUT` are held out and judge;
the one before them validates; the first n are learned from. Each training is twice as long as the profile's, so that it
may become too long, and is measured at the steps of `look_steps` and before it (step 0: the untrained model with the
class noun). All trainings of a concept and seed are measured with the same noise.

What judges: clap_a and musicnn_a (against the held-out clips), clap_t, copied (share of clips that copy one of the n;
the threshold is the same for every n, and at step 0 these are false alarms). A look has `JUDGED_CLIPS` clips. At the
profile's steps there are `MORE_CLIPS`: clap_a_more, musicnn_a_more and copied_more are of all of these, while clap_a is
of the same few noises at every look, so that looks compare.
What anybody who fine-tunes can see: validation_loss (mean squared error on the clip that validates, at fixed noise
levels), drift (mean squared difference between the denoiser's predictions there and the untrained model's, relative
to the mean square of those), clap_a_training (CLAP-A of other generated clips against the n).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from tmp_utils.inputs.concepts import Concept, load_clips
from tmp_utils.inputs.profiles import INCIDENTAL, Profile, Setup
from tmp_utils.inputs.prompts import editability_prompts, fill, reconstruction_prompt
from tmp_utils.metrics.copies import CopyTest
from tmp_utils.metrics.names import key_of
from tmp_utils.metrics.scores import COPY_TOOL
from tmp_utils.metrics.similarity import clap_audio_similarity, clap_text_similarity
from tmp_utils.metrics.table import COPIED
from tmp_utils.model.backbone import unit_noise
from tmp_utils.model.generate import clip_seed
from tmp_utils.model.transfer import round_trip
from tmp_utils.personalize import Adapter, load_adapter, prepare, train
from tmp_utils.personalize.checkpoint import checkpoint_folder
from tmp_utils.personalize.objective import noised_and_target
from tmp_utils.runs.identity import HASH_CHARS, identity_hash, identity_of, with_models
from tmp_utils.runs.lab import Lab
from tmp_utils.runs.protocol import CHECKPOINTS
from tmp_utils.runs.provenance import commit

CLIP_COUNTS = (1, 5, 20)
N_HELD_OUT, N_VALIDATION = 5, 1
LOOKS = (0.25, 0.5, 1, 2)  # times the profile's steps
JUDGED_CLIPS, JUDGED_PROMPTS, SEEN_CLIPS = 4, 5, 3  # generated at a look; together three batches of four
MORE_CLIPS, MORE = 10, "_more"  # judged at the profile's steps; ends the metrics of all of them
VALIDATION_DRAWS = 16  # noise levels, each with noise of its own
VALIDATION = "validation"  # with the seed, decides these draws
DENOISER = "denoiser"  # in the column embedder of what needs none


@dataclass(frozen=True)
class Parts:
    """A concept's clips, parted: what is learned from (as a concept), what validates, what judges (n,) each."""

    training: Concept
    validation: np.ndarray
    held_out: list[np.ndarray]

    @classmethod
    def of(cls, concept: Concept, most: int) -> Parts:
        """Part a concept's clips; ValueError where fewer than `most` would be left to learn from."""
        check_clips(concept, most)
        last = len(concept.clips) - N_HELD_OUT
        others = load_clips(replace(concept, clips=concept.clips[last - N_VALIDATION :]))
        return cls(replace(concept, clips=concept.clips[: last - N_VALIDATION]), others[0], others[1:])


def clips_needed(most: int) -> int:
    """Return how many clips a concept needs to learn from `most` of them and judge by others."""
    return most + N_VALIDATION + N_HELD_OUT


def check_clips(concept: Concept, most: int) -> None:
    """Raise ValueError where a concept has too few clips to learn from `most` of them and judge by others."""
    needed, n = clips_needed(most), len(concept.clips)
    if n < needed:
        raise ValueError(
            f"{concept.name}: {n} clips in {concept.clips[0].parent}, but {needed} are needed: {most} to learn from, "
            f"{N_VALIDATION} to validate and {N_HELD_OUT} to judge. Add clips (of a stand-in: python -m tmp_utils "
            f"stand-ins --only {concept.name} --takes {needed} --folder ...), or learn from fewer."
        )


def usual_steps(hyperparameters: Mapping[str, Any]) -> int:
    """Return a profile's number of steps for a method, those of its first phase (of TI-DB) among them."""
    return hyperparameters["steps"] + hyperparameters.get("ti_steps", 0)


def look_steps(steps: int) -> list[int]:
    """Return the steps at which a training is measured, of the profile's number of steps.

    >>> look_steps(100)
    [25, 50, 100, 200]
    """
    return sorted({max(1, int(share * steps)) for share in LOOKS})


def longer_profile(profile: Profile) -> Profile:
    """The profile with as many steps as the last look has, in the last phase, and checkpoints that are kept.

    Checkpoints are as far apart as the first look is from the start, which bounds their number.
    """
    methods = {}
    for name, values in profile.methods.items():
        usual = usual_steps(values)
        looks = look_steps(usual)
        steps = values["steps"] + looks[-1] - usual
        methods[name] = values | {"steps": steps, "checkpoint_every": looks[0], "keep_checkpoints": True}
    return replace(profile, methods=methods)


@dataclass(frozen=True)
class Look:
    """What is kept of one adapter.

    Attributes
    ----------
    clips : generated clips of the reconstruction prompt, `JUDGED_CLIPS` or `MORE_CLIPS`.
    near, near_second : the same embedded by the study's embedder and by the second, (len(clips), d).
    seen : other clips of that prompt, embedded, (SEEN_CLIPS, d).
    clap_t : of a clip a prompt.
    validation_loss : mean squared error on the clip that validates.
    predicted : the denoiser's predictions there, (VALIDATION_DRAWS, c, t, ...).
    """

    clips: list[np.ndarray]
    near: np.ndarray
    near_second: np.ndarray
    seen: np.ndarray
    clap_t: float
    validation_loss: float
    predicted: torch.Tensor


class HowMany:
    """The trainings of one concept and seed; what they share is computed once.

    Parameters
    ----------
    lab : its profile says how a usual training is.
    concept : with all its clips.
    most : the greatest number of clips that is learned from.
    """

    def __init__(self, lab: Lab, concept: Concept, seed: int, most: int):
        self.lab, self.concept, self.seed, self.profile = lab, concept, seed, longer_profile(lab.profile)
        self.parts = Parts.of(concept, most)

    def identity(self, setup: Setup, n_clips: int) -> str:
        """A hash of all that decides a training and its measurements."""
        identity = identity_of(self.profile, self.concept, self.seed, replace(setup, n_clips=n_clips))
        measured = [LOOKS, JUDGED_CLIPS, MORE_CLIPS, JUDGED_PROMPTS, SEEN_CLIPS]
        measured += [VALIDATION_DRAWS, N_HELD_OUT, N_VALIDATION]
        values = self.profile.method(setup.method)
        identity["hyperparameters"] |= {name: values[name] for name in INCIDENTAL}  # as in the tables so far
        identity |= {"measured": measured, "second": self.lab.embedders[-1].name}
        return identity_hash(with_models(identity, self.lab.embedder, self.lab.backbone))[:HASH_CHARS]

    def curve(self, setup: Setup, n_clips: int, folder: Path) -> pd.DataFrame:
        """Train on `n_clips` clips and measure along the way.

        Parameters
        ----------
        folder : for the checkpoints, in a folder of the training's `identity`; an interrupted one is continued.

        Returns
        -------
        concept, method, n_clips, step, metric, value, n, seed, embedder, backbone, identity, commit. n is the number of
        generated clips, or of noised latents.
        """
        chosen, identity = replace(setup, n_clips=n_clips), self.identity(setup, n_clips)
        checkpoints, usual = folder / identity / CHECKPOINTS, usual_steps(self.lab.profile.method(setup.method))
        training = prepare(
            self.lab.backbone,
            self.parts.training,
            chosen,
            self.seed,
            self.profile,
            checkpoint_dir=checkpoints,
            cache_dir=self.lab.place.cache,
        )
        training.checkpoint_at = look_steps(usual)
        train(self.lab.backbone, [training])
        rows = [{"step": 0} | row for row in self._rows(self._untrained, n_clips)]
        for step in look_steps(usual):
            adapter = load_adapter(checkpoint_folder(checkpoints, step))
            look = self._look(adapter, MORE_CLIPS if step == usual else JUDGED_CLIPS)
            rows += [{"step": step} | row for row in self._rows(look, n_clips)]
        names = {"concept": self.concept.name, "method": setup.method, "n_clips": n_clips}
        made = {"seed": self.seed, "backbone": self.lab.backbone.hash[:HASH_CHARS], "identity": identity}
        made |= {"commit": commit()}
        table = pd.DataFrame(names | row | made for row in rows)
        return table[[*names, "step", "metric", "value", "n", "seed", "embedder", *list(made)[1:]]]

    def _rows(self, look: Look, n_clips: int) -> Iterator[dict]:
        clap = self.lab.embedder.name
        moved = (look.predicted - self._untrained.predicted).square().mean()
        drift = float(moved / self._untrained.predicted.square().mean())
        yield from self._judged(look, n_clips, JUDGED_CLIPS, "")
        if len(look.clips) > JUDGED_CLIPS:
            yield from self._judged(look, n_clips, len(look.clips), MORE)
        for metric, value, n, embedder in (
            ("clap_t", look.clap_t, len(self._edits), clap),
            ("validation_loss", look.validation_loss, VALIDATION_DRAWS, DENOISER),
            ("drift", drift, VALIDATION_DRAWS, DENOISER),
            ("clap_a_training", clap_audio_similarity(look.seen, self._learned[:n_clips]), SEEN_CLIPS, clap),
        ):
            yield {"metric": metric, "value": value, "n": n, "embedder": embedder}

    def _judged(self, look: Look, n_clips: int, n: int, ending: str) -> Iterator[dict]:
        """The first n clips beside the held-out ones and the n_clips that were learned from."""
        clap, second = self.lab.embedder.name, self.lab.embedders[-1].name
        held_out, held_out_second = self._held_out
        copied = float(self._copy_test(n_clips).rated(look.clips[:n])["copy"].mean())
        for metric, value, embedder in (
            ("clap_a", clap_audio_similarity(look.near[:n], held_out), clap),
            (key_of("clap_a", second), clap_audio_similarity(look.near_second[:n], held_out_second), second),
            (COPIED, copied, COPY_TOOL),
        ):
            yield {"metric": metric + ending, "value": value, "n": n, "embedder": embedder}

    def _look(self, adapter: Adapter | None, n_judged: int) -> Look:
        words = adapter.phrase(self.concept) if adapter else self.concept.class_noun
        judged, seen = ("reconstruction", n_judged), ("seen", SEEN_CLIPS)
        seeds = [clip_seed(self.seed, name, k) for name, n in (judged, seen) for k in range(n)]
        seeds += [clip_seed(self.seed, prompt.id, 0) for prompt in self._edits]
        prompt = fill(reconstruction_prompt().template, words)
        prompts = [prompt] * (n_judged + SEEN_CLIPS) + [fill(edit.template, words) for edit in self._edits]
        clips = self.lab.generate(prompts, seeds, adapter)
        embedded, near = self.lab.embedder.embed_clips(clips), clips[:n_judged]
        texts = [fill(edit.template, self.concept.class_noun) for edit in self._edits]
        predicted = self._predictions(adapter, prompt)
        return Look(
            near,
            embedded[:n_judged],
            self.lab.embedders[-1].embed_clips(near),
            embedded[n_judged : n_judged + SEEN_CLIPS],
            clap_text_similarity(embedded[n_judged + SEEN_CLIPS :], self.lab.embedder.embed_prompts(texts)),
            float((predicted - self._validation[1]).square().mean()),
            predicted,
        )

    @torch.no_grad()
    def _predictions(self, adapter: Adapter | None, prompt: str) -> torch.Tensor:
        """The denoiser's predictions (VALIDATION_DRAWS, c, t, ...) for the noised clip that validates, on the CPU."""
        backbone, (noised, _, times) = self.lab.backbone, self._validation
        with adapter.applied(backbone) if adapter else nullcontext():
            condition = backbone.embed_prompts([prompt] * len(noised))
            return backbone.predict(noised.to(backbone.device), times.to(backbone.device), condition).float().cpu()

    @cached_property
    def _validation(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Noised latents and what the denoiser should predict, (VALIDATION_DRAWS, c, t, ...); noise levels."""
        backbone, k = self.lab.backbone, VALIDATION_DRAWS
        latents = backbone.moments([self.parts.validation])[0] * backbone.latent_scale
        latents, seeds = latents.expand(k, *latents.shape[1:]), [clip_seed(self.seed, VALIDATION, n) for n in range(k)]
        times = backbone.draw_times(k, latents.shape[1:], torch.Generator().manual_seed(seeds[0]))
        noised, target = noised_and_target(backbone, latents, unit_noise(seeds, latents.shape[1:]), times)
        return noised.cpu(), target.cpu(), times

    @cached_property
    def _untrained(self) -> Look:
        return self._look(None, JUDGED_CLIPS)

    @cached_property
    def _edits(self) -> list:
        return editability_prompts(min(JUDGED_PROMPTS, self.profile.n_editability_prompts))

    @cached_property
    def _training(self) -> list[np.ndarray]:
        return load_clips(self.parts.training)

    @cached_property
    def _learned(self) -> np.ndarray:
        """The clips that are learned from, embedded, (n, d)."""
        return self.lab.embedder.embed_clips(self._training)

    @cached_property
    def _held_out(self) -> tuple[np.ndarray, np.ndarray]:
        """The held-out clips by both embedders, (N_HELD_OUT, d) each."""
        first, second = self.lab.embedder, self.lab.embedders[-1]
        return first.embed_clips(self.parts.held_out), second.embed_clips(self.parts.held_out)

    @cached_property
    def _calibrated(self) -> CopyTest:
        """The copy test of all clips that can be learned from and the held-out ones: one threshold for every n."""
        clips = [*self._training, *self.parts.held_out]
        return CopyTest.calibrated(clips, [round_trip(self.lab.backbone, clip) for clip in clips])

    def _copy_test(self, n_clips: int) -> CopyTest:
        """Whether clips copy one of the n that were learned from."""
        return replace(self._calibrated, training=tuple(self._training[:n_clips]))
