"""Ours beside the public loop, on the same weights, clips and noise."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tmp_utils.commands import run as command
from tmp_utils.commands.bench import compare as module
from tmp_utils.commands.bench.compare import generation_row, metrics_row, training_row


@pytest.mark.usefixtures("short_clips", "quick_front_end", "quick_peak")
def test_training_and_generation_are_compared_on_the_same_noise(backbone, concept, profile):
    for method in ("TI", "DB"):
        row = training_row(backbone, concept, method, profile, clip_s=1.28, repeats=1)
        assert row["loss_ours"] == pytest.approx(row["loss_public"], rel=1e-5)
        assert row["ratio"] > 0 and row["unet"]["gflop"] > 0
    row = generation_row(backbone, ["a jazz song", "a guitar"], replace(profile, clip_s=0.64), repeats=1)
    assert row["what"] == "generation of a clip" and row["ours_s"] > 0 and row["public_s"] > 0


def test_metrics_are_compared_on_the_same_files(concept, tmp_path, ear):
    clips = list(0.1 * np.random.default_rng(0).normal(size=(3, 16000)))
    row = metrics_row(ear, clips, ["a", "bb", "ccc"], concept, tmp_path)
    assert row["ratio"] > 0
    assert ear.calls == 4 * 2 + 4 * (3 + 5), "two batches a turn of ours, a clip at a time of theirs"


def test_the_command_prints_ratios_and_writes_them(blank_folder, concept, profile, tmp_path, monkeypatch, capsys):
    row = {"what": "TI step", "ours_s": 1.0, "public_s": 2.0, "ratio": 2.0, "low": 1.5, "high": 2.5}
    monkeypatch.setattr(module, "compare", lambda *_: iter([row]))
    asked = ["--profile", "smoke", "--backbone", str(blank_folder), "--runs-dir", str(tmp_path)]
    assert command(["bench", *asked]) == 0
    written = json.loads((tmp_path / "bench-smoke.json").read_text())
    assert written["rows"] == [row] and written["versions"]["torch"]
    assert "TI step" in capsys.readouterr().out
