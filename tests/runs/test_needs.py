"""What a profile needs is checked before the first byte is downloaded, and all that is missing is named at once."""

from collections import namedtuple
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from tmp_utils.inputs.profiles import load_profile
from tmp_utils.metrics import clap_checkpoint
from tmp_utils.model import hub
from tmp_utils.model.device import OutOfMemory
from tmp_utils.runs.place import Place
from tmp_utils.runs.protocol import Lab

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def no_download(monkeypatch, tmp_path):
    """Neither the backbone nor the checkpoint is there, and fetching the backbone fails the test."""
    from diffusers import DiffusionPipeline

    monkeypatch.setattr(DiffusionPipeline, "download", lambda name, **_: pytest.fail("downloaded"))
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(hub, "hf_hub_download", lambda *_, **__: pytest.fail("downloaded"))
    monkeypatch.setattr(clap_checkpoint, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(clap_checkpoint, "CACHE_DIR", tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)


def with_free_bytes(monkeypatch, free):
    monkeypatch.setattr(hub.shutil, "disk_usage", lambda _: Usage(10**12, 10**12 - free, free))


def test_the_embedder_is_checked_before_the_backbone_is_downloaded(tmp_path, monkeypatch):
    with_free_bytes(monkeypatch, 10**11)
    with pytest.raises(FileNotFoundError, match="no such CLAP checkpoint"):
        Lab.load(replace(load_profile("paper"), device="cpu"), tmp_path)


def test_a_missing_gpu_and_a_missing_checkpoint_are_named_together(tmp_path):
    with pytest.raises(RuntimeError, match=r"(?s)nothing was downloaded:.*made for a GPU.*no such CLAP checkpoint"):
        Lab.load("paper", tmp_path)


def test_a_full_disk_is_named_with_what_is_needed_and_what_is_free(monkeypatch):
    with_free_bytes(monkeypatch, 10**9)
    with pytest.raises(OSError, match=r"about 2.6 GB to download, and 1.0 GB free .* Nothing was downloaded"):
        hub.check_pipeline(load_profile("paper").backbone)


def test_a_backbone_in_the_cache_needs_no_room_but_its_description_alone_is_not_the_backbone(monkeypatch, tmp_path):
    with_free_bytes(monkeypatch, 0)
    (tmp_path / "model_index.json").write_text("{}")
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_, **__: str(tmp_path / "model_index.json"))
    with pytest.raises(OSError, match=r"0\.0 GB free"):
        hub.check_pipeline("cvssp/audioldm-m-full")
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "weights.bin").write_bytes(b"")
    assert hub.check_pipeline("cvssp/audioldm-m-full") is None


def with_gpu(monkeypatch, total_bytes):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    about = SimpleNamespace(name="a GPU", total_memory=total_bytes)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: about)


def test_a_gpu_without_memory_for_a_profile_is_named_with_the_profile_that_fits(tmp_path, monkeypatch):
    with_gpu(monkeypatch, 4 * 10**9)
    with pytest.raises(
        RuntimeError, match=r'\(4000 MB\) is too small: profile "paper" needs about 4108 MB.*"pocket" fits'
    ):
        Lab.load("paper", tmp_path)


def test_a_gpu_that_holds_a_word_but_not_dreambooth_says_so_before_anything_is_trained(tmp_path, monkeypatch):
    profile, gpu = load_profile("paper"), SimpleNamespace(device=torch.device("cuda"))
    lab = Lab(profile, gpu, None, Place(tmp_path, "paper"))
    with_gpu(monkeypatch, 8 * 10**9)
    lab.check_memory(["TI", "DB-LoRA"])
    with pytest.raises(OutOfMemory, match=r"training with DB needs about 9100 MB. Textual Inversion needs less"):
        lab.check_memory(["TI", "DB"])
    with_gpu(monkeypatch, 15 * 10**9)  # a T4
    lab.check_memory(["TI", "DB", "TI-DB"])
