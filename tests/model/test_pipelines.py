"""A pipeline whose weights are damaged or not all there is refused, whichever part it is."""

import shutil
from pathlib import Path

import pytest
import torch
from diffusers.utils import DummyObject
from safetensors.torch import load_file, save_file

from tmp_utils.model.hub import check_pipeline
from tmp_utils.model.pipelines import WORKS, check_versions, open_pipeline


@pytest.fixture
def damaged(blank_folder, tmp_path):
    """Copy the blank pipeline, and change the weights file of a part by a function."""

    def copy(part, change):
        folder = shutil.copytree(blank_folder, tmp_path / "pipeline")
        (path,) = (folder / part).glob("*.safetensors")
        change(path)
        return folder

    return copy


def with_tensors(change):
    def rewrite(path):
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, metadata={"format": "pt"})

    return rewrite


def largest(tensors):
    return max((name for name in tensors if name.endswith(".weight")), key=lambda name: tensors[name].numel())


@pytest.mark.parametrize("part", ["text_encoder", "unet", "vae", "vocoder"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "cannot be loaded"),
        (lambda path: path.write_bytes(bytes(path.stat().st_size)), "cannot be loaded"),
        (lambda path: path.write_bytes(b""), "cannot be loaded"),
        (with_tensors(lambda tensors: tensors.pop(largest(tensors))), "missing keys: "),
        (with_tensors(lambda tensors: tensors.update(extra=torch.ones(2))), "unexpected keys: extra"),
        (with_tensors(lambda tensors: tensors.update({largest(tensors): torch.ones(3, 5)})), "mismatched"),
        (with_tensors(lambda tensors: tensors[largest(tensors)].fill_(float("nan"))), "not finite: "),
        (with_tensors(lambda tensors: tensors[largest(tensors)].zero_()), "only zeros: "),
    ],
    ids=["truncated", "zeroed", "empty", "missing", "unexpected", "shape", "nan", "zeros"],
)
def test_damaged_weights_are_refused_with_part_and_remedy(damaged, part, change, message):
    folder = damaged(part, change)
    with pytest.raises(ValueError, match=message) as error:
        open_pipeline(folder)
    assert part in str(error.value) and "Copy the folder afresh" in str(error.value)


@pytest.mark.parametrize("name", ["model_index.json", "unet/config.json", "tokenizer/tokenizer.json"])
def test_damaged_descriptions_are_refused_with_the_remedy(blank_folder, tmp_path, name):
    folder = shutil.copytree(blank_folder, tmp_path / "pipeline")
    (folder / name).write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="Copy the folder afresh"):
        open_pipeline(folder)


def test_a_buffer_of_older_versions_is_no_damage(damaged):
    ids = {"text_model.encoder.position_ids": torch.arange(4)[None]}
    open_pipeline(damaged("text_encoder", with_tensors(lambda tensors: tensors.update(ids))))


def test_a_family_that_the_installed_versions_lack_is_refused_before_a_download(monkeypatch):
    class AceStepPipeline(metaclass=DummyObject):
        _backends = ("torch", "transformers")

    monkeypatch.setattr("diffusers.AceStepPipeline", AceStepPipeline)
    with pytest.raises(ValueError, match=r"AceStepPipeline, which diffusers .* does not have \(torch, transformers\)"):
        check_pipeline("ACE-Step/acestep-v15-base")
    with pytest.raises(ValueError, match=rf"no attribute NextPipeline\). It works with diffusers {WORKS['diffusers']}"):
        check_versions("NextPipeline", "next")
    lock = Path("requirements.lock").read_text(encoding="utf-8")
    assert all(f"\n{library}=={version} " in lock for library, version in WORKS.items())
