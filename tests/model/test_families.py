"""Every family gives what its pipeline gives."""

import math
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from adapters import new_word
from diffusers import EDMDPMSolverMultistepScheduler, StableAudio3InpaintPipeline
from families import DURATION_S, FAMILIES, ON_MELS, musicldm_embedding, predicted, with_word
from tiny_pipelines import tiny_pipeline

from tmp_utils.inputs.audio import RATE_HZ, resampled
from tmp_utils.model import transfer as transfer_module
from tmp_utils.model.backbone import unit_noise
from tmp_utils.model.families import backbone_of
from tmp_utils.model.generate import generate
from tmp_utils.model.inversion import Denoiser
from tmp_utils.model.process import Continuous, continuous_levels
from tmp_utils.model.tensors import EMBEDDING
from tmp_utils.model.transfer import round_trip, transfer

PROMPT = "a recording of a guitar"
SAMPLING = {"steps": 3, "guidance_scale": 2.0, "progress": False}


class CosineScheduler(EDMDPMSolverMultistepScheduler):
    """The solver without random numbers, told the times that Stable Audio Open's own scheduler tells."""

    def precondition_noise(self, sigma):
        return torch.as_tensor(sigma).atan() * 2 / math.pi


def clip_of_tone(duration_s=DURATION_S):
    return (0.3 * np.sin(np.arange(round(duration_s * RATE_HZ)) / 20)).astype(np.float32)


@contextmanager
def nothing_given(transformer):
    """Pass Stable Audio 3's transformer the mask of zeros that its pipeline without gaps leaves out."""

    def zeros(module, arguments, options):
        batch, channels, frames = arguments[0].shape
        return arguments, options | {"local_add_cond": torch.zeros(batch, channels + 1, frames)}

    hook = transformer.register_forward_pre_hook(zeros, with_kwargs=True)
    yield
    hook.remove()


def of_pipeline(name, backbone, noise):
    """The latents that a pipeline makes of noise, its `__call__` as a whole."""
    pipe, options = backbone.pipe, {"num_inference_steps": 3, "guidance_scale": 3.0, "output_type": "latent"}
    if name == "musicldm":
        prompts = {
            "prompt_embeds": musicldm_embedding(pipe, PROMPT),
            "negative_prompt_embeds": musicldm_embedding(pipe, ""),
        }
        return pipe(**prompts, audio_length_in_s=DURATION_S, latents=noise, **options).audios
    if name == "audioldm2":
        return pipe(PROMPT, audio_length_in_s=DURATION_S, latents=noise, **options).audios
    if name == "stable_audio_open":
        before, config = pipe.scheduler, {**pipe.scheduler.config, "solver_order": 1}
        pipe.scheduler = CosineScheduler.from_config(config)
        try:
            return pipe(PROMPT, audio_end_in_s=DURATION_S, latents=noise, **options).audios
        finally:
            pipe.scheduler = before
    if name == "stable_audio_3":
        with nothing_given(pipe.transformer):
            return pipe(PROMPT, duration=DURATION_S, latents=noise, **options).audios
    options |= {"lyrics": "[Instrumental]", "audio_duration": DURATION_S}
    return pipe(PROMPT, latents=noise.transpose(1, 2), **options).audios.transpose(1, 2)


@pytest.fixture(scope="session", params=FAMILIES)
def tiny(request, tiny_backbones):
    return request.param, tiny_backbones(request.param)


def test_the_reverse_process_is_the_pipelines(tiny):
    name, backbone = tiny
    noise = unit_noise([3], backbone.latent_shape(DURATION_S))
    ours = backbone.denoise(noise, backbone.embed_prompts([PROMPT]), steps=3, guidance_scale=3.0)
    torch.testing.assert_close(ours, of_pipeline(name, backbone, noise), atol=2e-5, rtol=1e-4)


