"""A mirror: what a session that ended leaves there goes on in the next, and what is wrong with it stops no run."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from mirror_session import IDENTITY, opened, place_in, write_checkpoint
from results_runs import ToneEmbedder, use_quick_ears, use_tone_embedder

from tmp_utils import files
from tmp_utils.files import write_json, write_text
from tmp_utils.inputs.profiles import load_setup
from tmp_utils.personalize import loop
from tmp_utils.runs import mirror as mirrors
from tmp_utils.runs.folder import open_run
from tmp_utils.runs.integrity import damages
from tmp_utils.runs.lab import Lab
from tmp_utils.runs.mirror import MARK, open_mirror
from tmp_utils.runs.place import Place
from tmp_utils.runs.protocol import run_setup

RUN = "pocket/sitar/TI-BL/seed0"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_next_session_goes_on_from_the_checkpoint_and_from_what_was_entered(tmp_path):
    _, run = opened(tmp_path)
    write_text(run.path / "history.csv", "step\n1\n")
    run.keep("history.csv")
    write_checkpoint(run, 1)
    write_checkpoint(run, 2)
    run.close()
    left, said = contents(run.path), []
    _, again = opened(tmp_path, "second", said.append)
    after = contents(again.path)
    assert again.resumed and not again.damaged and set(again.files) == {"history.csv"}
    manifests = [json.loads(content.pop("run.json")) for content in (left, after)]
    assert after == left and "checkpoints/step-2/optimizer" in after
    assert manifests[0]["parameters"] == manifests[1]["parameters"] and "copied" not in manifests[1]
    assert "0 finished and 1 unfinished runs restored" in said[0]


def test_a_finished_run_is_restored_to_the_byte_and_its_unfinished_copy_goes(tmp_path):
    _, run = opened(tmp_path)
    write_checkpoint(run, 1)
    shutil.rmtree(run.path / "checkpoints")
    write_text(run.path / "metrics.csv", "value\n1\n")
    folder = run.finish()
    assert [path.name for path in (tmp_path / "mirror" / RUN).parent.iterdir()] == ["seed0"]
    assert contents(tmp_path / "mirror" / RUN) == contents(folder)
    _, again = opened(tmp_path, "second")
    assert again.done and contents(again.folder) == contents(folder)
    assert damages(again.folder) == {}
    stamps = [(each / "metrics.csv").stat().st_mtime_ns for each in (folder, again.folder)]
    assert stamps[0] == stamps[1]  # so that no reader hashes it again


def test_a_run_that_was_made_without_the_mirror_is_copied_when_it_is_next_met(tmp_path):
    open_run(place_in(tmp_path / "first").run("sitar", "TI", "BL", 0), IDENTITY).finish()
    _, again = opened(tmp_path)
    assert again.done and (tmp_path / "mirror" / RUN / "run.json").is_file()


def test_what_the_local_disk_has_is_not_replaced(tmp_path):
    _, run = opened(tmp_path)
    write_checkpoint(run, 1)
    run.close()
    shutil.rmtree(run.path / "checkpoints")
    _, again = opened(tmp_path)
    assert again.resumed and not (again.path / "checkpoints").exists()


@pytest.mark.parametrize("damage", ["half", "other", "gone"])
def test_half_copied_files_are_not_taken_and_of_a_checkpoint_then_nothing(tmp_path, damage):
    _, run = opened(tmp_path)
    write_text(run.path / "history.csv", "step\n1\n")
    write_text(run.path / "cost.json", "{}")
    run.keep("history.csv", "cost.json")
    write_checkpoint(run, 1)
    run.close()
    (copy,) = (tmp_path / "mirror" / RUN).parent.glob(".seed0.*.partial")
    for name in ("history.csv", "checkpoints/step-1/optimizer"):
        whole = (copy / name).read_text()
        (copy / name).unlink()
        if damage != "gone":
            (copy / name).write_text(whole[:-3] + "xyz" * (damage == "other"))
    _, again = opened(tmp_path, "second")
    assert set(again.damaged) == {"history.csv"} and set(again.files) == {"cost.json"}
    assert not (again.path / "checkpoints").exists() and not (again.path / "history.csv").exists()


def test_a_damaged_manifest_in_the_mirror_is_named_and_the_run_begins_anew(tmp_path):
    opened(tmp_path)[1].finish()
    (tmp_path / "mirror" / RUN / "run.json").write_text('{"status": "compl')
    said = []
    _, again = opened(tmp_path, "second", said.append)
    assert not again.done and not again.resumed and "damaged and not restored" in said[0]


def test_names_in_a_mirror_that_lead_out_of_the_run_are_not_followed(tmp_path):
    opened(tmp_path)[1].finish()
    manifest = json.loads((tmp_path / "mirror" / RUN / "run.json").read_text())
    manifest["files"]["../../../x"] = {"bytes": 0, "changed_ns": 0, "sha256": ""}
    write_json(tmp_path / "mirror" / RUN / "run.json", manifest)
    said = []
    assert not opened(tmp_path, "second", said.append)[1].done and "leads out of" in said[0]


@pytest.mark.parametrize("how", ["removed", "unmounted"])
def test_a_mirror_that_vanishes_is_told_once_and_is_not_made_on_the_local_disk(tmp_path, how):
    said = []
    _, run = opened(tmp_path, say=said.append)
    write_checkpoint(run, 1)
    (tmp_path / "mirror").rename(tmp_path / "away")
    if how == "unmounted":
        (tmp_path / "mirror").mkdir()
    for step in (2, 3):
        write_checkpoint(run, step)
    folder = run.finish()
    assert folder.is_dir() and len(said) == 1 and f"{MARK} is not there" in said[0] and "Runs continue" in said[0]
    assert not (tmp_path / "mirror").exists() or not list((tmp_path / "mirror").iterdir())
    shutil.rmtree(tmp_path / "mirror", ignore_errors=True)
    (tmp_path / "away").rename(tmp_path / "mirror")
    _, again = opened(tmp_path)  # it is back, and gets what it lacks
    assert again.done and (tmp_path / "mirror" / RUN / "run.json").is_file()


@pytest.fixture(params=["tmpfs", "simulated"])
def small_mirror(request, tmp_path, monkeypatch):
    """A mirror with room for 64 kB."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    if request.param == "tmpfs":
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
        if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("mounting needs root")
        yield folder
        subprocess.run(["umount", str(folder)], check=True)
        return
    copy = shutil.copyfileobj

    def full(source, target, *size):
        if str(folder) in str(target.name) and len(source.read()) > 1 << 16:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        source.seek(0)
        copy(source, target, *size)

    monkeypatch.setattr(files.shutil, "copyfileobj", full)
    yield folder


