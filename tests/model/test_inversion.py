"""Three ways from a source to noise, and back."""

from types import SimpleNamespace

import pytest
import torch
from diffusers import DDIMScheduler

from tmp_utils.model.families.audioldm import AudioLDM
from tmp_utils.model.inversion import INVERSIONS, Denoiser, ddim_inversion, ddpm_inversion, noising
from tmp_utils.model.pipelines import make_scheduler

STEPS, FEW, SHAPE = 10, 5, (4, 8, 4)  # few where a UNet takes them
CONDITION = torch.zeros(1, 3)


def scheduler(prediction_type="epsilon", **kwargs):
    audioldm = {"beta_start": 0.0015, "beta_end": 0.0195, "beta_schedule": "scaled_linear", "steps_offset": 1}
    kwargs = {"clip_sample": False, "set_alpha_to_one": False, **audioldm, **kwargs}
    return DDIMScheduler(prediction_type=prediction_type, **kwargs)


def stub(output, scheduler):
    """A backbone whose UNet is a function of latents and timestep."""

    def unet(latents, t, encoder_hidden_states, class_labels):
        return SimpleNamespace(sample=output(latents, t, class_labels))

    class Stub(AudioLDM):
        device, null_condition = torch.device("cpu"), torch.full((1, 3), -1.0)

    return Stub("stub", "", None, SimpleNamespace(unet=unet, scheduler=scheduler))


def denoiser_of(output, scheduler, **kwargs):
    return Denoiser(stub(output, scheduler), CONDITION, STEPS, **kwargs)