def test_stable_audio_3_makes_every_frame_as_the_pipeline_that_fills_gaps_does(tiny_backbones):
    backbone = tiny_backbones("stable_audio_3")
    noise = unit_noise([3], backbone.latent_shape(DURATION_S))
    ours = backbone.denoise(noise, backbone.embed_prompts([PROMPT]), steps=3, guidance_scale=1.0)
    pipe = StableAudio3InpaintPipeline(**backbone.pipe.components)
    pipe.set_progress_bar_config(disable=True)
    given = torch.ones(1, 2, 2560)
    options = {"num_inference_steps": 3, "latents": noise, "output_type": "latent", "duration": DURATION_S}
    theirs = pipe(PROMPT, audio=given, mask=torch.zeros(1, 1, noise.shape[2]), **options).audios
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)
    plain = backbone.pipe(PROMPT, **options).audios  # which passes no mask
    assert (ours - plain).abs().max() > 1e-3


def test_a_new_word_is_a_row_of_the_text_encoders_lookups(tiny):
    """Against a copy whose vocabulary really has it; output and gradient."""
    name, backbone = tiny
    vectors = torch.stack([backbone.mean_word("guitar"), backbone.mean_word("drums") + 0.1]).requires_grad_()
    noised = unit_noise([1, 2], backbone.latent_shape(DURATION_S))
    times = torch.tensor([7, 900]) if name in ON_MELS else torch.tensor([0.2, 0.9])
    ids, mask = backbone.tokenise(["a recording of <x>"] * 2, {"<x>": 2})
    ours = backbone.predict(noised, times, backbone.encode(ids, mask, vectors))
    pipe, leaves = with_word(backbone.pipe, "<x>", vectors.detach())
    theirs = predicted(name, pipe, "a recording of <x> <x>_1", noised, times)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    ours.square().sum().backward()
    theirs.square().sum().backward()
    expected = torch.cat([table.grad[rows] for table, rows in leaves], 1)
    assert expected.abs().min(0).values.count_nonzero() > expected.shape[1] // 2
    torch.testing.assert_close(vectors.grad, expected, atol=1e-5 * float(expected.abs().max()), rtol=1e-3)


def test_prompts_of_different_lengths_do_not_touch_each_other(tiny):
    _, backbone = tiny
    prompts = [PROMPT, "drums in a jazz song"]
    ids, mask = backbone.tokenise(prompts)
    together, noised = backbone.encode(ids, mask), unit_noise([1, 2], backbone.latent_shape(DURATION_S))
    times = backbone.draw_times(2, noised.shape[1:], torch.Generator().manual_seed(0))
    both = backbone.predict(noised, times, together)
    for k, prompt in enumerate(prompts):
        alone = backbone.embed_prompts([prompt])
        torch.testing.assert_close(together[k : k + 1], alone, atol=1e-5, rtol=1e-4)
        one = backbone.predict(noised[k : k + 1], times[k : k + 1], alone)
        torch.testing.assert_close(both[k : k + 1], one, atol=1e-5, rtol=1e-4)


def test_only_cross_attention_sees_the_condition(tiny):
    _, backbone = tiny
    weights = {name: backbone.parameter(name).clone().zero_() for name in backbone.conditioned_parameters()}
    noise = unit_noise([1], backbone.latent_shape(DURATION_S))
    times = backbone.draw_times(1, noise.shape[1:], torch.Generator().manual_seed(0))
    one, other = (backbone.embed_prompts([prompt]) for prompt in (PROMPT, "drums"))
    assert not torch.allclose(backbone.predict(noise, times, one), backbone.predict(noise, times, other), atol=1e-6)
    with backbone.swapped(weights):
        torch.testing.assert_close(backbone.predict(noise, times, one), backbone.predict(noise, times, other))


def test_moments_are_the_vaes_and_a_clip_comes_back_at_its_length(tiny):
    _, backbone = tiny
    clip = clip_of_tone()
    own = resampled(clip, RATE_HZ, backbone.rate_hz)
    mean, std = backbone.moments([own, own])
    assert mean.shape == std.shape == (2, *backbone.latent_shape(DURATION_S)) and torch.equal(mean[0], mean[1])
    (made,) = transfer(backbone, clip, [0.0], prompt=PROMPT, steps=3, guidance_scale=2.0)
    assert len(made) == len(clip) and np.array_equal(made, round_trip(backbone, clip))
    decoded = backbone.decode(mean[:1] * backbone.latent_scale)[0][: len(own)]
    assert np.array_equal(made, resampled(decoded, backbone.rate_hz, RATE_HZ)[: len(clip)])


