"""Every part of a run once, on a small backbone."""

import sys

import pandas as pd

from tmp_utils.commands import run as command
from tmp_utils.commands.bench import once as module


def test_every_part_is_measured_once_and_a_models_new_rows_replace_its_old_ones(blank_folder, tmp_path):
    path = tmp_path / "once.csv"
    row = {**dict.fromkeys(module.COLUMNS, "x"), "seconds": 1, "peak_memory_gb": 2}
    pd.DataFrame([{**row, "model": "other"}, {**row, "model": blank_folder.name}]).to_csv(path, index=False)
    rows = list(module.once(blank_folder, path, clip_s=0.64))
    assert [row["what"] for row in rows] == ["load", "a clip to latents", "TI step", "DB-LoRA step", "a clip in 1 step"]
    assert sys.platform != "linux" or all(0.1 < row["peak_memory_gb"] < 20 for row in rows)
    assert list(module.read_once(path)["model"]) == ["other", *[blank_folder.name] * 5]
    made = module.read_once(path).iloc[1:].assign(commit="0123456789abcdef+changes")
    words = module.once_in_words(made)
    assert "commit 0123456789+changes, " in words
    assert words.startswith("| random weights | load |") and "| `audioldm` | " in words


def test_without_a_backbone_the_command_says_how_to_get_one(capsys):
    assert command(["bench", "--once"]) == 2
    assert "make fake-backbone" in capsys.readouterr().err
