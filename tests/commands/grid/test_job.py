"""One cell made: once, by whoever comes first, and from where a killed process left it."""

import os
import signal
import subprocess
import sys

import nbformat
import pytest
from grid_stub import STEPS, cell_of, hold, steps, wait_for

from tmp_utils.commands import run
from tmp_utils.commands.grid import job
from tmp_utils.commands.grid.job import make
from tmp_utils.commands.headless import NotebookFailed


def words(place) -> list[str]:
    where = ["--runs-dir", str(place / "runs"), "--notebooks-dir", str(place / "notebooks")]
    return ["grid-job", "TI-BL", "--concept", "sitar", *where]


def test_a_job_leaves_one_executed_notebook_and_then_has_nothing_to_do(place, capsys):
    cell = cell_of(place, "TI-BL")
    assert run(words(place)) == 0 and cell.done
    made = cell.output.stat().st_mtime_ns
    assert make(cell) and cell.output.stat().st_mtime_ns == made
    assert "already done" in capsys.readouterr().out
    assert sorted(p.name for p in cell.output.parent.glob("[!.]*")) == ["TI-BL-seed0.ipynb"]
    assert sorted(p.name for p in cell.notebook.parent.iterdir()) == ["02_stub.ipynb", "03_stub.ipynb", "05_stub.ipynb"]


def test_a_failed_job_says_why_and_where_and_only_a_lost_one_is_tried_twice(place, monkeypatch):
    monkeypatch.setenv("GRID_BREAK", "1")
    cell = cell_of(place, "TI-3-AC")
    with pytest.raises(NotebookFailed, match="cell 3 raised ValueError: this setup is broken"):
        make(cell)
    failed = cell.output.with_name("TI-3-AC-seed0-failed.ipynb")
    assert cell.why_not.startswith("cell 3 raised ValueError: this setup is broken") and str(failed) in cell.why_not
    assert "this setup is broken" in failed.read_text()
    monkeypatch.delenv("GRID_BREAK")
    assert not make(cell, attempt=2) and not cell.done
    assert make(cell, attempt=1) and cell.done
    assert not failed.exists() and cell.why_not == ""


def test_a_notebook_that_leaves_no_run_has_failed(place):
    cell = cell_of(place, "TI-BL")
    nbformat.write(nbformat.v4.new_notebook(cells=nbformat.read(cell.notebook, 4).cells[:1]), cell.notebook)
    with pytest.raises(NotebookFailed, match="ran to its end but left no finished run"):
        make(cell)
    assert "ran to its end but left no finished run" in cell.why_not and not cell.done


def test_two_jobs_of_one_cell_take_turns_and_one_that_was_killed_is_gone_on_with(place, monkeypatch):
    cell = cell_of(place, "TI-BL")
    monkeypatch.setenv("GRID_HOLD", str(hold(place, 3)))
    killed = subprocess.Popen([sys.executable, "-m", "tmp_utils", *words(place)], stdout=subprocess.DEVNULL)
    kernel = steps(wait_for(cell.run.parent, ".seed0.*.partial/trace.csv", lines=3)).process[0]
    said = []

    def say(line, **_):
        said.append(line)
        if "another process is making it; waiting for it" in line:
            for process in (killed.pid, kernel):
                os.kill(process, signal.SIGKILL)
            killed.communicate()
            hold(place, STEPS)

    monkeypatch.setattr(job, "print", say, raising=False)
    assert make(cell) and cell.done and "waiting for it" in said[0] and len(said) == 2
    trace = steps(cell.run / "trace.csv")
    assert list(trace.step) == list(range(STEPS)) and trace.process.nunique() == 2
    assert list(cell.output.parent.glob(".*.partial.ipynb")) == []
