"""The vocoder for latents: network, weights file, training pairs, losses and training, on tones."""

import copy
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from tmp_utils.inputs.audio import RATE_HZ, log_mel, loudness_lufs
from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.model import spectrum as model_spectrum
from tmp_utils.model.backbone import load_backbone
from tmp_utils.model.griffin_lim import GriffinLimVocoder
from tmp_utils.model.pipelines import pipeline_hash
from tmp_utils.model.spectrum import N_BINS, SpectrumNet, SpectrumVocoder, load_spectrum, save_spectrum
from tmp_utils.pocket import architecture
from tmp_utils.pocket.assemble import compare_vocoders, of_latents
from tmp_utils.pocket.corpus import CLIP_SAMPLES, Corpus
from tmp_utils.pocket.spectrum import WEIGHTS, SpectrumStage, calibrate_level, losses, training_pairs, varied_clip


def tones(*frequencies_hz, n=CLIP_SAMPLES):
    t = torch.arange(n) / RATE_HZ
    return torch.stack([0.2 * torch.sin(2 * torch.pi * f * t) for f in frequencies_hz])


@pytest.fixture(scope="module")
def corpus():
    return Corpus((tones(220, 700) * 32767).round().short().numpy(), pd.DataFrame({"caption": [""] * 2}), 0, 0)


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    return architecture.build_vae().requires_grad_(False).eval()


