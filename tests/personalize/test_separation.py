"""Masks from predictions, against planted truth."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tmp_utils.inputs.audio import RATE_HZ, log_mel
from tmp_utils.inputs.masks import shares
from tmp_utils.inputs.mixtures import Mixture, load_mixture_setup
from tmp_utils.model.families.ace_step import AceStep
from tmp_utils.model.families.stable_audio import StableAudioOpen
from tmp_utils.personalize import separation
from tmp_utils.personalize.mixtures import learn_mixture
from tmp_utils.personalize.separation import GUIDANCE, parts_of, predicted_mels
from tmp_utils.runs.mixtures import run_mixture

T = np.arange(round(0.64 * RATE_HZ)) / RATE_HZ
LOW, HIGH = (np.float32(0.1) * np.sin(2 * np.pi * hz * T).astype("float32") for hz in (300, 3000))


def mels_of(*clips):
    return log_mel(torch.tensor(np.stack(clips)))


def masks_under(backbone, clip, conditions, seed):
    return shares(predicted_mels(backbone, clip, conditions, seed))


def test_two_disjoint_bands_that_are_predicted_come_apart():
    masks = shares(mels_of(LOW, HIGH))
    assert torch.allclose(masks.sum(0), torch.ones(()))
    parts = parts_of([LOW + HIGH], [masks])
    for (part,), true in zip(parts, (LOW, HIGH), strict=True):
        assert np.abs(part - true)[1024:-1024].max() < 0.01 * np.abs(true).max()
    assert np.abs(parts[0][0] + parts[1][0] - LOW - HIGH).max() < 1e-6


def test_a_source_that_is_predicted_silent_gets_nothing():
    parts = parts_of([LOW], [shares(mels_of(LOW, 0 * LOW))])
    assert np.abs(parts[0][0] - LOW).max() < 0.01 and np.abs(parts[1][0]).max() < 0.01


def test_equal_conditions_share_the_mixture_in_halves_and_the_seed_suffices(backbone):
    noun = backbone.embed_prompts(["a recording of a violin"])
    masks = masks_under(backbone, LOW + HIGH, torch.cat([noun, noun]), 3)
    assert masks.shape == (2, 64, 64)
    assert torch.allclose(masks, torch.full_like(masks, 0.5), atol=1e-5)
    other = backbone.embed_prompts(["a recording of a drum beat"])
    pair = torch.cat([noun, other])
    first, again, other_seed = (masks_under(backbone, LOW, pair, seed) for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other_seed)
    assert torch.allclose(first, masks_under(backbone, LOW, pair.flip(0), 3).flip(0), atol=1e-5)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_the_clean_latents_of_a_denoiser_that_knows_them_are_found_and_guidance_extrapolates(kind):
    """A denoiser whose answer for condition c is the latents c * z; of the empty prompt, 0 * z."""
    generator = torch.Generator().manual_seed(0)
    z, noise = (torch.randn(1, 2, 4, 4, generator=generator) for _ in range(2))
    power = torch.tensor(0.3)
    signal, sigma = power.sqrt(), (1 - power).sqrt()

    def predict(noised, _timestep, conditions):
        clean = conditions[:, :, None, None] * z
        eps = (noised - signal * clean) / sigma
        answers = {"epsilon": eps, "v_prediction": signal * eps - sigma * clean, "sample": clean}
        return answers[kind]

    known = SimpleNamespace(predict=predict, levels=lambda at: (signal, sigma), prediction=kind, device="cpu")
    conditions = torch.tensor([[1.0], [2.0]])
    for null_of in (torch.zeros_like, lambda condition: -condition):  # one null for all, and each its own
        known.null_of, nulls = null_of, null_of(conditions)
        expected = [(null + GUIDANCE * (one - null)) * z for null, one in zip(nulls, conditions, strict=True)]
        cleaned = separation._cleaned(known, z, noise, 0, conditions)
        assert torch.allclose(cleaned, torch.cat(expected), atol=1e-5)


@pytest.mark.parametrize(("family", "said"), [(AceStep, 'predicts "flow"'), (StableAudioOpen, "decodes to samples")])
def test_a_model_without_mels_is_refused_before_anything_is_learned_or_generated(family, said):
    backbone = family("large", "", None, None)
    words = Mixture("m", ("a", "b"), ("x", "y"), (LOW + HIGH,) * 2, ((LOW,) * 2, (HIGH,) * 2), "like")
    for name in ("TI-PRIOR", "TI-JOINT"):
        with pytest.raises(ValueError, match=f"large: masks need .*{said}.*such as pocket"):
            learn_mixture(backbone, words, load_mixture_setup(name), 0, None)
    for name in ("untrained-class-noun", "TI-PROMPT", "LoRA+LoRA"):
        with pytest.raises(ValueError, match="large: masks need"):
            run_mixture(SimpleNamespace(backbone=backbone), words, name, 0)
    with pytest.raises(ValueError, match="large: masks need"):
        predicted_mels(backbone, LOW, torch.zeros(1, 2), 0)
