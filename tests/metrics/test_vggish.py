"""VGGish to Google's definition, and its weights only from a file of the right hash."""

import hashlib

import numpy as np
import pytest
import torch

from tmp_utils.metrics import vggish


def test_ten_seconds_are_ten_patches_of_96_by_64_and_less_than_a_patch_is_one():
    silence = vggish.log_mel_patches(np.zeros(160000))
    assert silence.shape == (10, 96, 64) and silence.numpy() == pytest.approx(np.log(0.01))
    assert vggish.log_mel_patches(np.ones(100)).shape == (1, 96, 64)


@pytest.mark.parametrize("frequency_hz", [300.0, 1000.0, 5000.0])
def test_a_sine_is_loudest_in_the_mel_band_of_its_frequency(frequency_hz):
    edges = np.linspace(*(1127 * np.log(1 + np.array([125.0, 7500.0]) / 700)), 66)
    expected = np.abs(edges[1:-1] - 1127 * np.log(1 + frequency_hz / 700)).argmin()
    clip = np.sin(2 * np.pi * frequency_hz * np.arange(16000) / 16000)
    assert abs(int(vggish.log_mel_patches(clip)[0].mean(0).argmax()) - expected) <= 1


def test_the_mel_matrix_is_that_of_google_s_equations():
    mels = 1127 * np.log1p(np.arange(257) * 31.25 / 700)[:, None]
    edges = np.linspace(*(1127 * np.log1p(np.array([125.0, 7500.0]) / 700)), 66)
    rising = (mels - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mels) / (edges[2:] - edges[1:-1])
    assert np.abs(vggish.mel_matrix() - np.minimum(rising, falling).clip(0)).max() < 3e-14


def test_the_network_has_vggish_s_72_million_parameters_under_the_port_s_names():
    with torch.device("meta"):
        network = vggish.VGGish()
    assert sum(p.numel() for p in network.parameters()) == 72_141_184
    layers = [f"features.{i}" for i in (0, 3, 6, 8, 11, 13)] + [f"embeddings.{i}" for i in (0, 2, 4)]
    assert set(network.state_dict()) == {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}


def test_the_last_layer_is_linear():
    torch.manual_seed(0)
    embeddings = vggish.VGGish(hidden=8)(torch.randn(2, 96, 64))
    assert embeddings.shape == (2, 128)
    assert (embeddings < 0).any()


def test_maps_are_flattened_in_tensorflow_s_order():
    network = vggish.VGGish(hidden=8)
    maps = torch.randn(1, 512, 6, 4)
    network.features = torch.nn.Module()
    network.features.forward = lambda _: maps
    network.embeddings = torch.nn.Identity()
    flat = network(torch.zeros(1, 96, 64))
    assert torch.equal(flat[0], torch.from_numpy(np.moveaxis(maps[0].numpy(), 0, -1).reshape(-1)))


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "vggish.pth"
    torch.save(vggish.VGGish(hidden=8).state_dict(), path)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def test_weights_load_when_their_hash_is_right(weights):
    path, sha256 = weights
    network = vggish.load_vggish(path, sha256, hidden=8)
    assert torch.equal(network.state_dict()["features.0.bias"], torch.load(path)["features.0.bias"])
    assert not network.training


def test_weights_of_another_hash_are_refused(weights):
    with pytest.raises(ValueError, match="expected 10086976"):
        vggish.load_vggish(weights[0])


def test_missing_weights_say_how_to_fetch_them(tmp_path):
    with pytest.raises(FileNotFoundError, match="curl -L"):
        vggish.load_vggish(tmp_path / "none.pth")


def test_the_embedder_gives_raw_patches_for_distances_and_unit_rows_for_clips(weights, tmp_path):
    rng = np.random.default_rng(0)
    clips = [rng.normal(0, 0.1, size=int(s * 16000)).astype(np.float32) for s in (3.0, 10.0, 17.0)]
    embedder = vggish.VggishEmbedder(weights[0], cache_dir=tmp_path / "cache", sha256="", hidden=8)
    patches = embedder.embed_windows(clips)
    assert patches.shape == (3 + 10 + 17, 128)
    assert not np.allclose(np.linalg.norm(patches, axis=1), 1)
    mean = patches[:3].mean(0)
    assert embedder.embed_clips(clips)[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)
    with pytest.raises(ValueError, match="by a CLAP"):
        embedder.embed_prompts(["a sitar"])
