"""A grid in one process: every run once, after its reference; a failure stops only what needs it."""

import pytest
from filelock import FileLock

from tmp_utils.commands import run
from tmp_utils.commands.grid import in_process
from tmp_utils.commands.grid.cells import NOTEBOOKS_DIR, Cell
from tmp_utils.metrics.table import UNTRAINED
from tmp_utils.runs.folder import open_run
from tmp_utils.runs.place import Place


@pytest.fixture
def made(monkeypatch):
    """What is made instead of runs, in order; `made.broken` names what fails."""

    class Made(list):
        broken = ()

    made = Made()

    def one(concept, setup, seed):
        made.append(f"{concept.name} {setup} {seed}")
        if setup in made.broken:
            raise ValueError("no sound")

    monkeypatch.setattr(in_process.Lab, "load", lambda profile, runs_dir: None)
    monkeypatch.setattr(in_process, "run_reference", lambda lab, concept, seed: one(concept, UNTRAINED, seed))
    monkeypatch.setattr(in_process, "run_setup", lambda lab, concept, setup, seed: one(concept, setup.name, seed))
    return made


def grid(tmp_path, *concepts: str) -> int:
    names = ["--concepts", *concepts, "--setups", "TI-BL", "DB-BL"]
    return run(["grid", "--no-notebooks", "--runs-dir", str(tmp_path), *names])


def test_every_run_is_made_once_after_its_reference(tmp_path, made):
    assert grid(tmp_path, "sitar", "koto", "sitar") == 0
    each = (UNTRAINED, "TI-BL", "DB-BL")
    assert made == [f"{concept} {setup} 0" for concept in ("sitar", "koto") for setup in each]


def test_a_method_that_notebook_03_would_show_beside_dreambooth_is_made_alone(tmp_path, made):
    assert run(["grid", "--no-notebooks", "--runs-dir", str(tmp_path), "--concepts", "sitar", "--setups", "TI-DB"]) == 0
    assert made == [f"sitar {UNTRAINED} 0", "sitar TI-DB-BL 0"]


def test_a_failed_run_is_named_and_a_failed_reference_leaves_out_what_is_scored_with_it(tmp_path, made, capsys):
    made.broken = ("TI-BL",)
    assert grid(tmp_path, "sitar") == 1 and made[-1] == "sitar DB-BL 0"
    assert "sitar/TI-BL/seed0: ValueError: no sound" in capsys.readouterr().err
    made.clear()
    made.broken = (UNTRAINED,)
    assert grid(tmp_path, "sitar", "koto") == 1 and made == [f"sitar {UNTRAINED} 0", f"koto {UNTRAINED} 0"]
    assert "sitar/DB-BL/seed0: its reference failed" in capsys.readouterr().err


def test_a_concept_that_another_process_has_taken_comes_last(tmp_path, made, monkeypatch):
    (tmp_path / "pocket" / "sitar").mkdir(parents=True)
    lock = FileLock(tmp_path / "pocket" / "sitar" / ".seed0.turn")
    lock.acquire()
    first = in_process.run_reference
    monkeypatch.setattr(in_process, "run_reference", lambda *run: (first(*run), lock.release()))
    assert grid(tmp_path, "sitar", "koto") == 0
    assert [line.split()[0] for line in made] == ["koto"] * 3 + ["sitar"] * 3


def test_only_runs_that_are_not_finished_need_room(tmp_path, made, monkeypatch, capsys):
    monkeypatch.setattr(in_process, "check_room", lambda cells, *_: made.extend(cell.name for cell in cells))
    for setup in ("untrained-class-noun", "TI-BL"):
        cell = Cell(Place(tmp_path, "pocket"), NOTEBOOKS_DIR, setup, "sitar")
        with open_run(cell.run, cell.identity) as finished:
            finished.finish()
    assert grid(tmp_path, "sitar") == 0
    assert made[0] == "sitar/DB-BL/seed0" and made[1] == f"sitar {UNTRAINED} 0"


def test_options_of_the_engine_are_refused_where_there_is_none(tmp_path, made, capsys):
    options = ["--cluster", "slurm", "--cores", "2", "--threads", "4", "--engine-options", "--dry-run -p"]
    assert run(["grid", "--no-notebooks", "--runs-dir", str(tmp_path), "--concepts", "sitar", *options]) == 2
    assert "leave out --cluster, --cores, --threads, --engine-options." in capsys.readouterr().err and made == []
