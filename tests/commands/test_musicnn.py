"""Weights out of a TensorFlow checkpoint, here one that the test writes itself."""

import hashlib
import struct
import tomllib
import zipfile
from itertools import takewhile

import numpy as np
import pytest
import torch

from tmp_utils.commands import musicnn
from tmp_utils.metrics.musicnn import MusiCNN, load_musicnn


def varint(number):
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def block(entries):
    """A block: keys without what they share with the one before, one restart point, no compression, a checksum of 0."""
    data, before = b"", b""
    for key, value in entries:
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(key, before, strict=False)))
        data += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return data + struct.pack("<II", 0, 1) + bytes(5)


def table(*blocks):
    """A sorted-string table of blocks of (key, value)."""
    data, places = b"", []
    for entries in blocks:
        written = block(entries)
        places.append((entries[-1][0], varint(len(data)) + varint(len(written) - 5)))
        data += written
    index = block(places)
    footer = (varint(0) + varint(0) + varint(len(data)) + varint(len(index) - 5)).ljust(40, b"\0")
    return data + index + footer + bytes.fromhex("57fb808b247547db")


def entry(tensor, offset):
    """What TensorFlow says of a float32 tensor: type, shape, offset, bytes and a checksum."""
    shape = b"".join(b"\x12" + varint(len(size)) + size for size in (b"\x08" + varint(n) for n in tensor.shape))
    place = b"\x20" + varint(offset) + b"\x28" + varint(tensor.nbytes) + b"\x35" + bytes(4)
    return b"\x08\x01\x12" + varint(len(shape)) + shape + place


def checkpoint(tensors):
    """Index and data of named tensors, in two blocks, after the entry without a name."""
    entries, data = [(b"", b"\x08\x01")], b""
    for name in sorted(tensors):
        entries.append((name.encode(), entry(tensors[name], len(data))))
        data += tensors[name].astype("<f4").tobytes()
    return table(entries[: len(entries) // 2 + 1], entries[len(entries) // 2 + 1 :]), data


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


def test_tensors_are_read_by_name_from_every_block_and_the_optimiser_s_are_left_out():
    written = {
        "conv/bias": np.arange(3, dtype=np.float32),
        "conv/bias/Adam": np.zeros(3, np.float32),
        "conv/kernel": np.arange(300, dtype=np.float32).reshape(2, 150),
        "power": np.array(0.5, dtype=np.float32),
    }
    tensors = musicnn.read_checkpoint(*checkpoint(written))
    assert sorted(tensors) == ["conv/bias", "conv/kernel", "power"]
    assert all(np.array_equal(tensors[name], written[name]) for name in tensors)
    assert tensors["conv/kernel"].shape == (2, 150) and tensors["power"].shape == ()


def test_data_that_end_early_and_files_of_another_kind_are_refused():
    index, data = checkpoint({"a": np.ones(2, np.float32), "bias": np.ones(4, np.float32)})
    with pytest.raises(ValueError, match=r"bias: type 1, shape \[4\], 16 bytes; expected whole float32"):
        musicnn.read_checkpoint(index, data[:-1])
    with pytest.raises(ValueError, match="not the index of a TensorFlow checkpoint"):
        musicnn.read_checkpoint(b"PK" * 40, data)


def test_kernels_compute_in_torch_what_their_axes_mean_in_tensorflow(tensors):
    state = musicnn.network_weights(tensors)
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


def test_another_checkpoint_is_refused_by_the_tensor_it_lacks_or_has_in_another_shape(tensors):
    with pytest.raises(ValueError, match="lacks conv2d_3/bias"):
        musicnn.network_weights({name: t for name, t in tensors.items() if name != "conv2d_3/bias"})
    with pytest.raises(ValueError, match=r"dense/kernel: shape \(200, 753\).*expected \(200, 1506\)"):
        musicnn.network_weights({**tensors, "dense/kernel": tensors["dense/kernel"][:753]})


def test_a_wheel_becomes_a_folder_with_weights_licence_and_source(tensors, tmp_path):
    wheel = tmp_path / "musicnn-0.1.0-py3-none-any.whl"
    index, data = checkpoint(tensors)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("musicnn/MTT_musicnn/.index", index)
        archive.writestr("musicnn/MTT_musicnn/.data-00000-of-00001", data)
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
