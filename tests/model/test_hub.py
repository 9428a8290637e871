"""Where a pipeline is, what of it is downloaded when, and why that fails."""

import json
import shutil
from pathlib import Path

import httpx
import pytest
import torch
from diffusers import DiffusionPipeline
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors.torch import save_file

from tmp_utils.inputs.profiles import load_profile
from tmp_utils.model import hub
from tmp_utils.model.backbone import load_backbone
from tmp_utils.model.hub import describe_pipeline, weight_bytes
from tmp_utils.runs.folder import open_run
from tmp_utils.runs.integrity import read_manifest

GATED = "stabilityai/stable-audio-3-small-music-base"


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Serve single files of a folder as a model of the hub; what is asked for goes into a list."""

    def serve(folder):
        snapshot, seen = tmp_path / "snapshots" / "0123abc", []
        snapshot.parent.mkdir()

        def download(repository, file, revision=None):
            (snapshot / file).parent.mkdir(parents=True, exist_ok=True)
            seen.append((repository, file, revision))
            return shutil.copy(folder / file, snapshot / file)

        def whole(repository, revision):
            seen.append((repository, "all", revision))
            return shutil.copytree(folder, snapshot, dirs_exist_ok=True)

        monkeypatch.setattr(hub, "hf_hub_download", download)
        monkeypatch.setattr(DiffusionPipeline, "download", whole)
        return seen

    return serve


def test_a_hub_id_is_downloaded_at_the_commit_it_names_and_the_run_remembers_it(blank_folder, tmp_path, served):
    seen = served(blank_folder)
    backbone = load_backbone("someone/model@0123abc", "cpu")
    index, scheduler = "model_index.json", "scheduler/scheduler_config.json"
    assert seen == [("someone/model", what, "0123abc") for what in (index, scheduler, "all")]
    assert backbone.revision == "0123abc"
    assert load_backbone(blank_folder, "cpu").revision is None
    with open_run(tmp_path / "run", {}, backbone, say=lambda line: None) as run:
        assert read_manifest(run.path)["backbone"]["revision"] == "0123abc"


@pytest.mark.parametrize(
    ("pipeline", "scheduler", "message"),
    [
        ("StableDiffusionPipeline", {}, "someone/model: a pipeline of class StableDiffusionPipeline; expected"),
        ("StableAudio3Pipeline", {"stochastic_sampling": True}, "someone/model: a distilled checkpoint"),
    ],
)
def test_what_no_family_takes_is_refused_before_its_weights_are_downloaded(
    tmp_path, served, pipeline, scheduler, message
):
    (tmp_path / "its" / "scheduler").mkdir(parents=True)
    (tmp_path / "its" / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    (tmp_path / "its" / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    seen = served(tmp_path / "its")
    with pytest.raises(ValueError, match=message):
        load_backbone("someone/model", "cpu")
    assert len(seen) == 2 and "all" not in {what for _, what, _ in seen}


def answer(kind, status):
    return kind("The hub's words.", response=httpx.Response(status, request=httpx.Request("GET", "https://hub")))


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (answer(GatedRepoError, 401), PermissionError, r"got no valid token.*Stability AI Community.*hf auth login"),
        (answer(GatedRepoError, 403), PermissionError, r"account of your token has not been given access.*Accept its"),
        (answer(RepositoryNotFoundError, 404), FileNotFoundError, "no such model, or a private one"),
        (answer(RevisionNotFoundError, 404), FileNotFoundError, 'no commit, tag or branch "v9"'),
        (answer(RemoteEntryNotFoundError, 404), FileNotFoundError, rf"not in diffusers' format.*convert\S* .*{GATED}"),
        (LocalEntryNotFoundError("No connection."), FileNotFoundError, r"hub cannot be reached \(LocalEntry.*pocket"),
    ],
    ids=["no token", "no consent", "wrong id", "wrong revision", "another format", "no network"],
)
def test_each_fault_of_a_download_has_its_own_words_and_remedy(monkeypatch, fault, error, message):
    def refuse(*_, **__):
        raise fault

    monkeypatch.setattr(hub, "hf_hub_download", refuse)
    with pytest.raises(error, match=message):
        describe_pipeline(f"{GATED}@v9")


def test_a_profile_whose_model_has_to_be_converted_says_by_which_command(monkeypatch):
    def refuse(*_, **__):
        raise answer(RemoteEntryNotFoundError, 404)

    monkeypatch.setattr(hub, "hf_hub_download", refuse)
    with pytest.raises(FileNotFoundError, match=r"convert_ace_step_to_diffusers\.py .* --dit_config acestep-v15-base"):
        describe_pipeline("ACE-Step/acestep-v15-base")
    assert load_profile("ace-step-1.5").backbone.endswith("-diffusers")
    assert load_profile("stable-audio-3-small").backbone == GATED


def test_sizes_are_read_off_the_heads_of_all_parts_whatever_their_number_format(tmp_path):
    parts = {"transformer": [(3, 5), (7,)], "vae": [(2, 2)], "text_encoder": [(4,)]}
    index = {"_class_name": "AceStepPipeline", **{part: ["diffusers", "X"] for part in parts}}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    for dtype in (torch.float32, torch.bfloat16):
        for part, shapes in parts.items():
            (tmp_path / part).mkdir(exist_ok=True)
            (tmp_path / part / "config.json").write_text("{}")
            for k, shape in enumerate(shapes):  # in several files
                save_file({"x": torch.zeros(shape, dtype=dtype)}, tmp_path / part / f"model-{k}.safetensors")
        save_file({"x": torch.zeros(99)}, tmp_path / "vae" / "model.fp16.safetensors")  # which is not loaded
        assert weight_bytes(str(tmp_path)) == (4 * 22, 4 * 8)
    Path(tmp_path / "vae" / "model-0.safetensors").write_bytes(b"\x09")
    with pytest.raises(ValueError, match="Copy the folder afresh"):
        weight_bytes(str(tmp_path))
