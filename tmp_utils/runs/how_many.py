"""How many clips, and how many steps? Trainings on 1, 2, 3, ... clips of a concept, measured along the way.

Conventions: a concept's clips are parted once, whatever is learned from. The last `N_HELD_OUT` are held out and judge;
the one before them validates; the first n are learned from. Each training is `LONGER` times as long as the profile's,
so that it may become too long, and is measured at `LOOKS` steps and before it (step 0: the untrained model with the
class noun). All trainings of a concept and seed are measured with the same noise.

What judges: clap_a and musicnn_a (against the held-out clips), clap_t, copied (share of clips that copy one of the n).
What anybody who fine-tunes can see: validation_loss (mean squared error on the clip that validates, at fixed noise
levels), drift (mean squared difference between the denoiser's predictions there and the untrained model's, relative
to the mean square of those), clap_a_training (CLAP-A of other generated clips against the n).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from tmp_utils.inputs.concepts import Concept, load_clips
from tmp_utils.inputs.profiles import Profile, Setup
from tmp_utils.inputs.prompts import editability_prompts, fill, reconstruction_prompt
from tmp_utils.metrics.copies import CopyTest
from tmp_utils.metrics.names import key_of
from tmp_utils.metrics.scores import COPY_TOOL
from tmp_utils.metrics.similarity import clap_audio_similarity, clap_text_similarity
from tmp_utils.metrics.table import COPIED
from tmp_utils.model.backbone import unit_noise
from tmp_utils.model.generate import clip_seed
from tmp_utils.model.transfer import round_trip
from tmp_utils.personalize import Adapter, load_adapter, personalise
from tmp_utils.personalize.objective import noised_and_target
from tmp_utils.runs.identity import HASH_CHARS, identity_hash, identity_of, with_models
from tmp_utils.runs.lab import Lab
from tmp_utils.runs.protocol import CHECKPOINTS

CLIP_COUNTS = (1, 2, 3, 5, 10, 20)
N_HELD_OUT, N_VALIDATION = 5, 1
LOOKS, LONGER = 8, 2
JUDGED_CLIPS, JUDGED_PROMPTS, SEEN_CLIPS = 4, 5, 3  # generated at a look; together three batches of four
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


def check_clips(concept: Concept, most: int) -> None:
    """Raise ValueError where a concept has too few clips to learn from `most` of them and judge by others."""
    needed, n = most + N_VALIDATION + N_HELD_OUT, len(concept.clips)
    if n < needed:
        raise ValueError(
            f"{concept.name}: {n} clips in {concept.clips[0].parent}, but {needed} are needed: {most} to learn from, "
            f"{N_VALIDATION} to validate and {N_HELD_OUT} to judge. Add clips (of a stand-in: python -m tmp_utils "
            f"stand-ins --only {concept.name} --takes {needed} --folder ...), or learn from fewer."
        )


def longer_profile(profile: Profile) -> Profile:
    """The profile with `LONGER` times its steps and `LOOKS` checkpoints, all of them kept."""
    methods = {}
    for name, values in profile.methods.items():
        steps = LONGER * values["steps"]
        looks = {"steps": steps, "checkpoint_every": max(1, steps // LOOKS), "keep_checkpoints": True}
        methods[name] = values | looks
    return replace(profile, methods=methods)


@dataclass(frozen=True)
class Look:
    """What is kept of one adapter.

    Attributes
    ----------
    clips : generated clips of the reconstruction prompt.
    near, near_second : the same embedded by the study's embedder and by the second, (JUDGED_CLIPS, d).
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
        self.parts, self._copy_tests = Parts.of(concept, most), {}

    def identity(self, setup: Setup, n_clips: int) -> str:
        """A hash of all that decides a training and its measurements."""
        identity = identity_of(self.profile, self.concept, self.seed, replace(setup, n_clips=n_clips))
        measured = [JUDGED_CLIPS, JUDGED_PROMPTS, SEEN_CLIPS, VALIDATION_DRAWS, N_HELD_OUT, N_VALIDATION]
        identity |= {"measured": measured, "second": self.lab.embedders[-1].name}
        return identity_hash(with_models(identity, self.lab.embedder, self.lab.backbone))[:HASH_CHARS]

    def curve(self, setup: Setup, n_clips: int, folder: Path) -> pd.DataFrame:
        """Train on `n_clips` clips and measure along the way.

        Parameters
        ----------
        folder : for the checkpoints of an interrupted training, which is continued; they go when it is measured.

        Returns
        -------
        concept, method, n_clips, step, metric, value, n, seed, embedder, backbone, identity. n is the number of
        generated clips, or of noised latents.
        """
        chosen, identity = replace(setup, n_clips=n_clips), self.identity(setup, n_clips)
        checkpoints = folder / identity / CHECKPOINTS
        personalise(
            self.lab.backbone,
            self.parts.training,
            chosen,
            self.seed,
            profile=self.profile,
            checkpoint_dir=checkpoints,
            cache_dir=self.lab.place.cache,
        )
        rows = [{"step": 0} | row for row in self._rows(self._untrained, n_clips)]
        for checkpoint in sorted(checkpoints.glob("step-*")):
            adapter = load_adapter(checkpoint)
            rows += [{"step": adapter.steps} | row for row in self._rows(self._look(adapter), n_clips)]
        shutil.rmtree(folder / identity)
        names = {"concept": self.concept.name, "method": setup.method, "n_clips": n_clips}
        made = {"seed": self.seed, "backbone": self.lab.backbone.hash[:HASH_CHARS], "identity": identity}
        table = pd.DataFrame(names | row | made for row in rows)
        return table[[*names, "step", "metric", "value", "n", "seed", "embedder", "backbone", "identity"]]

    def _rows(self, look: Look, n_clips: int) -> Iterator[dict]:
        clap, second = self.lab.embedder.name, self.lab.embedders[-1].name
        held_out, held_out_second = self._held_out
        moved = (look.predicted - self._untrained.predicted).square().mean()
        drift = float(moved / self._untrained.predicted.square().mean())
        copied = float(self._copy_test(n_clips).rated(look.clips)["copy"].mean())
        for metric, value, n, embedder in (
            ("clap_a", clap_audio_similarity(look.near, held_out), JUDGED_CLIPS, clap),
            ("clap_t", look.clap_t, len(self._edits), clap),
            (key_of("clap_a", second), clap_audio_similarity(look.near_second, held_out_second), JUDGED_CLIPS, second),
            (COPIED, copied, JUDGED_CLIPS, COPY_TOOL),
            ("validation_loss", look.validation_loss, VALIDATION_DRAWS, DENOISER),
            ("drift", drift, VALIDATION_DRAWS, DENOISER),
            ("clap_a_training", clap_audio_similarity(look.seen, self._learned[:n_clips]), SEEN_CLIPS, clap),
        ):
            yield {"metric": metric, "value": value, "n": n, "embedder": embedder}

    def _look(self, adapter: Adapter | None) -> Look:
        words = adapter.phrase(self.concept) if adapter else self.concept.class_noun
        judged, seen = ("reconstruction", JUDGED_CLIPS), ("seen", SEEN_CLIPS)
        seeds = [clip_seed(self.seed, name, k) for name, n in (judged, seen) for k in range(n)]
        seeds += [clip_seed(self.seed, prompt.id, 0) for prompt in self._edits]
        prompt = fill(reconstruction_prompt().template, words)
        prompts = [prompt] * (JUDGED_CLIPS + SEEN_CLIPS) + [fill(edit.template, words) for edit in self._edits]
        clips = self.lab.generate(prompts, seeds, adapter)
        embedded, near = self.lab.embedder.embed_clips(clips), clips[:JUDGED_CLIPS]
        texts = [fill(edit.template, self.concept.class_noun) for edit in self._edits]
        predicted = self._predictions(adapter, prompt)
        return Look(
            near,
            embedded[:JUDGED_CLIPS],
            self.lab.embedders[-1].embed_clips(near),
            embedded[JUDGED_CLIPS : JUDGED_CLIPS + SEEN_CLIPS],
            clap_text_similarity(embedded[JUDGED_CLIPS + SEEN_CLIPS :], self.lab.embedder.embed_prompts(texts)),
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
        return self._look(None)

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

    def _copy_test(self, n_clips: int) -> CopyTest:
        """Whether clips copy one of the n: calibrated with these and the held-out clips, so also for n below three."""
        if n_clips not in self._copy_tests:
            training = self._training[:n_clips]
            test = CopyTest.calibrated([*training, *self.parts.held_out], self._after_codec(n_clips))
            self._copy_tests[n_clips] = replace(test, training=tuple(training))
        return self._copy_tests[n_clips]

    def _after_codec(self, n_clips: int) -> Sequence[np.ndarray]:
        return [*self._coded[:n_clips], *self._coded[len(self._training) :]]

    @cached_property
    def _coded(self) -> list[np.ndarray]:
        return [round_trip(self.lab.backbone, clip) for clip in [*self._training, *self.parts.held_out]]
