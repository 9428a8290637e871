"""One clip has one embedding, whatever is embedded beside it, before it, or again."""

import shutil
import sys
import types

import numpy as np
import pytest
import torch

from tmp_utils.metrics import embed, vggish
from tmp_utils.metrics.embed import cut_windows, load_embedder, unit_rows

RATE_HZ = 16000
WORDS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "a", "recording", "of", "sitar", "drum"]


def make_clap(folder, seed, fusion=False):
    """Save a tiny random ClapModel, its extractor at 16 kHz and a word tokenizer; return the folder."""
    import tokenizers
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, PreTrainedTokenizerFast

    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    sound = {"patch_embeds_hidden_size": 8, "depths": [1, 1], "num_attention_heads": [1, 1], "spec_size": 64}
    sound |= {"num_mel_bins": 16, "hidden_size": 16, "window_size": 4, "enable_fusion": fusion}
    torch.manual_seed(seed)
    config = ClapConfig(
        text_config=text | {"vocab_size": len(WORDS), "max_position_embeddings": 32, "projection_dim": 12},
        audio_config=sound | {"projection_dim": 12},
        projection_dim=12,
    )
    ClapModel(config).save_pretrained(folder)
    ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=RATE_HZ,
        hop_length=640,
        max_length_s=10,
        frequency_max=8000,
        truncation="fusion" if fusion else "rand_trunc",
    ).save_pretrained(folder)
    words = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>")
    )
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", model_max_length=30
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    return make_clap(tmp_path_factory.mktemp("judge"), seed=0)


@pytest.fixture(scope="module")
def embedder(judge):
    return load_embedder(f"clap:{judge}")


@pytest.fixture
def clips():
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.1, size=int(s * RATE_HZ)).astype(np.float32) for s in (3.0, 10.0, 10.24, 17.0)]


def test_windows_are_consecutive_and_a_short_rest_is_left_out():
    assert [len(window) for window in cut_windows(np.arange(1024), 1000)] == [1000]
    assert [len(window) for window in cut_windows(np.arange(1600), 1000)] == [1000, 600]
    assert [len(window) for window in cut_windows(np.arange(100), 1000)] == [100]


def test_embeddings_are_unit_rows_one_a_clip_and_one_a_prompt(embedder, clips):
    for rows in (embedder.embed_clips(clips), embedder.embed_prompts(["a sitar", "a recording of a drum"])):
        assert rows.dtype == np.float32
        assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0)
    assert embedder.embed_clips(clips).shape == (4, 12)


def test_a_clip_has_the_same_embedding_alone_in_company_and_again(embedder, clips):
    together = embedder.embed_clips(clips)
    assert np.array_equal(together, embedder.embed_clips(clips))
    for i, clip in enumerate(clips):
        assert embedder.embed_clips([clip])[0] == pytest.approx(together[i], abs=1e-5)


def test_no_global_random_number_is_used(embedder, clips):
    np.random.seed(1)  # noqa: NPY002 - transformers draws from the global generator, if it draws
    first = embedder.embed_clips(clips)
    np.random.seed(2)  # noqa: NPY002
    assert np.array_equal(first, embedder.embed_clips(clips))


def test_a_fusion_model_hears_one_clip_the_same_way_each_time(tmp_path, clips):
    fused = load_embedder(f"clap:{make_clap(tmp_path, seed=0, fusion=True)}")
    first = fused.embed_clips(clips)
    assert all(np.array_equal(first, fused.embed_clips(clips)) for _ in range(3))


def test_the_embedding_is_transformers_own_for_a_clip_of_one_window(embedder, judge, clips):
    from transformers import ClapFeatureExtractor, ClapModel

    inputs = ClapFeatureExtractor.from_pretrained(judge)(clips[1], sampling_rate=RATE_HZ, return_tensors="pt")
    with torch.no_grad():
        out = ClapModel.from_pretrained(judge).eval().get_audio_features(**inputs)
    expected = getattr(out, "pooler_output", out)[0].numpy()
    assert embedder.embed_clips([clips[1]])[0] == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)


def test_a_long_clip_is_the_unit_mean_of_its_windows(embedder, clips):
    mean = embedder.embed_clips([clips[3][:160000], clips[3][160000:]]).mean(0)
    assert embedder.embed_clips([clips[3]])[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)
    assert embedder.embed_windows(clips).shape == (5, 12)


def test_a_short_clip_is_repeated_until_the_window_is_full_and_not_padded_with_silence(embedder):
    clip = np.random.default_rng(3).normal(0, 0.1, size=6 * RATE_HZ).astype(np.float32)
    rate_hz, window = embedder.rate_hz, embedder.window
    short = embedder._resample(clip)
    whole = np.concatenate([short, short])[:window]
    assert window == 10 * rate_hz
    expected = unit_rows(embedder._embed_batch([whole]))
    assert np.allclose(embedder.embed_clips([clip]), expected, atol=1e-6)
    assert not np.allclose(unit_rows(embedder._embed_batch([short])), expected, atol=1e-4)


def test_a_prompt_does_not_depend_on_the_longer_one_beside_it(embedder):
    alone = embedder.embed_prompts(["a sitar"])[0]
    beside = embedder.embed_prompts(["a sitar", "a recording of a drum"])[0]
    assert beside == pytest.approx(alone, abs=1e-5)


def test_distinct_weights_have_distinct_names(judge, embedder, tmp_path):
    other = load_embedder(f"clap:{make_clap(tmp_path / 'other', seed=1)}")
    assert other.name.rpartition("@")[2] != embedder.name.rpartition("@")[2]
    assert load_embedder(f"clap:{judge}").name == embedder.name


