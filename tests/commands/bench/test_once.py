"""Every part of a run once, on a small backbone."""

import sys
from pathlib import Path

import pandas as pd

from tmp_utils.commands import run as command
from tmp_utils.commands.bench import once as module
from tmp_utils.inputs.profiles import load_profile
from tmp_utils.model.architectures import FULL_SIZE
from tmp_utils.model.published import published


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


def test_the_readmes_gpus_are_the_smallest_by_count_and_by_what_was_measured():
    lines = Path("README.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| GPU for")]
    profiles = next(line for line in lines if line.startswith("| `profile` | `paper`")).split("`")[3::2]
    peaks = module.read_once().assign(model=lambda table: table["model"].map(FULL_SIZE))
    for (what, *stated), method in zip(rows, ("TI", "DB-LoRA", "DB"), strict=True):
        for profile, cell in zip(profiles, stated, strict=True):
            of = published(load_profile(profile).backbone)
            counted = 0.004 * (of.denoiser * (4 if method == "DB" else 1) + of.others) + 1.5
            done = (peaks["model"] == profile) & ~peaks["what"].isin({"TI step", "DB-LoRA step"} - {f"{method} step"})
            needed = max([counted, *peaks[done]["peak_memory_gb"]])
            assert cell == next((f"{gb} GB" for gb in (12, 16, 24) if gb > needed), "more"), (what, profile, needed)


def test_without_a_backbone_the_command_says_how_to_get_one(capsys):
    assert command(["bench", "--once"]) == 2
    assert "make fake-backbone" in capsys.readouterr().err
