"""The paper's checkpoint in transformers' ClapModel: the embeddings of the package laion-clap, with random weights."""

import importlib.util
import re
import sys
import zipfile
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
import transformers

from tmp_utils.inputs.profiles import DATA_DIR, load_profile
from tmp_utils.metrics import clap_checkpoint
from tmp_utils.metrics.embed import check_embedder, load_embedder

RATE_HZ = 48000
PROMPTS = ["a recording of a sitar", "a sitar and a drum, under water", " ".join(["a long prompt"] * 60)]


def random_windows():
    """Ten seconds each: a chord, noise with a beat, near silence, and samples that clip."""
    rng, time_s = np.random.default_rng(0), np.arange(10 * RATE_HZ) / RATE_HZ
    chord = sum(np.sin(2 * np.pi * f * time_s) / 4 for f in (220, 277.2, 329.6, 5000))
    beat = rng.normal(0, 0.2, time_s.size) * (time_s % 0.5 < 0.1)
    return [x.astype(np.float32) for x in (chord, beat, 1e-4 * beat, 3 * beat)]


def local_tokenizer(*args, **kwargs):
    """Stand in for roberta-base's: the pocket model's vocabulary, in the same class."""
    return REAL_TOKENIZER(DATA_DIR / "pocket" / "judge")


