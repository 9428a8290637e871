"""CLAP through transformers and through laion-clap: the libraries' own embeddings, whole weights, no random crop."""

import shutil
import sys
import types

import numpy as np
import pytest
import torch

from tmp_utils.metrics.embed import check_embedder, load_embedder

RATE_HZ = 16000


def test_a_fusion_model_embeds_one_clip_the_same_way_each_time(make_clap, tmp_path, clips):
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


def test_a_prompt_does_not_depend_on_the_longer_one_beside_it(embedder):
    alone = embedder.embed_prompts(["a sitar"])[0]
    beside = embedder.embed_prompts(["a sitar", "a recording of a drum"])[0]
    assert beside == pytest.approx(alone, abs=1e-5)


def test_distinct_weights_have_distinct_names(make_clap, judge, embedder, tmp_path):
    other = load_embedder(f"clap:{make_clap(tmp_path / 'other', seed=1)}")
    assert other.name.rpartition("@")[2] != embedder.name.rpartition("@")[2]
    assert load_embedder(f"clap:{judge}").name == embedder.name


def test_a_clap_that_is_nowhere_says_where_it_was_looked_for(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_embedder("clap:./nowhere/at/all")


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


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "music.pt"
    state = {f"module.{name}": tensor for name, tensor in torch.nn.Linear(2, 2).state_dict().items()}
    state["module.text_branch.embeddings.position_ids"] = torch.arange(3)
    torch.save({"epoch": 15, "lr": np.float64(1e-4), "state_dict": state}, path)
    return path


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
    for use in (load_embedder, check_embedder):
        with pytest.raises(ImportError, match=r"\.\[laion\].*'clap-checkpoint:<checkpoint>'"):
            use(f"laion-clap:{checkpoint}")


def test_a_missing_laion_checkpoint_says_which_one_the_paper_used(tmp_path):
    with pytest.raises(FileNotFoundError, match="music_audioset_epoch_15"):
        load_embedder(f"laion-clap:{tmp_path / 'none.pt'}")
