"""The paper's checkpoint in transformers' ClapModel: the embeddings of the package laion-clap, with random weights."""

import json
import re
import zipfile

import clap_reference
import numpy as np
import pytest
import torch
import transformers

from tmp_utils.inputs.profiles import load_profile
from tmp_utils.metrics import clap, clap_checkpoint
from tmp_utils.metrics.embed import check_embedder, load_embedder
from tmp_utils.model.blank import blank_tokenizer

REFERENCE = json.loads(clap_reference.PATH.read_text())


def test_sounds_and_prompts_have_the_embeddings_of_laion_clap(tmp_path, monkeypatch):
    state = clap_reference.random_state(REFERENCE["shapes"])
    monkeypatch.setattr(transformers.RobertaTokenizer, "from_pretrained", lambda name: blank_tokenizer())
    monkeypatch.setattr(clap, "read_checkpoint", lambda path: (state, "0123456789abcdef"))
    (tmp_path / "random.pt").touch()
    embedder = load_embedder(f"clap-checkpoint:{tmp_path / 'random.pt'}")
    assert embedder.name == "clap-checkpoint:random.pt@01234567"
    windows, expected = clap_reference.random_windows(), np.array(REFERENCE["sounds"])
    assert (expected @ expected.T).min() < 0.95  # the sounds are not alike
    assert embedder._embed_batch(windows) == pytest.approx(expected, abs=1e-5)
    expected = np.array(REFERENCE["prompts"])
    assert (expected @ expected.T).min() < 0.95
    assert embedder.embed_prompts(clap_reference.PROMPTS) == pytest.approx(expected, abs=1e-5)
    # A second implementation of the mel: transformers' extractor with laion-clap's lowest frequency.
    extractor = transformers.ClapFeatureExtractor(frequency_min=50, truncation="rand_trunc")
    mel = extractor(windows[1], sampling_rate=clap_checkpoint.RATE_HZ, return_tensors="pt")["input_features"]
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