def random_roberta(*args, **kwargs):
    """Stand in for roberta-base: https://huggingface.co/FacebookAI/roberta-base/blob/main/config.json."""
    sizes = {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
    return transformers.RobertaModel(transformers.RobertaConfig(**sizes))


REAL_TOKENIZER = transformers.RobertaTokenizer.from_pretrained


@pytest.fixture(scope="module")
def offline():
    """Hugging Face's models by stand-ins, and the torchvision that laion-clap imports and does not use."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RobertaTokenizer", "BertTokenizer", "BartTokenizer"):
            patch.setattr(getattr(transformers, name), "from_pretrained", local_tokenizer)
        patch.setattr(transformers.RobertaModel, "from_pretrained", random_roberta)
        if importlib.util.find_spec("torchvision") is None:
            for name in ("", ".datasets", ".ops", ".ops.misc", ".transforms"):
                patch.setitem(sys.modules, f"torchvision{name}", MagicMock(__path__=[], __spec__=None))
        yield


@pytest.fixture(scope="module")
def reference(offline):
    if importlib.util.find_spec("laion_clap") is None:
        pytest.skip("laion-clap is not installed")
    from laion_clap import CLAP_Module

    torch.manual_seed(0)
    module = CLAP_Module(enable_fusion=False, device="cpu", amodel="HTSAT-base").eval()
    for name, tensor in module.model.named_parameters():
        # Initial weights are small, biases 0 and norms 1: with those, many a swap would go unnoticed.
        if tensor.requires_grad and "relative_position" not in name:
            tensor.data += 0.02 * torch.randn_like(tensor)
    module.model.text_branch.embeddings.token_type_embeddings.weight.data.zero_()  # as in roberta-base
    norm = module.model.audio_branch.bn0
    norm.running_mean.normal_(-30, 5)
    norm.running_var.uniform_(50, 300)
    return module


@pytest.fixture(scope="module")
def checkpoint(reference, tmp_path_factory):
    """A file of the form of laion-clap's trainer: names of a wrapped module, and a numpy number beside the weights."""
    path = tmp_path_factory.mktemp("clap") / "random.pt"
    state = {f"module.{key}": tensor for key, tensor in reference.model.state_dict().items()}
    state["module.text_branch.embeddings.position_ids"] = torch.arange(514)[None]
    torch.save({"epoch": 15, "name": "random", "loss": np.float64(0.5), "state_dict": state}, path)
    yield path
    path.unlink(missing_ok=True)  # 0.8 GB


def test_sounds_and_prompts_have_the_embeddings_of_laion_clap(reference, checkpoint):
    embedder = load_embedder(f"clap-checkpoint:{checkpoint}")
    assert embedder.name.startswith("clap-checkpoint:random.pt@")
    windows = random_windows()
    expected = reference.get_audio_embedding_from_data(np.stack(windows))
    assert (expected @ expected.T).min() < 0.95  # the sounds are not alike
    assert embedder._embed_batch(windows) == pytest.approx(expected, abs=1e-5)
    expected = reference.get_text_embedding(PROMPTS)
    assert (expected @ expected.T).min() < 0.95
    assert embedder.embed_prompts(PROMPTS) == pytest.approx(expected, abs=1e-5)
    # A second implementation of the mel: transformers' extractor with laion-clap's lowest frequency.
    extractor = transformers.ClapFeatureExtractor(frequency_min=50, truncation="rand_trunc")
    mel = extractor(windows[1], sampling_rate=RATE_HZ, return_tensors="pt")["input_features"]
    assert embedder.front_end(torch.from_numpy(windows[1])[None]) == pytest.approx(mel, abs=1e-3)


def test_a_clip_through_int16_is_cut_towards_zero_and_clipped():
    samples = np.array([0.99, 1.5, -2.0, 1.9 / 32767, -1.9 / 32767], dtype=np.float32)
    steps = clap_checkpoint.through_int16(samples) * 32767
    assert steps == pytest.approx([int(0.99 * 32767), 32767, -32767, 1, -1], abs=1e-3)


def front_end_tensors():
    """A front end of silence, under laion-clap's names."""
    return {key: torch.zeros(shape) for key, shape in clap_checkpoint.FRONT_END.items()}


def test_a_checkpoint_of_another_architecture_is_refused_with_the_names_of_its_tensors(tmp_path):
    tensors = front_end_tensors() | {
        "audio_branch.patch_embed.proj.weight": torch.zeros(96, 1, 4, 4),
        "audio_branch.patch_embed.mel_conv2d.weight": torch.zeros(96, 1, 4, 12),
    }
    with pytest.raises(ValueError, match="is no CLAP of HTSAT-base") as error:
        clap_checkpoint.convert(tensors, tmp_path / "tiny-fusion.pt")
    for words in (
        "missing: logit_scale_a, logit_scale_t, text_model.embeddings.word_embeddings.weight",
        "unexpected: audio_model.audio_encoder.patch_embed.mel_conv2d.weight",
        "audio_model.audio_encoder.patch_embed.proj.weight (96, 1, 4, 4) instead of (128, 1, 4, 4)",
    ):
        assert words in str(error.value)


def test_a_front_end_of_another_size_is_refused(tmp_path):
    tensors = front_end_tensors() | {"audio_branch.logmel_extractor.melW": torch.zeros(513, 128)}
    with pytest.raises(ValueError, match=r"melW \(513, 128\) instead of \(513, 64\)"):
        clap_checkpoint.convert(tensors, tmp_path / "other.pt")


def test_a_checkpoint_that_is_nowhere_says_where_to_get_it_and_that_nothing_was_downloaded():
    with pytest.raises(FileNotFoundError) as error:
        check_embedder(load_profile("paper").embedder)
    for words in ("nothing was downloaded", "2.35 GB", "https://huggingface.co/lukewys/laion_clap/resolve/main/music_"):
        assert words in str(error.value)


def test_the_paper_s_checkpoint_must_have_its_size(tmp_path):
    path = tmp_path / "music_audioset_epoch_15_esc_90.14.pt"
    path.write_bytes(b"half")
    with pytest.raises(ValueError, match="has 4 bytes; the paper's checkpoint has 2352471003"):
        check_embedder(f"clap-checkpoint:{path}+level")


def test_a_file_of_the_right_size_must_have_the_right_hash(tmp_path, monkeypatch):
    monkeypatch.setattr(clap_checkpoint, "CHECKPOINT_BYTES", 5)
    path = tmp_path / "music_audioset_epoch_15_esc_90.14.pt"
    path.write_bytes(b"other")
    with pytest.raises(ValueError, match=r"its SHA-256 is .*; the paper's checkpoint has fae3e9c087f2"):
        clap_checkpoint.read_checkpoint(path)


def test_a_checkpoint_is_found_by_its_name_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(clap_checkpoint, "CACHE_DIR", tmp_path)
    (tmp_path / "mine.pt").write_bytes(b"")
    assert clap_checkpoint.check_checkpoint("mine.pt") == tmp_path / "mine.pt"


class Code:
    def __reduce__(self):
        return print, ("a pickle ran code",)


@pytest.mark.parametrize("content", [b"", b"PK cut short", {"state_dict": {"x": Code()}}, {"state_dict": {"x": 1}}])
def test_a_damaged_or_foreign_file_is_refused(tmp_path, content, capsys):
    path = tmp_path / "broken.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(ValueError, match=r"embedder .*broken.pt\) cannot be loaded"):
        clap_checkpoint.read_checkpoint(path)
    assert "ran code" not in capsys.readouterr().out


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_a_number_of_numpy_1_or_2_beside_the_weights_is_no_fault(tmp_path, module):
    torch.save({"loss": np.float64(0.5), "state_dict": {"module.x": torch.ones(2)}}, tmp_path / "saved.pt")
    with zipfile.ZipFile(tmp_path / "saved.pt") as saved, zipfile.ZipFile(tmp_path / "small.pt", "w") as small:
        for name in saved.namelist():
            small.writestr(name, re.sub(rb"numpy\._?core\.multiarray", module, saved.read(name)))
    assert module in (tmp_path / "small.pt").read_bytes()
    assert clap_checkpoint.read_checkpoint(tmp_path / "small.pt")[0]["x"].tolist() == [1, 1]
