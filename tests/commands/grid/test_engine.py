"""The grid as a whole: what fails alone, and that neither a kill nor a second grid does harm."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest
import yaml
from grid_stub import STEPS, cell_of, hold, make_here, run_here, steps, wait_for

from tmp_utils.commands import run
from tmp_utils.commands.grid import engine
from tmp_utils.commands.grid.cells import NOTEBOOK_05
from tmp_utils.commands.grid.command import LOST
from tmp_utils.inputs.profiles import load_profile

HAS_ENGINE = (engine.ENGINE_DIR / "bin" / "snakemake").exists()
needs_engine = pytest.mark.skipif(not HAS_ENGINE, reason="no Snakemake in .venv-grid; `make grid` puts it there")


def words(place, setups: str) -> list[str]:
    where = ["--runs-dir", str(place / "runs"), "--notebooks-dir", str(place / "notebooks"), "--cores", "2"]
    return ["grid", "--concepts", "sitar", "--setups", *setups.split(), *where]


def start(place, setups: str, **environment: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "tmp_utils", *words(place, setups)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
    return subprocess.Popen(command, env=os.environ | environment, **streams)


def test_wrong_names_fail_before_anything_runs(place, capsys):
    assert run([*words(place, "TI-BL"), "--concepts", "kazoo"]) == 2
    assert '"kazoo" is neither a concept nor a folder' in capsys.readouterr().err
    assert not (place / "runs/pocket/grid").exists()


def test_a_missing_engine_is_named_with_the_way_to_get_it(place, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(engine, "ENGINE_DIR", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(words(place, "TI-BL")) == 2
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


@pytest.mark.parametrize(("sacct_ends_with", "asks_squeue"), [(0, False), (1, True), (None, True)])
def test_where_slurm_keeps_no_accounts_the_queue_is_asked(monkeypatch, tmp_path, sacct_ends_with, asks_squeue):
    if sacct_ends_with is not None:
        (tmp_path / "sacct").write_text(f"#!/bin/sh\nexit {sacct_ends_with}\n")
        (tmp_path / "sacct").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    profile = ["--workflow-profile", str(engine.SLURM_PROFILE)]
    assert engine._where("slurm", None) == profile + asks_squeue * ["--slurm-status-command", "squeue"]
    assert engine._where(str(tmp_path), None) == ["--workflow-profile", str(tmp_path)]


@pytest.mark.parametrize(("code", "said"), [(0, ""), (3, "Snakemake ended with exit code 3")])
def test_a_notebook_05_of_an_earlier_grid_does_not_count(place, monkeypatch, capsys, code, said):
    setup, metrics = cell_of(place, "TI-BL"), cell_of(place, NOTEBOOK_05)
    make_here(setup)
    metrics.output.write_text("{}")
    engine_that_does_nothing = place / "snakemake"
    engine_that_does_nothing.write_text(f"#!/bin/sh\nexit {code}\n")
    engine_that_does_nothing.chmod(0o755)
    monkeypatch.setattr(engine, "find_engine", lambda cluster: str(engine_that_does_nothing))
    assert run(words(place, "TI-BL")) == 1
    printed = capsys.readouterr()
    assert "metrics: not finished" in printed.err and said in printed.err and "1 jobs failed" in printed.out


@pytest.mark.parametrize(
    ("name", "device", "asks"),
    [("pocket", "auto", False), ("pocket", "cuda", True), ("paper", "auto", True), ("paper", "cpu", False)]
    + [(name, "auto", True) for name in ("musicldm", "audioldm2", "stable-audio-3-small", "ace-step-1.5")],
)
def test_jobs_ask_for_a_gpu_where_the_profile_needs_one(name, device, asks):
    assert engine.needs_gpu(replace(load_profile(name), device=device)) is asks


@needs_engine
def test_a_killed_grid_a_lost_worker_and_a_second_grid_give_the_table_of_an_uninterrupted_one(place, tmp_path):
    setups, held = "TI-BL TI-3-AC", str(hold(place, 3))
    killed = start(place, setups, GRID_HOLD=held)
    trace = wait_for(place / "runs/pocket/sitar", "TI-BL/.seed0.*.partial/trace.csv", lines=3)
    os.killpg(killed.pid, signal.SIGKILL)
    os.kill(steps(trace).process.iloc[-1], signal.SIGKILL)
    killed.communicate()
    hold(place, 6)
    first = start(place, setups, GRID_HOLD=held, GRID_BREAK="1")
    trace = wait_for(place / "runs/pocket/sitar", "TI-BL/.seed0.*.partial/trace.csv", lines=6)
    second = start(place, f"{setups} DB-BL", GRID_HOLD=held)
    kernel = steps(trace).process.iloc[-1]
    worker = int(subprocess.check_output(["ps", "-o", "ppid=", "-p", str(kernel)], text=True))
    for process in (worker, kernel):
        os.kill(process, signal.SIGKILL)
    hold(place, STEPS)
    printed = [grid.communicate(timeout=240)[0] for grid in (first, second)]
    assert second.returncode == 0, printed
    if first.returncode:  # the broken setup was its own to make, or the second grid was still making it
        reasons = ["cell 3 raised ValueError: this setup is broken", LOST]
        assert any(f"sitar/TI-3-AC/seed0: {reason}" in printed[0] for reason in reasons), printed[0]
    for setup in ("TI-BL", "TI-3-AC", "DB-BL"):
        assert list(steps(place / "runs/pocket/sitar" / setup / "seed0/trace.csv").step) == list(range(STEPS)), setup
    assert steps(place / "runs/pocket/sitar/TI-BL/seed0/trace.csv").process.nunique() == 3
    run_here(tmp_path / "whole", [("TI", ["BL", "3-AC"]), ("DB", ["BL"])])
    table = "runs/pocket/results.csv"
    assert (place / table).read_bytes() == (tmp_path / "whole" / table).read_bytes()


@needs_engine
def test_a_failed_job_does_not_stop_the_others_and_the_next_grid_mends_it(place, monkeypatch, capfd):
    monkeypatch.setenv("GRID_BREAK", "1")
    assert run(words(place, "TI-3-AC TI-MW")) == 1
    printed = capfd.readouterr()
    assert "sitar/TI-3-AC/seed0: cell 3 raised ValueError" in printed.err and "-failed.ipynb" in printed.err
    assert list(pd.read_csv(place / "runs/pocket/results.csv").setup) == ["MW"]
    monkeypatch.delenv("GRID_BREAK")
    assert run(words(place, "TI-3-AC TI-MW")) == 0
    assert "3 jobs, 2 already done" in capfd.readouterr().out
    assert list(pd.read_csv(place / "runs/pocket/results.csv").setup) == ["3-AC", "MW"]
    assert list((place / "runs/pocket/grid").glob(".engine-*"))[1:] == [], "only the failed grid's engine is kept"


def test_the_slurm_profile_names_no_cluster_of_anyones():
    profile = yaml.safe_load((engine.SLURM_PROFILE / "config.yaml").read_text())
    assert profile["executor"] == "slurm"
    assert not {"slurm_account", "slurm_partition"} & set(profile["default-resources"])
    assert json.dumps(profile).count("/") == 0