def test_the_cache_gives_the_same_rows_without_hearing_again(judge, clips, tmp_path, monkeypatch):
    cached = load_embedder(f"clap:{judge}", cache_dir=tmp_path)
    first = cached.embed_clips(clips)
    monkeypatch.setattr(cached, "_embed_batch", lambda windows: pytest.fail("heard a clip again"))
    assert np.array_equal(first, cached.embed_clips(clips))
    assert sorted(path.suffix for path in tmp_path.rglob("*") if path.is_file()) == [".npy"] * 4


def test_the_cache_tells_clips_that_differ_in_one_sample_apart(judge, clips, tmp_path):
    cached = load_embedder(f"clap:{judge}", cache_dir=tmp_path)
    cached.embed_clips([clips[0]])
    clips[0][100] += 0.5
    assert cached.embed_clips([clips[0]])[0] == pytest.approx(load_embedder(f"clap:{judge}").embed_clips([clips[0]])[0])


@pytest.mark.parametrize(
    ("clip", "message"),
    [(np.full(100, np.nan), "NaN"), (np.zeros((2, 100)), "one channel"), (np.zeros(0), "one channel")],
)
def test_broken_clips_are_refused_by_their_index(embedder, clips, clip, message):
    with pytest.raises(ValueError, match=f"clip 1 .*{message}"):
        embedder.embed_clips([clips[0], clip])


def test_no_clips_and_a_lone_string_are_refused(embedder):
    with pytest.raises(ValueError, match="no clips"):
        embedder.embed_clips([])
    with pytest.raises(ValueError, match="expected a list"):
        embedder.embed_prompts("a sitar")


@pytest.mark.parametrize("spec", ["clap", "clap:", "mert:large", ""])
def test_an_unknown_embedder_is_refused_with_the_known_ones(spec):
    with pytest.raises(ValueError, match=r"expected .*clap:<folder.*vggish"):
        load_embedder(spec)


def test_a_clap_that_is_nowhere_says_where_it_was_looked_for(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_embedder("clap:./nowhere/at/all")


def test_vggish_gives_raw_patches_for_distances_and_unit_rows_for_clips(tmp_path, clips):
    weights = tmp_path / "small.pth"
    torch.manual_seed(0)
    torch.save(vggish.VGGish(hidden=8).state_dict(), weights)
    small = embed.VggishEmbedder(weights, cache_dir=tmp_path, sha256="", hidden=8)
    patches = small.embed_windows(clips)
    assert patches.shape == (3 + 10 + 10 + 17, 128)
    assert not np.allclose(np.linalg.norm(patches, axis=1), 1)
    mean = patches[:3].mean(0)
    assert small.embed_clips(clips)[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)
    with pytest.raises(ValueError, match="CLAP-T"):
        small.embed_prompts(["a sitar"])


class FakeClapModule(torch.nn.Module):
    """Stands in for laion-clap's, whose base model is too large for a test; it records what it is given."""

    def __init__(self, enable_fusion, device, amodel):
        super().__init__()
        self.model, self.amodel, self.lengths, self.rows = torch.nn.Linear(2, 2), amodel, [], []

    def get_audio_embedding_from_data(self, x, use_tensor):
        self.lengths += [len(clip) for clip in x]
        return np.stack([[clip.mean(), clip.std()] for clip in x])

    def get_text_embedding(self, x, use_tensor):
        self.rows.append(len(x))
        return np.array([[len(prompt), 1.0] for prompt in x])


def test_a_judge_whose_weights_are_not_all_there_is_refused(judge, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(judge, tmp_path / "judge")
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    tensors = load_file(path)
    del tensors["audio_projection.linear1.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"embedder .*missing keys: audio_projection.linear1.weight.*Copy the folder"):
        load_embedder(f"clap:{folder}")
    path.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=r"embedder .*cannot be loaded.*Copy the folder"):
        load_embedder(f"clap:{folder}")


def test_a_laion_checkpoint_that_was_cut_is_refused(monkeypatch, checkpoint):
    monkeypatch.setitem(sys.modules, "laion_clap", types.SimpleNamespace(CLAP_Module=FakeClapModule))
    checkpoint.write_bytes(checkpoint.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"embedder .*music.pt\) cannot be loaded"):
        load_embedder(f"laion-clap:{checkpoint}")


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "music.pt"
    state = {f"module.{name}": tensor for name, tensor in torch.nn.Linear(2, 2).state_dict().items()}
    state["module.text_branch.embeddings.position_ids"] = torch.arange(3)
    torch.save({"epoch": 15, "lr": np.float64(1e-4), "state_dict": state}, path)
    return path


def test_laion_clap_never_gets_more_than_ten_seconds_to_crop(monkeypatch, checkpoint, clips):
    monkeypatch.setitem(sys.modules, "laion_clap", types.SimpleNamespace(CLAP_Module=FakeClapModule))
    paper = load_embedder(f"laion-clap:{checkpoint}")
    assert paper.embed_clips(clips).shape == (4, 2)
    assert max(paper.module.lengths) == 480000
    assert paper.module.amodel == "HTSAT-base"
    assert paper.embed_prompts(["a sitar"]).shape == (1, 2)
    assert paper.module.rows == [2]
    assert paper.name.startswith("laion-clap:music.pt@")


def test_without_laion_clap_the_error_names_the_extra(monkeypatch, checkpoint):
    monkeypatch.setitem(sys.modules, "laion_clap", None)
    with pytest.raises(ImportError, match=r"\.\[laion\]"):
        load_embedder(f"laion-clap:{checkpoint}")


def test_a_missing_laion_checkpoint_says_which_one_the_paper_used(tmp_path):
    with pytest.raises(FileNotFoundError, match="music_audioset_epoch_15"):
        load_embedder(f"laion-clap:{tmp_path / 'none.pt'}")
