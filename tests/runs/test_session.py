"""One line about the session, before anything is loaded."""

import re
from types import SimpleNamespace

import pytest
import torch

from tmp_utils.model import pipelines
from tmp_utils.runs.session import session_line


def test_the_line_names_disk_download_and_minutes(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    line = session_line("pocket", tmp_path / "not" / "yet", {"pocket": 6})
    assert re.fullmatch(r"no GPU; \d+ GB of disk free; nothing to download; about 6 min on two CPU cores", line)


def test_the_line_names_the_gpu_and_what_is_not_in_the_cache(tmp_path, monkeypatch):
    t4 = SimpleNamespace(name="Tesla T4", total_memory=15_800_000_000)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: t4)
    monkeypatch.setattr(pipelines, "try_to_load_from_cache", lambda *_, **__: None)
    line = session_line("paper", tmp_path, {"pocket": 6, "paper": 15})
    assert line.startswith("Tesla T4 with 15.8 GB; ")
    assert "2.7 GB to download (cvssp/audioldm-m-full); about 15 min on a T4, by estimate" in line
    monkeypatch.setattr(pipelines, "try_to_load_from_cache", lambda *_, **__: "model_index.json")
    assert "nothing to download; time not known for this profile" in session_line("paper", tmp_path, {})


def test_an_unknown_profile_is_refused(tmp_path):
    with pytest.raises(ValueError, match='unknown profile "pockt"'):
        session_line("pockt", tmp_path, {})