@pytest.fixture(scope="module")
def pairs(corpus, vae, tmp_path_factory):
    return training_pairs(corpus, vae, 2, None, tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def stage(pairs):
    """A short training on tones, with the losses before it."""
    stage = SpectrumStage(pairs, pairs, seed=0)
    stage.average = stage.net  # an average would lag behind
    stage.optimizers["net"][0].param_groups[0]["lr"] = 1e-3
    stage.before = stage.validate()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tmp_utils.pocket.spectrum.BATCH_SIZE", 2)
        for step in range(16):
            stage.step(torch.Generator().manual_seed(step))
    return stage


def test_training_brings_magnitudes_closer(stage):
    after = stage.validate()
    before, after = (sum(WEIGHTS[name] * loss for name, loss in found.items()) for found in (stage.before, after))
    assert after < 0.7 * before


def test_crops_hold_the_magnitudes_and_latents_of_their_clips(pairs, vae, stage):
    latents, whole, real = stage._crops(pairs, 3, torch.Generator().manual_seed(1))
    assert latents.shape == (3, 16, 32, 8) and whole.shape == (3, 16, 128, 8) and real.shape == (3, 256, N_BINS)
    clips = torch.from_numpy(pairs[0].astype(np.float32))
    analysed = GriffinLimVocoder().analyse(clips).abs()
    encoded = vae.encode(log_mel(clips)[:, None]).latent_dist.mean
    for crop, of_clip, magnitudes in zip(latents, whole, real, strict=True):
        k = int((encoded - of_clip).abs().amax((1, 2, 3)).argmin())
        start = next(s for s in range(97) if torch.allclose(encoded[k, :, s : s + 32], crop, atol=0.02))
        torch.testing.assert_close(magnitudes, analysed[k, 8 * start : 8 * (start + 32)], atol=1e-3, rtol=1e-3)


def test_a_varied_clip_depends_on_its_seed_and_number_alone(corpus):
    assert np.array_equal(varied_clip(corpus, 3, None), corpus.clip(1))
    varied = [varied_clip(corpus, k, 5) for k in range(0, 12, 2)]
    assert all(np.array_equal(clip, varied_clip(corpus, 2 * k, 5)) for k, clip in enumerate(varied))
    peaks_hz = [np.abs(np.fft.rfft(clip)).argmax() * RATE_HZ / CLIP_SAMPLES for clip in varied]
    assert min(peaks_hz) < 219.5 or max(peaks_hz) > 220.5
    assert np.allclose(peaks_hz, 220, rtol=0.07)
    levels = [20 * np.log10(clip.std() / corpus.clip(0).std()) for clip in varied]
    assert max(levels) - min(levels) > 3 and np.abs(levels).max() < 13.1


def test_the_losses_of_the_real_magnitudes_are_zero_and_the_energy_error_is_the_gain():
    real = GriffinLimVocoder().analyse(tones(300, n=RATE_HZ)).abs()
    weights, log_real = torch.ones(N_BINS), real.clamp(min=1e-9).log()
    for name, loss in losses(log_real, real, weights).items():
        assert loss.item() == pytest.approx(0, abs=1e-4), name
    louder = losses(log_real + 0.5, real, weights)
    assert louder["energy"].item() == pytest.approx(1.0, abs=1e-3)  # energy is amplitude squared
    assert louder["contrast"] < 0.1 * louder["loud"]  # a gain keeps the peaks


def test_the_network_reads_the_level_from_the_statistics_of_the_whole_clip(stage):
    net = copy.deepcopy(stage.net)
    latents = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.nn.init.normal_(net.whole.weight, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(net(latents), net.head(net.hidden(latents, latents)))
        assert not torch.allclose(net(latents), net.head(net.hidden(latents, 2 * latents)), atol=0.01)


def test_a_calibrated_codec_is_as_loud_as_its_input_on_average(stage, vae):
    net, clips = copy.deepcopy(stage.net), tones(220, 495, n=2 * RATE_HZ).numpy()
    gain_db = calibrate_level(net, vae, clips)
    assert 20 * np.log10(net.gain.exp().item()) == pytest.approx(gain_db, abs=1e-4)
    mels = log_mel(torch.from_numpy(clips))[:, None]
    latents = vae.encode(mels).latent_dist.mean
    made = of_latents(SpectrumVocoder(net), vae)(latents)
    levels = [[loudness_lufs(clip) for clip in batch] for batch in (clips, made.numpy())]
    assert np.mean(levels[0]) == pytest.approx(np.mean(levels[1]), abs=0.1)


def test_a_clip_has_the_energy_of_its_magnitudes_and_is_the_same_in_any_batch(stage):
    vocoder = SpectrumVocoder(copy.deepcopy(stage.net), n_iter=4)
    vocoder.net.gain.fill_(0.2)
    latents = torch.randn(2, 16, 12, 8, generator=torch.Generator().manual_seed(0))
    mels = log_mel(tones(220, 495, n=12 * 8 * 160))
    clips = vocoder.from_latents(latents, mels)
    assert clips.shape == (2, 12 * 8 * 160)
    magnitudes = vocoder._like_quiet_bands(stage.net(latents).exp(), mels) * np.exp(0.2)
    energy = vocoder.analyse(clips).abs().square().sum((1, 2))
    torch.testing.assert_close(energy, magnitudes.square().sum((1, 2)).detach(), rtol=1e-3, atol=0)
    torch.testing.assert_close(vocoder.from_latents(latents[1:], mels[1:])[0], clips[1], rtol=1e-4, atol=1e-5)


def test_quiet_bands_have_the_level_of_the_decoded_mel_and_loud_ones_keep_the_networks():
    vocoder, clip = SpectrumVocoder(SpectrumNet()), tones(440, n=RATE_HZ)
    real, mel = vocoder.analyse(clip).abs(), log_mel(clip)
    scaled = vocoder._like_quiet_bands(2 * real, mel)
    loud, quiet = mel > mel.max() - 0.5, (mel < mel.max() - 5) & (mel > mel.max() - 9)
    rise = (scaled @ vocoder.filters.T).log() - (real @ vocoder.filters.T).log()
    assert loud.any() and quiet.any()
    torch.testing.assert_close(rise[loud], torch.full_like(rise[loud], np.log(2)), atol=0.05, rtol=0)
    assert rise[quiet].abs().mean() < 0.15
    torch.testing.assert_close(vocoder._like_quiet_bands(real, mel), real, atol=1e-3, rtol=1e-3)


def test_frames_for_which_the_network_extrapolates_are_those_of_the_decoded_mel():
    clips = tones(440, 900)
    log_real, mel = GriffinLimVocoder().analyse(clips).abs().clamp(min=1e-9).log(), log_mel(clips)
    vocoder = SpectrumVocoder(SpectrumNet())
    as_known = vocoder._magnitude(log_real, mel)
    torch.testing.assert_close(as_known, vocoder._like_quiet_bands(log_real.exp(), mel), atol=0, rtol=0)
    odd = log_real.clone()
    odd[0, 10, 40], odd[0, 20, 0], odd[0, 30] = 81.0, 9.0, odd[0, 30] + 4.0  # a bin, one that no mel has, a whole frame
    made, frames = vocoder._magnitude(odd, mel), torch.arange(mel.shape[1])
    assert torch.isfinite(made).all() and torch.equal(made[1], as_known[1])
    changed = frames[(made[0] != as_known[0]).any(-1)]
    assert changed.tolist() == [10, 20, 30] and torch.equal(made[0, changed], vocoder.magnitudes(mel)[0, changed])


def test_a_mel_is_vocoded_as_without_the_network():
    mel = log_mel(tones(440, n=RATE_HZ))
    assert torch.equal(SpectrumVocoder(SpectrumNet(), n_iter=2)(mel), GriffinLimVocoder(n_iter=2)(mel))


def test_vocoders_are_compared_on_the_same_latents(vae):
    heard = []

    def noting(latents):
        heard.append(latents)
        return GriffinLimVocoder(n_iter=0)(log_mel(tones(330, n=RATE_HZ)))

    clip, latents = tones(330, n=RATE_HZ), torch.randn(1, 16, 12, 8)
    expected = GriffinLimVocoder(n_iter=1)(vae.decode(latents).sample[:, 0])
    assert torch.equal(of_latents(GriffinLimVocoder(n_iter=1), vae)(latents), expected)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tmp_utils.pocket.assemble.embed_clips", lambda model, clips: torch.ones(len(clips), 1))
        measured = compare_vocoders({"a": noting, "b": noting}, vae, clip.numpy(), None)
    assert torch.equal(heard[0], heard[1]) and measured["a"] == measured["b"]


def test_a_folder_can_choose_the_network_and_its_weights_are_in_the_hash(stage, tmp_path):
    folder = shutil.copytree(DATA_DIR / "pocket", tmp_path / "pocket")
    (folder / "vocoder_choice.json").write_text('{"vocoder": "spectrum"}')
    save_spectrum(stage.net, folder / "vocoder")
    backbone = load_backbone(folder, "cpu")
    latents = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(backbone.vocoder.net(latents), stage.net(latents), atol=0.05, rtol=0)  # float16 on disk
    made = backbone.decode(latents * backbone.vae.config.scaling_factor)
    with torch.no_grad():
        expected = of_latents(backbone.vocoder, backbone.vae)(latents)
    np.testing.assert_allclose(made, expected.numpy(), atol=1e-4)
    save_spectrum(SpectrumNet(), folder / "vocoder")
    assert pipeline_hash(folder) != backbone.hash


def test_a_damaged_weights_file_is_an_error_that_names_the_folder(tmp_path):
    (tmp_path / model_spectrum.WEIGHTS).write_bytes(b"cut")
    with pytest.raises(ValueError, match="spectrum vocoder"):
        load_spectrum(tmp_path)
