"""The grid: which jobs, what is skipped, what fails alone, and that neither a kill nor a second grid does harm."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from grid_stub import STEPS, run_here, write_notebooks, write_references

from tmp_utils.commands import run as main
from tmp_utils.commands.grid import engine, job
from tmp_utils.commands.grid.plan import choose_setups, plan
from tmp_utils.inputs.audio import save_clip
from tmp_utils.inputs.profiles import list_setups
from tmp_utils.runs import folder as runs
from tmp_utils.runs.identity import CLASS_NOUN

HAS_ENGINE = (engine.ENGINE_DIR / "bin" / "snakemake").exists()
needs_engine = pytest.mark.skipif(not HAS_ENGINE, reason="no Snakemake in .venv-grid; `make grid` puts it there")


@pytest.fixture
def place(tmp_path) -> Path:
    write_notebooks(tmp_path / "notebooks")
    write_references(tmp_path / "runs", ["sitar"], [0, 1])
    return tmp_path


def planned(place: Path, setups: list[str], seeds: tuple = (0,), concepts: tuple = ("sitar",)) -> list:
    where = (place / "runs", place / "notebooks")
    return plan("pocket", concepts, choose_setups(setups), seeds, *where)


def order(job_: object, again: bool = False) -> dict:
    keys = ("notebook", "parameters", "run", "settings", "output")
    return {key: getattr(job_, key) for key in keys} | {"again": again}


def words(place: Path, setups: str) -> list[str]:
    where = ["--runs-dir", str(place / "runs"), "--notebooks-dir", str(place / "notebooks"), "--cores", "2"]
    return ["grid", "--concepts", "sitar", "--setups", *setups.split(), *where]


def start(place: Path, setups: str, **environment: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "tmp_utils", *words(place, setups)]
    return subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL, start_new_session=True)


def start_job(place: Path, order_: dict, **environment: str) -> subprocess.Popen:
    path = place / "order.json"
    runs.write_json(path, order_)
    command = [sys.executable, "-m", "tmp_utils", "grid-job", str(path)]
    return subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True)


def wait_for(path: Path, pattern: str, timeout_s: float = 90) -> Path:
    for _ in range(round(timeout_s / 0.1)):
        found = sorted(path.glob(pattern))
        if found and found[0].read_text():
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"nothing like {pattern} in {path} after {timeout_s} s")


def steps(place: Path, variant: str) -> pd.DataFrame:
    return pd.read_csv(place / "runs/pocket/sitar" / variant / "seed0/trace.csv", names=["step", "process"])


def test_setups_are_chosen_by_name_by_method_or_all():
    assert [s.name for s in choose_setups(["TI-MW", "TI-BL", "TI-MW"])] == ["TI-MW", "TI-BL"]
    assert {s.method for s in choose_setups(["TI"])} == {"TI"} and len(choose_setups(["paper"])) == 10
    assert choose_setups(["all"]) == list_setups()
    with pytest.raises(ValueError, match=r'unknown setup "XX"; choose all, paper, a method'):
        choose_setups(["XX"])


def test_a_grid_is_every_cell_once_after_the_untrained_backbone(place):
    jobs = {j.name: j for j in planned(place, ["TI-BL", "DB-MIX"], (0, 1))}
    cells = {f"02/sitar/TI-BL-seed{k}" for k in (0, 1)} | {f"03/sitar/DB-MIX-seed{k}" for k in (0, 1)}
    assert set(jobs) == cells | {"reference/sitar/seed0", "reference/sitar/seed1"}
    one = jobs["03/sitar/DB-MIX-seed1"]
    assert one.after == ("reference/sitar/seed1",)
    assert (one.parameters["setups"], one.parameters["seeds"]) == (["MIX"], [1])
    assert one.parameters["in_depth"] is False, "a grid trains what it was asked for, and nothing beside it"
    assert one.run == runs.run_folder(place / "runs", "pocket", "sitar", "DB", "MIX", 1)
    assert jobs["reference/sitar/seed0"].run.parent.name == f"untrained-{CLASS_NOUN}"


def test_a_method_that_is_shown_beside_dreambooth_waits_for_it(place):
    jobs = {j.name: j for j in planned(place, ["DB-LoRA"])}
    assert jobs["03/sitar/DB-LoRA-BL-seed0"].after[-1] in jobs
    assert jobs["03/sitar/DB-LoRA-BL-seed0"].parameters["others"] == ["DB-LoRA"]


def test_wrong_names_fail_before_anything_runs(place, capsys):
    assert main([*words(place, "TI-BL"), "--concepts", "kazoo"]) == 2
    assert '"kazoo" is neither a concept nor a folder' in capsys.readouterr().err
    assert not (place / "runs/pocket/grid").exists()


def test_a_missing_engine_is_named_with_the_way_to_get_it(place, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(engine, "ENGINE_DIR", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(words(place, "TI-BL")) == 2
    assert "Snakemake, which runs the grid, is not installed. `make grid` installs it" in capsys.readouterr().err


def test_a_missing_slurm_is_named(monkeypatch, tmp_path):
    snakemake = tmp_path / "bin" / "snakemake"
    snakemake.parent.mkdir()
    snakemake.touch(mode=0o755)
    monkeypatch.setattr(engine, "ENGINE_DIR", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert engine.find_engine() == str(snakemake)
    with pytest.raises(FileNotFoundError, match="no SLURM here: `sbatch` is not on PATH"):
        engine.find_engine(cluster=True)


def test_why_slurm_took_no_job_is_said_however_much_the_engine_said_after_it(place, capsys):
    said = "import sys; print('    message: SLURM sbatch failed: Invalid account', *range(99), sep='\\n'); sys.exit(1)"
    engine._follow([sys.executable, "-c", said], planned(place, ["TI-BL"]), place)
    assert capsys.readouterr().err.endswith("engine.log):\n  message: SLURM sbatch failed: Invalid account\n")


@pytest.mark.parametrize(("sacct_ends_with", "asks_squeue"), [(0, False), (1, True), (None, True)])
def test_where_slurm_keeps_no_accounts_the_queue_is_asked(monkeypatch, tmp_path, sacct_ends_with, asks_squeue):
    if sacct_ends_with is not None:
        (tmp_path / "sacct").write_text(f"#!/bin/sh\nexit {sacct_ends_with}\n")
        (tmp_path / "sacct").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    profile = ["--workflow-profile", str(engine.SLURM_PROFILE)]
    assert engine._place("slurm", None) == profile + asks_squeue * ["--slurm-status-command", "squeue"]
    assert engine._place(str(tmp_path), None) == ["--workflow-profile", str(tmp_path)]


def test_a_job_leaves_one_executed_notebook_and_then_has_nothing_to_do(place, capsys):
    cell = planned(place, ["TI-BL"])[1]
    assert not cell.done and job.do(order(cell)) and cell.done
    made = cell.output.stat().st_mtime_ns
    assert job.do(order(cell)) and cell.output.stat().st_mtime_ns == made
    assert "already done" in capsys.readouterr().out
    assert sorted(p.name for p in cell.output.parent.glob("[!.]*")) == ["TI-BL-seed0.ipynb"]
    assert list(cell.notebook.parent.glob("kernel*")) == []


def test_a_run_that_was_deleted_makes_its_job_undone(place):
    cell = planned(place, ["TI-BL"])[1]
    assert job.do(order(cell))
    (cell.run / runs.MANIFEST).unlink()
    assert not cell.done


def test_a_finished_run_of_other_settings_is_not_taken_for_the_one_that_was_asked_for(place):
    cell = planned(place, ["TI-BL"])[1]
    assert job.do(order(cell)) and cell.done
    manifest = runs.read_manifest(cell.run)
    other = cell.settings["hyperparameters"] | {"lr": 999.0}
    for parameters, done in ((cell.settings, True), (cell.settings | {"hyperparameters": other}, False)):
        runs.write_json(cell.run / runs.MANIFEST, manifest | {"parameters": manifest["parameters"] | parameters})
        assert cell.done is done


def test_two_folders_that_would_be_one_concept_are_refused(place):
    for part in "ab":
        folder = place / part / "drums"
        folder.mkdir(parents=True)
        save_clip(folder / "0.wav", np.full(16000, 0.1 if part == "a" else 0.2))
        (folder / "concept.toml").write_text('class_noun = "drums"')
    with pytest.raises(ValueError, match=r'a/drums and .*b/drums would both be "drums"; rename one'):
        planned(place, ["TI-BL"], concepts=(str(place / "a/drums"), str(place / "b/drums")))
    assert len(planned(place, ["TI-BL"], concepts=(str(place / "a/drums"), str(place / "a/drums")))) == 2


def test_a_failed_job_says_why_and_where_and_only_a_lost_one_is_tried_twice(place, monkeypatch):
    monkeypatch.setenv("GRID_BREAK", "1")
    cell = planned(place, ["TI-3-AC"])[1]
    assert not job.do(order(cell))
    failed = cell.output.with_name("TI-3-AC-seed0-failed.ipynb")
    assert cell.why_not.startswith("cell 3 raised ValueError: this setup is broken") and str(failed) in cell.why_not
    assert "this setup is broken" in failed.read_text()
    monkeypatch.delenv("GRID_BREAK")
    assert not job.do(order(cell), attempt=2) and not cell.done
    assert job.do(order(cell), attempt=1) and cell.done
    assert not failed.exists() and cell.why_not == ""


def test_a_notebook_that_leaves_no_run_has_failed(place):
    cell = planned(place, ["TI-BL"])[1]
    nbformat.write(nbformat.v4.new_notebook(cells=nbformat.read(cell.notebook, 4).cells[:1]), cell.notebook)
    assert not job.do(order(cell))
    assert "came to its end and left no finished run" in cell.why_not


def test_two_grids_at_one_cell_take_turns_and_the_second_finds_it_done(place):
    cell = planned(place, ["TI-BL"])[1]
    first = start_job(place, order(cell), GRID_PAUSE_S="0.2")
    wait_for(cell.run.parent, ".seed0.*.partial/trace.csv")
    second = start_job(place, order(cell))
    said = [process.communicate(timeout=90)[0] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0]
    assert "another process is making it; waiting for it" in said[1] and "already done" in said[1]
    trace = steps(place, "TI-BL")
    assert list(trace.step) == list(range(STEPS)) and trace.process.nunique() == 1


def test_a_job_whose_process_was_killed_goes_on_at_its_step(place):
    cell = planned(place, ["TI-BL"])[1]
    first = start_job(place, order(cell), GRID_PAUSE_S="0.5")
    trace = wait_for(cell.run.parent, ".seed0.*.partial/trace.csv")
    kernel = int(trace.read_text().split(",")[1].split()[0])
    for process in (first.pid, kernel):
        os.kill(process, signal.SIGKILL)
    first.communicate()
    assert not cell.done and list(cell.output.parent.glob(".*.partial.ipynb"))
    assert job.do(order(cell))
    assert list(steps(place, "TI-BL").step) == list(range(STEPS)) and steps(place, "TI-BL").process.nunique() == 2
    assert list(cell.output.parent.glob(".*.partial.ipynb")) == []


@needs_engine
def test_a_failed_job_does_not_stop_the_others_and_the_next_grid_mends_it(place, monkeypatch, capsys):
    monkeypatch.setenv("GRID_BREAK", "1")
    assert main(words(place, "TI-3-AC TI-MW")) == 1
    told = capsys.readouterr()
    assert "02/sitar/TI-MW-seed0: done" in told.out and "05/05_stub: done" in told.out
    assert "02/sitar/TI-3-AC-seed0: cell 3 raised ValueError" in told.err and "-failed.ipynb" in told.err
    table = pd.read_csv(place / "runs/pocket/results.csv")
    assert list(table.setup) == ["MW"]
    monkeypatch.delenv("GRID_BREAK")
    assert main(words(place, "TI-3-AC TI-MW")) == 0
    assert "3 jobs, 2 already done" in capsys.readouterr().out
    assert list(pd.read_csv(place / "runs/pocket/results.csv").setup) == ["3-AC", "MW"]


@needs_engine
def test_a_killed_grid_and_two_at_once_give_the_table_of_an_uninterrupted_one(place, tmp_path):
    killed = start(place, "TI-BL TI-MW", GRID_PAUSE_S="0.5")
    wait_for(place / "runs/pocket/sitar", "TI-*/.seed0.*.partial/trace.csv")
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    both = [start(place, "TI-BL TI-MW"), start(place, "TI-MW TI-BL DB-BL")]
    assert [grid.wait(timeout=180) for grid in both] == [0, 0]
    for variant in ("TI-BL", "TI-MW", "DB-BL"):
        assert list(steps(place, variant).step) == list(range(STEPS)), variant
    run_here(tmp_path / "whole", [("TI", ["BL", "MW"]), ("DB", ["BL"])])
    table = "runs/pocket/results.csv"
    assert (place / table).read_bytes() == (tmp_path / "whole" / table).read_bytes()


@needs_engine
def test_a_worker_that_is_lost_is_tried_again_by_its_grid(place):
    hold = place / "hold"
    hold.write_text("3")
    grid = start(place, "TI-BL", GRID_HOLD=str(hold))
    trace = wait_for(place / "runs/pocket/sitar", "TI-BL/.seed0.*.partial/trace.csv")
    kernel = trace.read_text().split()[0].split(",")[1]
    worker = subprocess.check_output(["ps", "-o", "ppid=", "-p", kernel], text=True)
    for process in (worker, kernel):
        os.kill(int(process), signal.SIGKILL)
    hold.write_text(str(STEPS))
    assert grid.wait(timeout=180) == 0
    assert list(steps(place, "TI-BL").step) == list(range(STEPS)) and steps(place, "TI-BL").process.nunique() == 2


def test_the_engines_lock_and_the_studys_cannot_be_one():
    root = engine.WORKFLOW.parents[1]
    locks = {}
    for name in ("requirements.lock", "notebooks/grid.lock"):
        lines = [x for x in (root / name).read_text().splitlines() if "==" in x and not x.startswith("#")]
        locks[name] = dict(line.split(";")[0].strip().lower().split("==") for line in lines)
    study, grid = locks.values()
    assert {"snakemake", "snakemake-executor-plugin-slurm"} <= set(grid)
    assert grid["packaging"] != study["packaging"]


def test_the_slurm_profile_names_no_cluster_of_anyones():
    profile = yaml.safe_load((engine.SLURM_PROFILE / "config.yaml").read_text())
    assert profile["executor"] == "slurm"
    assert not {"slurm_account", "slurm_partition"} & set(profile["default-resources"])
    assert json.dumps(profile).count("/") == 0
