"""Weights out of a TensorFlow checkpoint, here one that the test writes itself."""

import hashlib
import tomllib
import zipfile

import numpy as np
import pytest
import torch

from tmp_utils.commands import musicnn
from tmp_utils.metrics.musicnn import MusiCNN, load_musicnn


def data_file(tensors):
    """Tensors as TensorFlow writes them: by name, and behind each that was learned Adam's two moments of it."""
    written = {**tensors, "beta1_power": np.float32(0.9), "beta2_power": np.float32(0.999)}
    for name, tensor in tensors.items():
        if "/moving_" not in name:
            written |= {f"{name}/Adam{ending}": np.full_like(tensor, np.nan) for ending in ("", "_1")}
    return b"".join(written[name].astype("<f4").tobytes() for name in sorted(written))


@pytest.fixture(scope="module")
def tensors():
    """Random tensors under the names and in the shapes of MusiCNN's checkpoint."""
    rng = np.random.default_rng(0)
    shapes = [(7, 38, 1, 204), (7, 67, 1, 204), (128, 1, 1, 51), (64, 1, 1, 51), (32, 1, 1, 51)]
    shapes += [(7, 561, 1, 64), (7, 64, 1, 64), (7, 64, 1, 64)]
    kernels = {f"conv2d_{k}" if k else "conv2d": shape for k, shape in enumerate(shapes)}
    kernels |= {"dense": (1506, 200), "dense_1": (200, 50)}
    tensors = {f"{name}/kernel": shape for name, shape in kernels.items()}
    tensors |= {f"{name}/bias": shape[-1:] for name, shape in kernels.items()}
    widths = [1, 204, 204, 51, 51, 51, 64, 64, 64, 1506, 200]
    for k, width in enumerate(widths):
        name = f"batch_normalization_{k}" if k else "batch_normalization"
        tensors |= {f"{name}/{part}": (width,) for part in ("gamma", "beta", "moving_mean", "moving_variance")}
    return {name: rng.uniform(0.5, 1, size=shape).astype(np.float32) for name, shape in tensors.items()}


def test_kernels_compute_in_torch_what_their_axes_mean_in_tensorflow(tensors):
    state = musicnn.read_weights(data_file(tensors))
    assert all(tensor.isfinite().all() for tensor in state.values()), "none is one of Adam's"
    network = MusiCNN()
    network.load_state_dict(state)
    rng = np.random.default_rng(1)
    sound = rng.normal(size=(7, 96)).astype(np.float32)  # 7 frames: the middle one sees all of them
    kernel, bias = tensors["conv2d_1/kernel"], tensors["conv2d_1/bias"]
    expected = np.einsum("tf,tfc->c", sound[:, 5 : 5 + 67], kernel[:, :, 0]) + bias
    ours = network.timbral[1][0](torch.from_numpy(sound)[None, None])[0, :, 3, 5]
    assert ours.detach().numpy() == pytest.approx(expected, abs=1e-3)
    front = rng.normal(size=(7, 561)).astype(np.float32)
    expected = np.einsum("tf,tfc->c", front, tensors["conv2d_5/kernel"][:, :, 0]) + tensors["conv2d_5/bias"]
    ours = network.middle[0][0](torch.from_numpy(front.T.copy())[None])[0, :, 3]
    assert ours.detach().numpy() == pytest.approx(expected, abs=1e-3)
    pools = rng.normal(size=1506).astype(np.float32)
    ours = network.dense[0](torch.from_numpy(pools)).detach().numpy()
    assert ours == pytest.approx(pools @ tensors["dense/kernel"] + tensors["dense/bias"], abs=1e-3)


def test_every_tensor_comes_from_the_place_that_its_name_has_in_the_checkpoint(tensors):
    state, names = musicnn.read_weights(data_file(tensors)), musicnn.tensor_names()
    assert sorted(names.values()) == sorted(tensors)
    for ours, theirs in names.items():
        assert sorted(state[ours].flatten().tolist()) == sorted(tensors[theirs].ravel().tolist()), ours


def test_data_of_another_length_are_refused(tensors):
    for data in (data_file(tensors)[:-1], data_file(tensors) + bytes(4), b""):
        with pytest.raises(ValueError, match=rf"{len(data)} bytes; MTT_musicnn has 9465596"):
            musicnn.read_weights(data)


def test_a_wheel_becomes_a_folder_with_weights_licence_and_source(tensors, tmp_path):
    wheel = tmp_path / "musicnn-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("musicnn/MTT_musicnn/.data-00000-of-00001", data_file(tensors))
        archive.writestr("musicnn-0.1.0.dist-info/LICENSE.md", "\nPermission to use\n")
    with pytest.raises(ValueError, match=r"SHA-256 is \w{64}, expected f38a4890.*pip download --no-deps musicnn"):
        musicnn.convert(wheel, tmp_path / "made")
    assert not (tmp_path / "made").exists()
    musicnn.convert(wheel, tmp_path / "made", hashlib.sha256(wheel.read_bytes()).hexdigest())
    weights = load_musicnn(tmp_path / "made").state_dict()
    assert torch.equal(weights["output.bias"], torch.from_numpy(tensors["dense_1/bias"]))
    source = tomllib.loads((tmp_path / "made" / "SOURCE.toml").read_text())
    assert (source["package"], source["version"], source["licence"]) == ("musicnn", "0.1.0", "ISC")
    assert (tmp_path / "made" / source["licence_file"]).read_text() == "Permission to use\n"


def test_a_wheel_that_is_not_there_says_how_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none.whl: no such file. Get it by: pip download"):
        musicnn.convert(tmp_path / "none.whl", tmp_path / "made")
