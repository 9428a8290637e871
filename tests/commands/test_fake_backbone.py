"""A model of published size with random weights: its profile, and the room that it needs."""

import pytest

from tmp_utils.commands import fake_backbone
from tmp_utils.commands.fake_backbone import write_fake
from tmp_utils.inputs.profiles import load_profile
from tmp_utils.model.backbone import load_backbone


def test_the_fake_paper_profile_loads_its_own_backbone(tmp_path, monkeypatch):
    path = write_fake(tmp_path / "fake paper", size="tiny")
    monkeypatch.setenv("TMP_PROFILES", str(path))
    paper = load_profile("paper")
    assert all(values["steps"] == 2 for values in paper.methods.values())
    assert load_backbone(paper, "cpu").id == paper.backbone == str(path.parent / "tiny")


def test_a_fake_backbone_that_memory_or_disk_cannot_hold_is_refused_before_it_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(fake_backbone, "n_parameters", lambda size: 10**15)
    with pytest.raises(MemoryError, match=r"4000000\.0 GB in memory; this machine has \d+\.\d GB"):
        write_fake(tmp_path, "ace-step-1.5")
    monkeypatch.setattr(fake_backbone, "memory_bytes", lambda: 1e16)
    with pytest.raises(OSError, match=r"2000000\.0 GB on disk.*GB are free for"):
        write_fake(tmp_path, "ace-step-1.5")
    assert not any(tmp_path.iterdir())
