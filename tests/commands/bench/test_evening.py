"""A quarter of an hour with a GPU, tried at reduced width on a CPU."""

import itertools
import re
from functools import partial

import pandas as pd
import pytest
import torch

from tmp_utils.commands import run as command
from tmp_utils.commands.bench import evening as evenings
from tmp_utils.commands.bench import full_size
from tmp_utils.commands.bench.finite import PARTS, finite_row
from tmp_utils.commands.bench.full_size import blank_backbone


def evening(path, minutes=60, step_s=0):
    """An evening whose seconds pass only when the clock is read."""
    seconds = itertools.count(step=step_s)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evenings.time, "monotonic", lambda: next(seconds))
        return list(evenings.evening("tiny", "cpu", path, minutes))


@pytest.fixture
def quick(monkeypatch):
    """Steps, clips and compiling are not run; what is finite is."""
    backbone, asked = blank_backbone("tiny", "cpu"), []

    def measured(_backbone, each, *_):
        asked.append(each)
        row = {**each._asdict(), "latents": 4, "seconds": 0.5, "peak_memory_mb": 2000.0, "status": "ok"}
        return row if each.concepts < 3 else {**each._asdict(), "latents": 12, "status": "GPU memory is not enough"}

    monkeypatch.setattr(full_size, "CASES", (("fp32", False), ("half", True)))
    monkeypatch.setattr(full_size, "COMPANIES", (1, 3))
    monkeypatch.setattr(evenings, "measured", measured)
    monkeypatch.setattr(evenings, "finite_row", partial(finite_row, clip_s=0.64))
    monkeypatch.setattr(evenings, "blank_backbone", lambda *_: backbone)
    monkeypatch.setattr(evenings, "provenance", lambda: {"machine": {"gpu": "H200"}, "commit": "abc"})
    return asked


def test_an_evening_that_is_cut_short_is_continued_and_nothing_is_measured_twice(quick, tmp_path):
    path = tmp_path / "gpu.csv"
    first = evening(path, minutes=2, step_s=10)
    done, late = ([row for row in first if (row["status"] == evenings.LATE) == is_late] for is_late in (False, True))
    assert done and late and len(evenings.read_gpu(path)) == len(done)
    assert all(row["compiled"] for row in late if row["what"] == "DB step" and row["precision"] == "bf16")
    rest = evening(path)
    assert len(rest) == len(late) and evenings.LATE not in {row["status"] for row in rest}
    assert len(quick) == len(set(quick)) and {each.concepts for each in quick} == {1, 3}
    rows = evenings.read_gpu(path)
    assert list(rows.columns) == evenings.COLUMNS and set(rows["device"]) == {"H200"} and set(rows["commit"]) == {"abc"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", rows["date"].iloc[0])
    assert evening(path) == []


def test_the_readme_shows_times_memory_what_is_finite_and_what_did_not_fit(quick, tmp_path):
    path = tmp_path / "gpu.csv"
    rows = pd.DataFrame(evening(path))
    text = evenings.gpu_in_words(evenings.read_gpu(path))
    assert text.startswith("On H200, ") and "| TI step | fp32 | 1 | 0.500 | 2.0 |" in text
    assert "| DB step | bf16, compiled | 1 |" in text and "TI step, fp32, 3 words: GPU memory is not enough" in text
    assert "In bf16, all intermediate results of every part are finite." in text
    rows.loc[rows["what"] == "VAE decoder, each intermediate", "status"] = "not finite from vocoder.conv_pre on"
    assert "In bf16, VAE decoder: not finite from vocoder.conv_pre on." in evenings.gpu_in_words(rows)


def test_the_first_module_whose_result_is_not_finite_is_named():
    backbone = blank_backbone("tiny", "cpu")
    rows = [finite_row(backbone, part, "bf16", 0.64) for part in PARTS]
    assert [row["status"] for row in rows] == ["ok"] * len(PARTS) and all(row["largest"] > 0 for row in rows)
    with torch.no_grad():
        backbone.unet.mid_block.resnets[0].conv1.bias.fill_(float("inf"))
    assert (
        finite_row(backbone, "denoiser", "bf16", 0.64)["status"] == "not finite from unet.mid_block.resnets.0.conv1 on"
    )


@pytest.mark.parametrize("option", ["--gpu", "--evening"])
def test_without_a_gpu_the_command_says_where_to_run_it(option, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command(["bench", option]) == 2
    assert "no CUDA GPU here" in capsys.readouterr().err


def test_only_an_evening_on_a_gpu_is_published(quick, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evenings, "planned", lambda *_: [])
    monkeypatch.setattr(evenings, "PARTS", ("text encoder",))
    monkeypatch.setattr(evenings, "TABLE", tmp_path / "published" / "gpu.csv")
    for option in ("--gpu", "--evening"):
        assert command(["bench", option, "--size", "tiny", "--device", "cpu", "--runs-dir", str(tmp_path)]) == 0
    assert len(evenings.read_gpu(tmp_path / "gpu.csv")) == 1 and not evenings.TABLE.exists()
    assert "complete." in capsys.readouterr().out
