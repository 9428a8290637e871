"""Runs: folders, resuming, locks, and disks that refuse."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from tmp_utils import files
from tmp_utils.files import slug, write_csv, write_json, write_tensors
from tmp_utils.runs.folder import is_done, open_run
from tmp_utils.runs.integrity import damages, read_manifest
from tmp_utils.runs.place import Place

SETTINGS = {"method": "TI", "steps": 150, "lr": 0.02, "clips": ["a.wav", "b.wav"]}


def folder_in(tmp_path: Path, seed: int = 0) -> Path:
    return Place(tmp_path, "pocket").run("sitar", "TI", "BL", seed)


def finished(tmp_path: Path, seed: int = 0, settings: dict = SETTINGS) -> Path:
    return open_run(folder_in(tmp_path, seed), settings).finish()


def test_a_run_lies_where_its_settings_say(tmp_path):
    expected = tmp_path / "pocket" / "sitar" / "DB-LoRA-BL" / "seed3"
    assert Place(tmp_path, "pocket").run("sitar", "DB-LoRA", "BL", 3) == expected
    assert not expected.exists()


def test_a_relative_runs_folder_does_not_depend_on_the_current_directory(tmp_path, monkeypatch):
    before = Place("runs", "pocket").runs_dir
    monkeypatch.chdir(tmp_path)
    assert Place("runs", "pocket").runs_dir == before == Path(__file__).parents[2] / "runs"


@pytest.mark.parametrize("name", ["ma flûte à bec", "../../etc", "尺八", "a/b", "drums ", "..", "x" * 200])
def test_any_concept_name_becomes_one_safe_folder(tmp_path, name):
    folder = Place(tmp_path, "pocket").run(name, "TI", "BL", 0)
    assert folder.parents[3] == tmp_path
    assert folder.resolve() == folder
    assert folder.parents[1].name.isascii() and " " not in folder.parents[1].name


def test_names_that_read_alike_keep_apart_and_plain_names_stay():
    assert len({slug(name) for name in ["flute", "flûte", "my flute", "my-flute"]}) == 4
    assert slug("my-flute") == "my-flute"
    assert slug("flu\u0302te") == slug("flûte")


def test_a_seed_must_be_a_whole_number(tmp_path):
    with pytest.raises(ValueError, match="whole number"):
        Place(tmp_path, "pocket").run("sitar", "TI", "BL", -1)


def test_a_run_takes_its_name_only_when_finished(tmp_path):
    folder = folder_in(tmp_path)
    with open_run(folder, SETTINGS) as run:
        write_json(run.path / "history.json", [1, 2])
        assert not folder.exists()
        run.finish()
    assert json.loads((folder / "history.json").read_text()) == [1, 2]
    assert [p.name for p in folder.parent.iterdir() if not p.name.endswith(".lock")] == ["seed0"]


def test_the_manifest_says_what_made_the_run(tmp_path):
    backbone = SimpleNamespace(id="data/pocket", hash="abc")
    run = open_run(folder_in(tmp_path), {**SETTINGS, "backbone_hash": backbone.hash}, backbone)
    with run.timed("train_s"):
        time.sleep(0.01)
    manifest = read_manifest(run.finish())
    assert manifest["status"] == "complete"
    assert manifest["parameters"] == {**SETTINGS, "backbone_hash": "abc"}
    assert manifest["backbone"] == {"id": "data/pocket", "hash": "abc"}
    assert manifest["versions"]["numpy"] == np.__version__
    assert 0.01 <= manifest["timings"]["train_s"] <= manifest["timings"]["total_s"]
    assert manifest["machine"]["cores"] >= 1
    assert "commit" in manifest


def test_the_same_settings_again_do_nothing_and_say_so(tmp_path, capsys):
    folder = finished(tmp_path)
    before = (folder / "run.json").stat().st_mtime_ns
    again = open_run(folder, dict(reversed(SETTINGS.items())))
    assert again.done and again.path == folder
    assert again.finish() == folder
    assert (folder / "run.json").stat().st_mtime_ns == before
    assert "already done" in capsys.readouterr().out


def test_tuples_and_numpy_numbers_are_the_same_settings(tmp_path):
    folder = finished(tmp_path)
    same = {**SETTINGS, "steps": np.int64(150), "clips": ("a.wav", "b.wav")}
    assert is_done(folder, same)


def test_other_settings_in_a_finished_folder_name_what_differs(tmp_path):
    folder = finished(tmp_path)
    with pytest.raises(ValueError, match=r"steps was 150 and is now 10.*delete that folder") as caught:
        open_run(folder, {**SETTINGS, "steps": 10})
    assert "lr was" not in str(caught.value)
    assert read_manifest(folder)["parameters"]["steps"] == 150


def test_a_folder_without_a_manifest_is_not_taken_for_a_run(tmp_path):
    folder_in(tmp_path).mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"no run\.json.*choose another runs_dir"):
        open_run(folder_in(tmp_path), SETTINGS)


def test_an_interrupted_run_is_resumed_with_what_it_finished(tmp_path, capsys):
    folder = folder_in(tmp_path)
    with pytest.raises(KeyboardInterrupt), open_run(folder, SETTINGS) as run, run.timed("train_s"):
        (run.path / "checkpoint.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt
    assert not folder.exists()
    assert Place(tmp_path, "pocket").runs() == []
    with open_run(folder, SETTINGS) as again:
        assert again.resumed and (again.path / "checkpoint.safetensors").read_bytes() == b"half"
        assert again.timings["train_s"] == run.timings["train_s"]
        again.finish()
    assert "interrupted before" in capsys.readouterr().out
    assert (folder / "checkpoint.safetensors").exists()


def test_a_repaired_run_is_whole_with_the_new_content_of_files_that_were_written_again(tmp_path):
    folder = folder_in(tmp_path)

    def make(clip: str) -> bool:
        """Write a clip where it is missing, and what follows from all clips in any case."""
        with open_run(folder, SETTINGS, say=lambda line: None) as run:
            if run.done:
                return False
            if "clip.wav" not in run.files:
                (run.path / "clip.wav").write_text(clip)
                run.keep("clip.wav")
            (run.path / "metrics.csv").write_text(f"scores of {(run.path / 'clip.wav').read_text()}")
            run.finish()
        return True

    assert make("a clip")
    (folder / "clip.wav").write_text("cut")
    assert make("another clip")
    assert damages(folder) == {}
    assert not make("a third clip")
    assert (folder / "metrics.csv").read_text() == "scores of another clip"


def test_what_an_interrupted_run_left_is_not_mixed_with_other_settings(tmp_path):
    first = open_run(folder_in(tmp_path), SETTINGS)
    (first.path / "checkpoint.safetensors").write_bytes(b"half")
    first.close()
    other = open_run(folder_in(tmp_path), {**SETTINGS, "lr": 1.0})
    assert not other.resumed and not (other.path / "checkpoint.safetensors").exists()
    other.close()
    assert open_run(folder_in(tmp_path), SETTINGS).resumed


def hold_in_another_process(folder: Path) -> subprocess.Popen:
    program = textwrap.dedent(f"""
        import time
        from tmp_utils.runs.folder import open_run
        run = open_run({str(folder)!r}, {SETTINGS!r}, say=lambda line: None)
        print("held", flush=True)
        time.sleep(60)
    """)
    other = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    return other


def test_a_second_process_is_told_who_writes_and_a_dead_one_holds_nothing(tmp_path):
    folder = folder_in(tmp_path)
    other = hold_in_another_process(folder)
    try:
        with pytest.raises(RuntimeError, match=f"written by process {other.pid} "):
            open_run(folder, SETTINGS)
    finally:
        other.send_signal(signal.SIGKILL)
        other.communicate()
    run = open_run(folder, SETTINGS)
    assert run.resumed
    assert run.finish() == folder


def test_opening_twice_in_one_kernel_is_rerunning_a_cell_not_a_conflict(tmp_path):
    first = open_run(folder_in(tmp_path), SETTINGS)
    second = open_run(folder_in(tmp_path), SETTINGS)
    assert second.path == first.path
    assert second.finish() == folder_in(tmp_path)


def raising(number: int):
    def refuse(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize(
    ("number", "words", "kind"),
    [(errno.EACCES, "no permission", PermissionError), (errno.ENOSPC, "no space left", OSError)],
)
def test_a_disk_that_refuses_is_named_with_the_next_move(tmp_path, monkeypatch, number, words, kind):
    monkeypatch.setattr(Path, "mkdir", raising(number))
    with pytest.raises(kind, match=words) as caught:
        open_run(folder_in(tmp_path), SETTINGS)
    assert caught.value.errno == number
    assert str(folder_in(tmp_path)) in str(caught.value) and "choose another folder" in str(caught.value).lower()


def test_a_disk_that_fills_up_leaves_the_old_file_and_nothing_half_written(tmp_path, monkeypatch):
    path = write_json(tmp_path / "results.json", {"value": 1})
    monkeypatch.setattr(os, "fsync", raising(errno.ENOSPC))
    with pytest.raises(OSError, match="no space left") as caught:
        write_json(path, {"value": 2})
    assert caught.value.errno == errno.ENOSPC
    assert json.loads(path.read_text()) == {"value": 1}
    with pytest.raises(OSError, match="no space left"):
        write_tensors(tmp_path / "adapter.safetensors", {"embedding": torch.zeros(1)})
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_inside_a_run_is_explained_and_the_run_can_go_on(tmp_path):
    folder = folder_in(tmp_path)
    with pytest.raises(OSError, match="running again continues"), open_run(folder, SETTINGS):
        raise OSError(errno.ENOSPC, "write failed")
    assert open_run(folder, SETTINGS).resumed


def test_other_disk_errors_pass_unchanged(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"), files.explain_os_errors(tmp_path):
        (tmp_path / "nowhere").read_text()


def test_json_keeps_numbers_and_refuses_what_it_cannot_hold(tmp_path):
    data = {"a": np.float32(0.5), "b": np.arange(2), "c": float("nan"), "d": tmp_path, "é": True}
    kept = json.loads(write_json(tmp_path / "x.json", data).read_text(encoding="utf-8"))
    assert kept == {"a": 0.5, "b": [0, 1], "c": None, "d": str(tmp_path), "é": True}
    with pytest.raises(TypeError, match="JSON holds"):
        write_json(tmp_path / "x.json", {"a": object()})


def test_runs_are_found_in_order_and_their_tables_joined(tmp_path):
    for seed in (10, 2, 0):
        run = open_run(folder_in(tmp_path, seed), SETTINGS)
        write_csv(run.path / "metrics.csv", pd.DataFrame({"seed": [seed], "value": [seed / 10]}))
        run.finish()
    open_run(folder_in(tmp_path, 1), SETTINGS)  # left unfinished
    assert [p.name for p in Place(tmp_path, "pocket").runs()] == ["seed0", "seed2", "seed10"]
    assert Place(tmp_path, "paper").runs() == []
    assert Place(tmp_path, "pocket").table()["value"].tolist() == [0.0, 0.2, 1.0]
    assert Place(tmp_path, "paper").table().empty