def test_a_full_mirror_is_told_once_keeps_what_was_whole_and_stops_nothing(tmp_path, small_mirror):
    said = []
    _, run = opened(tmp_path, say=said.append)
    write_checkpoint(run, 1)
    write_text(run.path / "clips", "x" * (1 << 17))
    for step in (2, 3):
        write_checkpoint(run, step)
    run.close()
    assert len(said) == 1 and "No space left on device" in said[0] and "runs_dir" not in said[0]
    assert not list(small_mirror.rglob("*.tmp"))
    _, again = opened(tmp_path, "second")
    assert again.resumed and (again.path / "checkpoints").is_dir()


def test_a_mirror_that_cannot_be_is_refused_before_anything_is_made(tmp_path):
    place = place_in(tmp_path / "runs")
    with pytest.raises(FileNotFoundError, match=r"cannot be made: No such file.*Mount its disk"):
        open_mirror(tmp_path / "drive" / "mirror", place)
    for folder in (place.runs_dir, place.runs_dir / "mirror", tmp_path):
        with pytest.raises(ValueError, match="overlap"):
            open_mirror(folder, place)
    assert open_mirror("", place) is None and list(tmp_path.iterdir()) == []


def test_checkpoints_wait_where_copies_take_long_and_finished_runs_do_not(tmp_path, monkeypatch):
    mirror, run = opened(tmp_path)
    clock = iter([0.0, 10.0, 50.0, 99.0, 100.0, 101.0])  # a copy of 10 s; 50 and 99 are too early for the next
    monkeypatch.setattr(mirrors.time, "monotonic", lambda: next(clock))
    copied = []
    monkeypatch.setattr(mirror, "_copy", lambda folder: copied.append(folder.name))
    for _ in range(4):
        mirror.copy(run.path, may_wait=True)
    assert len(copied) == 2
    monkeypatch.setattr(mirrors.time, "monotonic", lambda: 101.5)
    mirror.copy(run.path)
    assert len(copied) == 3


def session(tmp_path: Path, name: str) -> tuple[subprocess.Popen, int]:
    """A process, with a child, that goes on with the run in a runs folder of its own; and the step it began from."""
    program = Path(__file__).parents[1] / "mirror_session.py"
    command = [sys.executable, str(program), str(tmp_path), name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    return process, int(process.stdout.readline())


def test_a_session_killed_with_its_children_at_any_moment_goes_on_on_an_empty_disk(tmp_path):
    moments, before = random.Random(0), 0
    for k in range(2):
        process, step = session(tmp_path, f"session-{k}")
        assert step >= before
        time.sleep(moments.uniform(0.05, 0.15))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        shutil.rmtree(tmp_path / f"session-{k}")
        before = max(step, 1)
    _, again = opened(tmp_path, "last")
    (checkpoint,) = (again.path / "checkpoints").iterdir()
    step = int(checkpoint.name.removeprefix("step-"))
    assert step > before and contents(checkpoint) == {
        "adapter": f"adapter {step}".encode(),
        "optimizer": f"moments {step}".encode(),
    }


@pytest.mark.usefixtures("short_clips")
def test_a_training_that_goes_on_from_a_mirror_gives_the_same_bytes(backbone, profile, concept, tmp_path, monkeypatch):
    use_quick_ears(monkeypatch)
    use_tone_embedder(monkeypatch)  # the second embedder
    profile = replace(profile, methods={**profile.methods, "TI": {**profile.methods["TI"], "checkpoint_every": 1}})
    setup = load_setup("TI", "BL")

    def lab(name: str, with_mirror: bool = True) -> Lab:
        place = Place(tmp_path / name, profile.name)
        mirror = open_mirror(tmp_path / "mirror", place) if with_mirror else None
        return Lab(profile, backbone, ToneEmbedder("clap:tones"), place, mirror)

    whole = run_setup(lab("whole", with_mirror=False), concept, setup, 0)
    update = loop.Training.update

    def interrupted(training, losses):
        if training.adapter.steps == 2:
            raise KeyboardInterrupt
        update(training, losses)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # after two of three steps
        patch.setattr(loop.Training, "update", interrupted)
        run_setup(lab("first"), concept, setup, 0)
    shutil.rmtree(tmp_path / "first")
    said = []
    resumed = run_setup(lab("second"), concept, setup, 0, say=said.append)
    assert "continues from what it finished" in said[0]
    one, other = contents(whole), contents(resumed)
    copied = contents(tmp_path / "mirror" / profile.name / resumed.relative_to(tmp_path / "second" / profile.name))
    assert copied == other and {"adapter.safetensors", "metrics.csv", "clips/clips.csv"} <= one.keys() == other.keys()
    assert {name for name in one if one[name] != other[name]} == {"cost.json", "run.json"}  # which hold seconds