def test_strength_runs_from_the_round_trip_to_generation(tiny):
    name, backbone = tiny
    clip = clip_of_tone()
    strengths = [0.0, 0.3, 1.0]
    clips = transfer(backbone, clip, strengths, prompt=PROMPT, seed=5, steps=3, guidance_scale=2.0)
    (made,) = generate(backbone, [PROMPT], [5], clip_s=DURATION_S, batch_size=1, **SAMPLING)
    assert np.abs(clips[2] - made).max() < 1e-6
    assert np.abs(clips[1] - clips[0]).max() > 1e-4
    if name not in ON_MELS:
        assert backbone.times_of(0.3, 3)[0] == 0.3
        with pytest.raises(ValueError, match="has noising, ddim-inversion; ddpm-inversion needs the random"):
            transfer(backbone, clip, [0.5], prompt=PROMPT, method="ddpm-inversion", steps=3, guidance_scale=2.0)


def test_ace_steps_sweep_of_strengths_is_its_strengths_one_by_one(tiny_backbones):
    """Rows that join a common reverse process do not take over the momentum of those under way."""
    backbone = tiny_backbones("ace_step")
    strengths = backbone.grid(4)[:0:-1]
    options = {"prompt": PROMPT, "seed": 5, "steps": 4, "guidance_scale": 5.0}
    sweep = transfer(backbone, clip_of_tone(), strengths, **options)
    for strength, together in zip(strengths, sweep, strict=True):
        (alone,) = transfer(backbone, clip_of_tone(), [strength], **options)
        assert together == pytest.approx(alone, abs=1e-5)


def test_ace_steps_guidance_starts_anew_in_each_window(tiny_backbones, monkeypatch):
    backbone, windows, sweep = tiny_backbones("ace_step"), [], transfer_module._sweep

    def recorded(denoiser, trajectory, starts, bar):
        windows.append((denoiser, trajectory, starts, bar, sweep(denoiser, trajectory, starts, bar)))
        return windows[-1][-1]

    monkeypatch.setattr(transfer_module, "WINDOW_S", DURATION_S)
    monkeypatch.setattr(transfer_module, "OVERLAP_S", DURATION_S / 4)
    monkeypatch.setattr(transfer_module, "_sweep", recorded)
    transfer(backbone, clip_of_tone(1.5), [1.0], prompt=PROMPT, seed=5, steps=3, guidance_scale=5.0)
    assert len(windows) >= 3
    for denoiser, trajectory, starts, bar, latents in windows:
        fresh = Denoiser(backbone, denoiser.condition, 3, 5.0)
        assert torch.equal(latents, sweep(fresh, trajectory, starts, bar))


@pytest.mark.parametrize(("n_vectors", "noun"), [(1, "guitar and drums in a hall"), (12, "guitar")])
def test_a_word_turns_into_its_class_noun_without_a_jump(tiny, concept, n_vectors, noun):
    """One vector has fewer tokens than the longer noun, and twelve have more than the shorter one."""
    _, backbone = tiny
    mean = backbone.mean_word()
    vectors = mean + 0.02 * torch.randn(n_vectors, len(mean), generator=torch.Generator().manual_seed(0))
    adapter = replace(new_word(backbone, concept, 0), class_noun=noun, tensors={EMBEDDING: vectors})
    options = {"adapter": adapter, "clip_s": DURATION_S, "batch_size": 1, **SAMPLING, "steps": 1}
    zero, near_zero, near_one, one = (
        generate(backbone, ["a recording of <tones>"], [5], strength=strength, **options)[0]
        for strength in (0.0, 1e-3, 1 - 1e-3, 1.0)
    )
    apart = np.abs(one - zero).max()
    assert np.abs(near_zero - zero).max() < 0.05 * apart and np.abs(near_one - one).max() < 0.05 * apart


