"""One line about the session, before anything is loaded."""

import re
from types import SimpleNamespace

import pytest
import torch

from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.model import hub
from tmp_utils.runs.session import in_words, read_minutes, session_line


def test_the_line_names_disk_download_and_minutes(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    line = session_line("pocket", tmp_path / "not" / "yet", "03_dreambooth")
    assert re.fullmatch(r"no GPU; \d+ GB of disk free; nothing to download; \d+ min on 2 cores \(.+\)", line)
    assert "; under 1 min on " in session_line("pocket", tmp_path, "01_data")


def test_the_readme_shows_the_minutes_of_the_table():
    timed = read_minutes().query("profile == 'pocket'")
    lines = (DATA_DIR.parent / "README.md").read_text(encoding="utf-8").splitlines()
    for row in timed.itertuples():
        (line,) = [line for line in lines if line.startswith(f"| [`{row.notebook}`]")]
        assert line.endswith(f"| {in_words(row.minutes)} |")


def test_the_line_names_the_gpu_and_what_is_not_in_the_cache(tmp_path, monkeypatch):
    t4 = SimpleNamespace(name="Tesla T4", total_memory=15_800_000_000)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: t4)
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_, **__: None)
    line = session_line("paper", tmp_path, "02_textual_inversion")
    assert line.startswith("Tesla T4 with 15.8 GB; ")
    assert "2.6 GB to download (cvssp/audioldm-m-full, licence CC BY-NC-SA 4.0 (not for commercial use" in line
    assert line.endswith("not timed at this profile") and "convert" not in line
    assert "and to convert to diffusers' format" in session_line("stable-audio-3-small", tmp_path, "01_data")
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "weights.bin").touch()
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_, **__: str(tmp_path / "model_index.json"))
    assert "nothing to download; not timed" in session_line("paper", tmp_path, "01_data")


def test_an_unknown_profile_is_refused(tmp_path):
    with pytest.raises(ValueError, match='unknown profile "pockt"'):
        session_line("pockt", tmp_path, "01_data")
