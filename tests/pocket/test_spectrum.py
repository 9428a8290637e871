"""The vocoder with trained magnitudes: network, weights file, and training, on tones."""

import copy
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from tmp_utils.inputs.audio import HOP, MEL_FLOOR, RATE_HZ, log_mel
from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.model.backbone import load_backbone
from tmp_utils.model.griffin_lim import GriffinLimVocoder
from tmp_utils.model.pipelines import pipeline_hash
from tmp_utils.model.spectrum import WEIGHTS, SpectrumNet, SpectrumVocoder, load_spectrum, save_spectrum
from tmp_utils.pocket.corpus import CLIP_SAMPLES, Corpus
from tmp_utils.pocket.spectrum import SpectrumStage, calibrate_level, energy_error, spectral_loss
from tmp_utils.pocket.vae import VaeStage


def tones(*frequencies_hz, n=CLIP_SAMPLES):
    t = torch.arange(n) / RATE_HZ
    return torch.stack([0.2 * torch.sin(2 * torch.pi * f * t) for f in frequencies_hz])


@pytest.fixture(scope="module")
def stage():
    """A short training on tones, with the losses before it."""
    clips = tones(220, 330, 495, 700)
    corpus = Corpus((clips * 32767).round().short().numpy(), pd.DataFrame({"caption": [""] * 4}))
    mels = log_mel(clips).numpy()
    stage = SpectrumStage(corpus, corpus, VaeStage(mels, mels, 0).vae, seed=0)
    stage.average_net, stage.average_decoder = stage.net, stage.decoder  # an average would lag behind
    stage.before = stage.validate()
    for step in range(25):
        stage.step(torch.Generator().manual_seed(step))
    return stage


@pytest.fixture(scope="module")
def net(stage):
    return stage.finished()[0]


def test_an_untrained_network_follows_the_level_of_its_mel():
    mel = log_mel(tones(440, n=RATE_HZ))
    net = SpectrumNet()
    with torch.no_grad():
        torch.testing.assert_close(net(mel + 1.0).clamp(min=-4), (net(mel) + 1.0).clamp(min=-4), atol=0.01, rtol=0)


def test_training_brings_magnitudes_and_mels_closer(stage):
    after = stage.validate()
    assert after["true"] < 0.6 * stage.before["true"] and after["mel"] < 0.8 * stage.before["mel"]


def test_training_changes_the_decoder_and_leaves_the_encoder(stage):
    vae = stage.finished()[1]
    mels = log_mel(tones(440, n=RATE_HZ * 2))[:, None, :64]
    with torch.no_grad():
        latents = vae.encode(mels).latent_dist.mean
        assert torch.equal(latents, stage.vae.encode(mels).latent_dist.mean)
        assert not torch.allclose(vae.decode(latents).sample, stage.vae.decode(latents).sample, atol=0.1)


def test_a_calibrated_codec_is_as_loud_as_its_input_on_average(stage):
    net, vae = stage.finished()
    net, clips = copy.deepcopy(net), tones(220, 495, n=2 * RATE_HZ).numpy()
    assert abs(calibrate_level(net, vae, clips)) > 0.1
    assert calibrate_level(net, vae, clips) == pytest.approx(0, abs=0.05)


def test_the_loss_is_zero_for_the_real_magnitudes_and_the_energy_error_is_the_gain():
    real = GriffinLimVocoder()._analyse(tones(300, n=RATE_HZ)).abs()
    weights = torch.ones(real.shape[-1])
    log_real = real.clamp(min=1e-9).log()
    assert spectral_loss(log_real, real, weights).item() == pytest.approx(0, abs=1e-4)
    assert energy_error(log_real + 0.5, real).item() == pytest.approx(1.0, abs=1e-3)  # energy is amplitude squared


def test_a_clip_has_the_energy_of_its_magnitudes_and_is_the_same_in_any_batch(net):
    vocoder = SpectrumVocoder(net, n_iter=4)
    mels = log_mel(tones(220, 495, n=RATE_HZ))
    clips = vocoder(mels)
    assert clips.shape == (2, mels.shape[1] * HOP)
    energy = vocoder._analyse(clips).abs().square().sum((1, 2))
    torch.testing.assert_close(energy, net(mels).exp().square().sum((1, 2)).detach(), rtol=1e-3, atol=0)
    torch.testing.assert_close(vocoder(mels[1]), clips[1], rtol=1e-4, atol=1e-5)


def test_silence_is_silence(net):
    vocoder = SpectrumVocoder(net, n_iter=2)
    assert not vocoder(torch.full((1, 64, 64), float(np.log(MEL_FLOOR)))).any()


def test_a_folder_can_choose_the_network_and_its_weights_are_in_the_hash(net, tmp_path):
    folder = shutil.copytree(DATA_DIR / "pocket", tmp_path / "pocket")
    (folder / "vocoder_choice.json").write_text('{"vocoder": "spectrum"}')
    save_spectrum(net, folder / "vocoder")
    backbone = load_backbone(folder, "cpu")
    assert isinstance(backbone.vocoder, SpectrumVocoder)
    mel = log_mel(tones(330, n=RATE_HZ))
    torch.testing.assert_close(backbone.vocoder.net(mel), net(mel), atol=0.05, rtol=0)  # float16 on disk
    save_spectrum(SpectrumNet(), folder / "vocoder")
    assert pipeline_hash(folder) != backbone.hash


def test_a_damaged_weights_file_is_an_error_that_names_the_folder(tmp_path):
    (tmp_path / WEIGHTS).write_bytes(b"cut")
    with pytest.raises(ValueError, match="spectrum vocoder"):
        load_spectrum(tmp_path)