def randn(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def returned(denoiser, trajectory, first):
    """Run the reverse process from step `first` of a trajectory."""
    latents = trajectory.latents[first][None]
    for i in range(first, denoiser.steps):
        latents = denoiser.step(latents, i, trajectory.residual(i))
    return latents[0]


@pytest.fixture(params=["epsilon", "v_prediction"])
def tiny(request, backbone):
    """The blank backbone's UNet, taken to predict noise or velocity."""
    parts = {"unet": backbone.unet, "text_encoder": backbone.text_encoder, "tokenizer": backbone.tokenizer}
    changed = DDIMScheduler.from_config(backbone.scheduler.config, prediction_type=request.param)
    return AudioLDM("tiny", "", None, SimpleNamespace(**parts, scheduler=changed))


@pytest.mark.parametrize("name", INVERSIONS)
def test_every_trajectory_ends_with_the_source_itself(name):
    denoiser = denoiser_of(lambda x, t, c: 0.3 * x, scheduler())
    source = randn(0, *SHAPE)
    trajectory = INVERSIONS[name](denoiser, source, randn(1, STEPS, *SHAPE))
    assert trajectory.latents.shape == (STEPS + 1, *SHAPE)
    assert torch.equal(trajectory.latents[STEPS], source)


def test_noising_follows_the_schedulers_alphas():
    denoiser = denoiser_of(lambda x, t, c: x, scheduler())
    zero, one, noise = torch.zeros(1, 400, 250), torch.ones(1, 400, 250), randn(2, 1, 1, 400, 250)
    alphas = denoiser.process.scheduler.alphas_cumprod[denoiser.process.scheduler.timesteps]
    variances = noising(denoiser, zero, noise).latents[:STEPS].flatten(1).var(1)
    means = noising(denoiser, one, noise).latents[:STEPS].flatten(1).mean(1)
    assert variances[1:] == pytest.approx((1 - alphas)[1:].numpy(), rel=0.02)
    assert means[1:] == pytest.approx(alphas[1:].sqrt().numpy(), abs=0.02)
    assert torch.equal(noising(denoiser, one, noise).latents[0], noise[0])  # t = N is noise alone


def test_ddpm_inversion_has_the_same_noise_levels_but_independent_draws():
    denoiser = denoiser_of(lambda x, t, c: x, scheduler())
    trajectory = ddpm_inversion(denoiser, torch.zeros(1, 400, 250), randn(3, STEPS, 1, 400, 250))
    alphas = denoiser.process.scheduler.alphas_cumprod[denoiser.process.scheduler.timesteps]
    rows = trajectory.latents[:STEPS].flatten(1)
    assert rows.var(1) == pytest.approx((1 - alphas).numpy(), rel=0.02)
    correlations = torch.corrcoef(rows) - torch.eye(STEPS)
    assert correlations.abs().max() < 0.02


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_ddim_inversion_of_a_constant_model_is_exact_at_every_step(prediction_type):
    constant = randn(4, *SHAPE)
    denoiser = denoiser_of(lambda x, t, c: constant.expand_as(x), scheduler(prediction_type))
    source = randn(5, *SHAPE)
    trajectory = ddim_inversion(denoiser, source, refinements=0)
    for first in range(STEPS + 1):
        assert returned(denoiser, trajectory, first) == pytest.approx(source, abs=2e-5)


def test_ddim_inversion_of_constant_noise_is_the_closed_form():
    noise, source = randn(6, *SHAPE), randn(7, *SHAPE)
    denoiser = denoiser_of(lambda x, t, c: noise.expand_as(x), scheduler())
    alphas, last = denoiser.process.scheduler.alphas_cumprod, denoiser.process.scheduler.final_alpha_cumprod
    clean = (source - (1 - last).sqrt() * noise) / last.sqrt()  # constant along the whole path
    trajectory = ddim_inversion(denoiser, source)
    for i, t in enumerate(denoiser.process.scheduler.timesteps):
        expected = alphas[t].sqrt() * clean + (1 - alphas[t]).sqrt() * noise
        assert trajectory.latents[i] == pytest.approx(expected, abs=2e-5)


def test_refinements_bring_ddim_inversion_closer_to_an_exact_return(tiny):
    denoiser = Denoiser(tiny, randn(8, 1, 12), STEPS)
    source = randn(9, *SHAPE)
    plain, refined = (
        float((returned(denoiser, ddim_inversion(denoiser, source, refinements=n), 0) - source).abs().max())
        for n in (0, 8)
    )
    assert refined < plain / 5
    if tiny.scheduler.config.prediction_type == "v_prediction":  # whose steps this UNet turns into contractions
        assert refined < 1e-5


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_ddpm_inversion_returns_the_source_with_the_same_prompt(tiny, guidance_scale):
    denoiser = Denoiser(tiny, randn(10, 1, 12), FEW, guidance_scale)
    source = randn(11, *SHAPE)
    trajectory = ddpm_inversion(denoiser, source, randn(12, FEW, *SHAPE))
    for first in (0, 2, FEW - 1):
        assert returned(denoiser, trajectory, first) == pytest.approx(source, abs=1e-6)


def test_ddpm_inversion_returns_the_source_where_the_last_step_has_no_variance():
    denoiser = denoiser_of(lambda x, t, c: torch.tanh(x), scheduler(set_alpha_to_one=True))
    source = randn(13, *SHAPE)
    trajectory = ddpm_inversion(denoiser, source, randn(14, STEPS, *SHAPE))
    assert returned(denoiser, trajectory, 0) == pytest.approx(source, abs=1e-6)


def test_ddpm_inversion_does_not_return_the_source_with_another_prompt(tiny):
    source = randn(15, *SHAPE)
    there, back = (Denoiser(tiny, randn(seed, 1, 12), FEW) for seed in (16, 17))
    trajectory = ddpm_inversion(there, source, randn(18, FEW, *SHAPE))
    assert (returned(back, trajectory, 0) - source).abs().max() > 1e-3


def test_ddpm_inversion_needs_one_draw_a_step():
    denoiser = denoiser_of(lambda x, t, c: x, scheduler())
    with pytest.raises(ValueError, match="1 draws of noise for 10 steps"):
        ddpm_inversion(denoiser, randn(0, *SHAPE), randn(1, 1, *SHAPE))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_the_steps_coefficients_make_the_schedulers_own_step(prediction_type):
    denoiser = denoiser_of(lambda x, t, c: x, scheduler(prediction_type))
    latents, output = randn(19, 2, *SHAPE), randn(20, 2, *SHAPE)
    for i in range(STEPS):
        p, q = denoiser.process.coefficients(i)
        stepped = denoiser.process.scheduler.step(output, denoiser.process.scheduler.timesteps[i], latents).prev_sample
        assert p * latents + q * output == pytest.approx(stepped, abs=1e-5)


def test_guidance_extrapolates_from_the_null_condition():
    outputs = lambda x, t, c: x * c[:, :1, None, None]  # noqa: E731  # condition 0, null condition -1
    denoiser, latents = denoiser_of(outputs, scheduler(), guidance_scale=3.0), randn(21, 2, *SHAPE)
    assert denoiser.predict(latents, 0) == pytest.approx(2 * latents)  # -x + 3 (0 - -x)
    assert not denoiser_of(outputs, scheduler()).predict(latents, 0).any()


def test_the_process_is_ddims_whatever_the_backbone_generates_with():
    ddim = scheduler("v_prediction")
    others = (ddim, make_scheduler("DPMSolverMultistep", ddim))
    ours, theirs = (denoiser_of(lambda x, t, c: 0.3 * x, other) for other in others)
    latents = randn(0, 2, *SHAPE)
    assert ours.process.times.tolist() == theirs.process.times.tolist()
    assert all(torch.equal(ours.step(latents, i), theirs.step(latents, i)) for i in range(STEPS))


@pytest.mark.parametrize(
    ("of", "steps", "message"),
    [
        (scheduler(clip_sample=True), 5, "clips its predictions"),
        (scheduler(), 0, "steps=0: expected 1 to 1000"),
        (scheduler(), 2000, "steps=2000: expected 1 to 1000"),
    ],
)
def test_a_scheduler_or_step_count_that_cannot_work_is_refused(of, steps, message):
    with pytest.raises(ValueError, match=message):
        Denoiser(stub(lambda x, t, c: x, of), CONDITION, steps)