@pytest.mark.parametrize("name", ["stable_audio_open", "ace_step"])
def test_an_inversion_begins_from_the_familys_own_null(tiny_backbones, monkeypatch, name):
    backbone, seen = tiny_backbones(name), []
    predict = type(backbone).predict
    monkeypatch.setattr(type(backbone), "predict", lambda self, x, t, c: seen.append(c) or predict(self, x, t, c))
    transfer(
        backbone, clip_of_tone(), [0.5], prompt=PROMPT, method="ddim-inversion", seed=5, steps=3, guidance_scale=1.0
    )
    words = backbone.embed_prompts([PROMPT])
    nulls = [condition for condition in seen if not torch.equal(condition, words)]
    assert 0 < len(nulls) < len(seen)
    for null in nulls:
        if name == "stable_audio_open":
            assert not null[:, :-2].any() and torch.equal(null[:, -2:], words[:, -2:])
        else:
            assert (null[..., :-1] == backbone.pipe.condition_encoder.null_condition_emb).all()
            assert torch.equal(null[..., -1], words[..., -1])


def test_a_turbo_model_computes_no_null_that_it_would_not_use(monkeypatch):
    turbo = backbone_of(tiny_pipeline("ace_step", transformer={"is_turbo": True}), "turbo")
    turbo.duration_s, rows = DURATION_S, []
    predict = type(turbo).predict
    monkeypatch.setattr(type(turbo), "predict", lambda self, x, t, c: rows.append(len(x)) or predict(self, x, t, c))
    noise, condition = unit_noise([1, 2], turbo.latent_shape(DURATION_S)), turbo.embed_prompts([PROMPT] * 2)
    plain, guided = (turbo.denoise(noise, condition, steps=8, guidance_scale=scale) for scale in (1.0, 7.0))
    assert torch.equal(plain, guided) and rows == [2] * 16


@pytest.mark.parametrize("prediction", ["flow", "v_prediction"])
def test_a_step_keeps_the_clean_latents_and_the_noise_that_the_output_implies(prediction):
    clean, noise = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
    process = Continuous([1.0, 0.6, 0.25], prediction, torch.device("cpu"))
    for i in range(process.steps):
        signal, sigma = continuous_levels(process.times[i], prediction)
        output = noise - clean if prediction == "flow" else signal * noise - sigma * clean
        after = process.step(output, i, process.add_noise(clean, noise, i))
        expected = process.add_noise(clean, noise, i + 1) if i + 1 < process.steps else clean
        torch.testing.assert_close(after, expected, atol=1e-6, rtol=1e-5)


def test_times_are_drawn_as_in_pre_training(tiny_backbones):
    """Each family's distribution by its own formula, at five quantiles of 20,000 draws."""
    part = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95])
    shift = math.exp(0.5 + 0.65 * (1000 - 256) / (4096 - 256))
    expected = {
        **dict.fromkeys(ON_MELS, 1000 * part),
        "stable_audio_open": part,
        "stable_audio_3": shift * part / (1 + (shift - 1) * part),
        "ace_step": 1 / (1 + torch.exp(0.4 - torch.special.ndtri(part.sqrt()))),  # both of two draws are below
    }
    for name, quantiles in expected.items():
        drawn = tiny_backbones(name).draw_times(20_000, (4, 1000), torch.Generator().manual_seed(0)).float()
        assert torch.quantile(drawn, part) == pytest.approx(quantiles, rel=0.05)
    turbo = backbone_of(tiny_pipeline("ace_step", transformer={"is_turbo": True}), "turbo")
    drawn = turbo.draw_times(1000, (4, 40), torch.Generator().manual_seed(0)).unique()
    assert drawn.flip(0) == pytest.approx([1.0, 0.9545, 0.9, 0.8333, 0.75, 0.6429, 0.5, 0.3], abs=1e-4)
