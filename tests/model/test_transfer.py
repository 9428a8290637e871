"""Style transfer on a backbone with random weights: what must hold whatever the weights are."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from diffusers import DDIMScheduler

from tmp_utils.inputs.audio import RATE_HZ, save_clip
from tmp_utils.model import transfer as module
from tmp_utils.model.backbone import unit_noise
from tmp_utils.model.generate import generate
from tmp_utils.model.inversion import INVERSIONS
from tmp_utils.model.transfer import cross_fade, round_trip, transfer, window_starts

STEPS, GUIDANCE, PROMPT, GRAIN = 4, 2.5, "a jazz song", 1280
NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "04_style_transfer.ipynb"
SWEEP_TOLERANCE = 1e-4  # full scale is 1; a batch may round differently from a single clip
SETTINGS = {"prompt": PROMPT, "steps": STEPS, "guidance_scale": GUIDANCE}


def tone(duration_s, hz=330.0):
    t = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    return (0.3 * np.sin(2 * np.pi * hz * t) * (1 + np.sin(2 * np.pi * 3 * t))).astype(np.float32)


@pytest.fixture(scope="module")
def clip():
    return tone(0.64)


@pytest.fixture(params=["epsilon", "v_prediction"])
def either(request, backbone, monkeypatch):
    """The blank backbone, taken to predict noise or velocity."""
    changed = DDIMScheduler.from_config(backbone.scheduler.config, prediction_type=request.param)
    monkeypatch.setattr(backbone.pipe, "scheduler", changed)
    return backbone


@pytest.mark.parametrize("method", INVERSIONS)
def test_strength_0_is_the_round_trip_bit_for_bit(backbone, clip, method):
    mean, _ = backbone.moments([clip])
    expected = backbone.decode(mean * backbone.vae.config.scaling_factor)[0]
    alone = transfer(backbone, clip, [0.0], method=method, **SETTINGS)[0]
    in_a_sweep = transfer(backbone, clip, [1.0, 0.0, 0.4], method=method, **SETTINGS)[1]
    assert np.array_equal(alone, expected)
    assert np.array_equal(in_a_sweep, expected)
    assert np.array_equal(round_trip(backbone, clip), expected)


@pytest.mark.parametrize("guidance_scale", [1.0, GUIDANCE])
def test_strength_1_is_generation_from_the_same_noise(either, clip, guidance_scale):
    settings = {"steps": STEPS, "guidance_scale": guidance_scale}
    asked = {"clip_s": 0.64, "progress": False, **settings}
    generated = generate(either, [PROMPT], [7], batch_size=1, **asked)[0]
    transferred = transfer(either, clip, [1.0], prompt=PROMPT, seed=7, **settings)[0]
    other = transfer(either, tone(0.64, 500.0), [1.0], prompt=PROMPT, seed=7, **settings)[0]
    assert np.array_equal(transferred, generated)
    assert np.array_equal(other, generated)  # nothing of the source is left
    assert transferred == pytest.approx(generate(either, [PROMPT], [7], **asked)[0], abs=SWEEP_TOLERANCE)


@pytest.mark.parametrize("method", INVERSIONS)
def test_a_sweep_in_one_batch_is_its_strengths_one_by_one(either, clip, method):
    strengths = [0.0, 0.3, 1.0]
    sweep = transfer(either, clip, strengths, method=method, seed=3, **SETTINGS)
    for strength, together in zip(strengths, sweep, strict=True):
        alone = transfer(either, clip, [strength], method=method, seed=3, **SETTINGS)[0]
        assert together == pytest.approx(alone, abs=SWEEP_TOLERANCE)


def test_strengths_whose_timesteps_coincide_are_one_batch_and_each_joins_at_its_step(backbone, clip, monkeypatch):
    sizes, unet = [], backbone.unet.forward
    monkeypatch.setattr(backbone.unet, "forward", lambda x, *a, **k: sizes.append(len(x)) or unet(x, *a, **k))
    transfer(backbone, clip, [0.5, 0.0, 0.75, 0.5], prompt=PROMPT, steps=4, guidance_scale=1.0)
    assert sizes == [1, 2, 2]  # strengths that are alike are one row
    sizes.clear()
    transfer(backbone, clip, [0.5, 1.0, 0.6], prompt=PROMPT, steps=4, guidance_scale=1.0)
    assert sizes == [1] * (4 + 3 + 2)  # all of generation; 599, 349, 99; 499, 249


def test_what_lies_between_moves_away_from_the_source_with_strength(backbone):
    clip = tone(1.28)
    sweep = transfer(backbone, clip, [0.0, 0.1, 0.5, 1.0], prompt=PROMPT, steps=20, guidance_scale=1.0)
    latents = [backbone.moments([each])[0] for each in sweep]
    distances = [float((each - latents[0]).square().mean()) for each in latents]
    assert distances[0] == 0 and distances[1] < distances[3] and min(distances[1:]) > 0


def test_seed_matters_and_suffices(backbone, clip):
    one, again, other = (transfer(backbone, clip, [0.5], seed=seed, **SETTINGS)[0] for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_ddpm_inversion_with_the_sources_own_prompt_changes_nothing_at_any_strength(either, clip):
    own = {"prompt": "", "steps": STEPS, "guidance_scale": 1.0}
    sweep = transfer(either, clip, [0.0, 0.5, 1.0], method="ddpm-inversion", **own)
    assert sweep[1] == pytest.approx(sweep[0], abs=SWEEP_TOLERANCE)
    assert sweep[2] == pytest.approx(sweep[0], abs=SWEEP_TOLERANCE)


@pytest.mark.parametrize("method", ["TI", "DB"])
def test_an_adapter_says_the_words_and_leaves_the_backbone_as_it_was(backbone, adapters, clip, method):
    adapter = adapters[f"{method}-BL"]
    weights = {name: value.clone() for name, value in backbone.unet.state_dict().items()}
    settings = {"steps": STEPS, "guidance_scale": GUIDANCE, "seed": 5}
    by_default = transfer(backbone, clip, [1.0], adapter=adapter, **settings)[0]
    spelt_out = transfer(backbone, clip, [1.0], adapter=adapter, prompt="{}", **settings)[0]
    shape = {"steps": STEPS, "guidance_scale": GUIDANCE, "clip_s": 0.64, "batch_size": 1, "progress": False}
    assert np.array_equal(by_default, generate(backbone, [adapter.words], [5], adapter=adapter, **shape)[0])
    assert np.array_equal(by_default, spelt_out)
    assert not np.array_equal(by_default, transfer(backbone, clip, [1.0], prompt=PROMPT, **settings)[0])
    assert backbone.adapter is None
    assert all(torch.equal(value, weights[name]) for name, value in backbone.unet.state_dict().items())


def test_a_file_of_any_rate_and_channels_is_its_clip(backbone, tmp_path):
    t = np.arange(44_100) / 44_100
    stereo = np.stack([0.4 * np.sin(2 * np.pi * 220 * t), 0.2 * np.sin(2 * np.pi * 330 * t)], axis=1)
    soundfile.write(tmp_path / "stereo.wav", stereo, 44_100, "FLOAT")
    (kept,) = transfer(backbone, tmp_path / "stereo.wav", [0.0], **SETTINGS)
    assert kept.shape == (RATE_HZ,)
    soundfile.write(tmp_path / "mono.wav", stereo.mean(1), 44_100, "FLOAT")
    assert np.allclose(kept, transfer(backbone, tmp_path / "mono.wav", [0.0], **SETTINGS)[0], atol=1e-4)


@pytest.fixture
def short_windows(monkeypatch):
    """Of 1.28 s, with 0.32 s in common."""
    monkeypatch.setattr(module, "WINDOW_S", 1.28)
    monkeypatch.setattr(module, "OVERLAP_S", 0.32)


@pytest.mark.parametrize("duration_s", [0.5, 0.64, 1.234, 3.3])
def test_the_result_is_as_long_as_the_clip(backbone, duration_s, short_windows):
    clip = tone(duration_s)
    for result in transfer(backbone, clip, [0.0, 1.0], **SETTINGS):
        assert result.shape == clip.shape and result.dtype == np.float32 and np.isfinite(result).all()


def test_windows_cover_a_clip_evenly_and_overlap_enough(short_windows):
    assert window_starts(20_000, GRAIN, RATE_HZ) == ([0], 16 * GRAIN)  # one of its own length, where it fits
    for n in (GRAIN * 100, 200_001, 777_777):
        starts, window = window_starts(n, GRAIN, RATE_HZ)
        steps = np.diff(starts)
        assert starts[0] == 0 and n <= starts[-1] + window < n + GRAIN
        assert all(start % GRAIN == 0 for start in starts)
        assert (window - steps >= 0.32 * RATE_HZ).all() and np.ptp(steps) <= GRAIN


def test_cross_fading_the_windows_of_a_signal_gives_the_signal(short_windows):
    signal = np.random.default_rng(0).normal(size=50 * GRAIN).astype(np.float32)
    starts, window = window_starts(len(signal), GRAIN, RATE_HZ)
    joined = cross_fade([signal[start : start + window] for start in starts], starts, RATE_HZ)
    assert joined == pytest.approx(signal, abs=1e-6)


def test_joints_of_windows_that_differ_do_not_click(short_windows):
    starts, window = window_starts(50 * GRAIN, GRAIN, RATE_HZ)
    levels = [np.full(window, (-1.0) ** k, dtype=np.float32) for k in range(len(starts))]
    joined = cross_fade(levels, starts, RATE_HZ)
    assert np.abs(np.diff(joined)).max() <= 2.05 / (0.32 * RATE_HZ)  # from -1 to 1 over the whole overlap
    assert joined[0] == 1.0 and abs(joined[-1]) == 1.0


def test_windows_are_mixed_only_while_one_fades_into_the_next(short_windows):
    starts, window = window_starts(22 * GRAIN, GRAIN, RATE_HZ)  # two windows that share far more than the fade
    assert starts[0] + window - starts[1] > 2 * 0.32 * RATE_HZ
    joined = cross_fade([np.ones(window), -np.ones(window)], starts, RATE_HZ)
    assert (np.abs(joined) < 0.999).sum() <= 0.32 * RATE_HZ


def test_windows_of_a_long_clip_share_their_noise():
    whole = [module._noise(3, 2, (4, 16, 8), frame) for frame in (0, 10, 16)]
    assert torch.equal(whole[0][:, :, 10:], whole[1][:, :, :6])
    assert torch.equal(whole[1][:, :, 6:], whole[2][:, :, :10])
    assert not torch.equal(whole[0][0], whole[0][1])


def test_a_long_clip_keeps_its_round_trip_away_from_the_joints(backbone, short_windows):
    clip = tone(2.24)  # two windows with 0.32 s in common
    joined = transfer(backbone, clip, [0.0], **SETTINGS)[0]
    first = transfer(backbone, clip[: round(1.28 * RATE_HZ)], [0.0], **SETTINGS)[0]
    assert np.allclose(joined[: round(0.9 * RATE_HZ)], first[: round(0.9 * RATE_HZ)], atol=1e-6)


@pytest.mark.parametrize("steps", [4, 6, 10, 33, 50, 1000])
@pytest.mark.parametrize("strength", [0.05, 0.1, 0.25, 0.37, 0.5, 0.9, 0.99])
def test_a_strength_starts_at_its_noise_level_at_any_number_of_steps(backbone, strength, steps):
    levels = (1 - backbone.scheduler.alphas_cumprod).sqrt()
    timesteps = backbone.times_of(strength, steps)
    assert levels[timesteps[0]] == pytest.approx(float(levels[round(strength * 1000) - 1]), rel=0.01)
    assert len(timesteps) == pytest.approx(strength * steps, abs=1 + 0.04 * steps) and not backbone.times_of(0.0, steps)
    assert set(-np.diff(timesteps)) <= {1000 // steps} and 0 <= timesteps[-1] < 1000 // steps


def test_the_noised_source_of_a_strength_is_that_of_equation_2(backbone, clip, monkeypatch):
    seen, unet = [], backbone.unet.forward
    monkeypatch.setattr(
        backbone.unet, "forward", lambda x, t, *a, **k: seen.append((x.clone(), int(t))) or unet(x, t, *a, **k)
    )
    transfer(backbone, clip, [0.3], prompt=PROMPT, seed=3, steps=10, guidance_scale=1.0)
    source = backbone.moments([clip])[0] * backbone.vae.config.scaling_factor
    noise = unit_noise([3], tuple(source.shape[1:]))
    kept = backbone.scheduler.alphas_cumprod[299]  # the 300th of 1,000 levels
    assert seen[0][1] == 299
    assert torch.allclose(seen[0][0], kept.sqrt() * source + (1 - kept).sqrt() * noise, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strengths": [1.2]}, r"strength 1.2: expected a number from 0 \(the source\) to 1"),
        ({"strengths": [-0.1]}, "strength -0.1"),
        ({"strengths": [float("nan")]}, "strength nan"),
        ({"strengths": []}, "no strengths arrived"),
        ({"steps": 0}, "steps=0: expected 1 to 1000"),
        ({"steps": 1001}, "steps=1001: expected 1 to 1000"),
        ({"method": "magic"}, 'method "magic": .* has noising, ddim-inversion, ddpm-inversion'),
        ({"prompt": None}, "neither a prompt nor an adapter"),
        ({"prompt": "a {} in a cave"}, "no adapter arrived to fill it"),
        ({"clip": np.zeros(RATE_HZ)}, "silent"),
        ({"clip": np.ones(RATE_HZ // 4)}, r"lasts 0.25 s; style transfer needs 0.5 s"),
        ({"clip": np.ones((2, RATE_HZ))}, r"shape \(2, 16000\) arrived; expected one channel"),
        ({"clip": np.full(RATE_HZ, np.nan)}, "NaN or infinite"),
    ],
)
def test_what_cannot_be_transferred_is_refused_with_a_reason(backbone, clip, change, message):
    arguments = {"clip": clip, "strengths": [0.5], **SETTINGS, **change}
    with pytest.raises(ValueError, match=message):
        transfer(backbone, **arguments)


def test_a_missing_file_is_named(backbone, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.wav: no such file"):
        transfer(backbone, tmp_path / "nowhere.wav", [0.5], **SETTINGS)


def test_notebook_04_transfers_as_the_package_does(either, adapters, profile, clip, tmp_path):
    """Its cell tagged "from-scratch" is executed as the notebook does, on another clip and backbone."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    (source,) = ["".join(cell["source"]) for cell in cells if "from-scratch" in cell["metadata"].get("tags", [])]
    adapter = adapters["TI-BL"]
    path = save_clip(tmp_path / "tone.wav", clip)
    names = {"lab": SimpleNamespace(backbone=either, profile=profile), "adapter": adapter, "sources": {"tone": path}}
    names |= {"seeds": [3], "n_steps": STEPS, "guidance_scale": GUIDANCE}
    exec(source, names)
    sampling = {"steps": STEPS, "guidance_scale": GUIDANCE}
    (packaged,) = transfer(either, names["original"], [0.5], adapter=adapter, seed=3, **sampling)
    (other,) = transfer(either, names["original"], [0.8], adapter=adapter, seed=3, **sampling)
    assert names["from_scratch"][: len(packaged)] == pytest.approx(packaged, abs=1e-6)
    assert names["from_scratch"][: len(packaged)] != pytest.approx(other, abs=1e-6)
