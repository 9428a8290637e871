"""The study: notebooks executed in order, skipped when done, stopped clearly."""

import sys
from pathlib import Path

import nbformat
import pytest

from tmp_utils.commands import run, study
from tmp_utils.files import write_json
from tmp_utils.runs.disk import STUDY_MB, size_in_words
from tmp_utils.runs.place import Place


def write_notebook(folder: Path, name: str, parameters: str, *cells: str, tags: tuple = ("parameters",)) -> Path:
    notebook = nbformat.v4.new_notebook()
    tagged = nbformat.v4.new_code_cell(parameters, metadata={"tags": list(tags)})
    notebook.cells = [tagged, *(nbformat.v4.new_code_cell(cell) for cell in cells)]
    folder.mkdir(exist_ok=True)
    nbformat.write(notebook, folder / name)
    return folder / name


def test_concepts_and_seeds_go_where_a_notebook_declares_them(tmp_path):
    lists = write_notebook(tmp_path, "02_lists.ipynb", 'profile: str = "x"\nconcepts: list = ["a"]\nseeds: list = [0]')
    single = write_notebook(tmp_path, "03_single.ipynb", 'concept: str = "a"\nseed: int = 0')
    neither = write_notebook(tmp_path, "04_neither.ipynb", "steps: int = 1")
    executions = study.executions([lists, single, neither], Place(tmp_path, "pocket"), ["sitar", "oud"], [0, 1])
    assert [e.name for e in executions] == [
        "02_lists",
        "03_single-sitar-seed0",
        "03_single-sitar-seed1",
        "03_single-oud-seed0",
        "03_single-oud-seed1",
        "04_neither",
    ]
    assert executions[0].parameters == {"profile": "pocket", "concepts": ["sitar", "oud"], "seeds": [0, 1]}
    assert executions[4].parameters == {"concept": "oud", "seed": 1}
    assert executions[5].parameters == {}


def test_without_concepts_a_notebooks_own_values_stand(tmp_path):
    notebook = write_notebook(tmp_path, "02_x.ipynb", 'concept: str = "a"\nruns_dir: str = "runs"')
    (execution,) = study.executions([notebook], Place(tmp_path, "pocket"), [], [])
    assert execution.parameters == {"runs_dir": str(tmp_path)}


def test_notebooks_beside_the_papers_study_run_only_when_asked_for(tmp_path):
    for name in ["00_pocket.ipynb", "02_b.ipynb", "01_a.ipynb", "07_c.ipynb", "scratch.ipynb"]:
        write_notebook(tmp_path, name, "a: int = 1")
    assert [p.name for p in study.find_notebooks(tmp_path)] == ["01_a.ipynb", "02_b.ipynb"]
    everything = [p.name for p in study.find_notebooks(tmp_path, all_numbered=True)]
    assert everything == ["00_pocket.ipynb", "01_a.ipynb", "02_b.ipynb", "07_c.ipynb"]


def test_no_notebooks_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no notebook"):
        study.find_notebooks(tmp_path)


def test_what_a_notebook_reads_decides_whether_it_is_done(tmp_path):
    notebook = write_notebook(tmp_path / "n", "02_x.ipynb", "concept: str = 'a'")
    recordings = tmp_path / "my drums"
    recordings.mkdir()
    (recordings / "a.wav").write_bytes(b"1")
    execution = study.Execution(notebook, "02_x", {"concept": str(recordings)})
    before = study.fingerprint(execution)
    assert study.fingerprint(execution) == before
    assert study.fingerprint(execution, ["an earlier notebook"]) != before
    assert study.fingerprint(study.Execution(notebook, "02_x", {"concept": "sitar"})) != before
    (recordings / "a.wav").write_bytes(b"2")
    changed = study.fingerprint(execution)
    assert changed != before
    write_notebook(tmp_path / "n", "02_x.ipynb", "concept: str = 'b'")
    assert study.fingerprint(execution) != changed


@pytest.mark.parametrize("concept", ["sitar", "paper/sitar"])
def test_a_sound_that_changed_decides_too(tmp_path, monkeypatch, concept):
    folders = {"sitar": tmp_path / "data" / "clips" / "sitar", "paper/sitar": tmp_path / "paper" / "sitar"}
    for folder in folders.values():
        folder.mkdir(parents=True)
        (folder / "a.ogg").write_bytes(b"1")
    monkeypatch.setattr(study, "DATA_DIR", tmp_path / "data")
    monkeypatch.setattr("tmp_utils.inputs.concepts.PAPER_CLIPS_DIR", tmp_path / "paper")
    notebook = write_notebook(tmp_path / "n", "02_x.ipynb", "concept: str = 'a'")
    execution = study.Execution(notebook, "02_x", {"concept": concept})
    before = study.fingerprint(execution)
    (folders[concept] / "a.ogg").write_bytes(b"2")
    assert study.fingerprint(execution) != before


def test_the_study_runs_then_skips_then_stops_at_the_cell_that_fails(tmp_path, capsys, monkeypatch):
    first = (
        "from tmp_utils.runs.folder import open_run\nfrom tmp_utils.runs.place import Place\n"
        "folder = Place(runs_dir, profile).run('a', 'TI', 'BL', seed)"
    )
    write_notebook(
        tmp_path / "notebooks",
        "01_first.ipynb",
        'profile: str = "pocket"\nseed: int = 0\nruns_dir: str = "runs"',
        first,
        "open_run(folder, {'steps': 1}).finish()",
        "import sys, os\nprint(sys.executable, os.environ['HF_HUB_OFFLINE'])",
    )
    arguments = [
        "study",
        "--runs-dir",
        str(tmp_path / "runs"),
        "--notebooks-dir",
        str(tmp_path / "notebooks"),
        "--seeds",
        "3",
    ]
    monkeypatch.setattr(study, "HUB_MB", 0)
    monkeypatch.setattr(study.report, "read_published", lambda profile: None)  # judging it takes seconds
    assert run(arguments) == 0
    executed = tmp_path / "runs/pocket/notebooks/01_first.ipynb"
    printed = nbformat.read(executed, as_version=4).cells[-1].outputs[0].text
    assert printed == f"{sys.executable} 1\n"
    place = Place(tmp_path / "runs", "pocket")
    assert place.runs() == [tmp_path / "runs/pocket/a/TI-BL/seed3"]
    assert place.executions()["01_first"]["found"] == []
    told = capsys.readouterr().out
    assert "[1/1] 01_first: done in" in told and "has 0.0 MB, too large for a hub to show" in told
    assert "less than the 250 MB that this study may leave" in told
    assert sorted(p.name for p in executed.parent.iterdir()) == ["01_first.ipynb", "01_first.json"]

    written = executed.stat().st_mtime_ns
    assert run(arguments) == 0
    assert "[1/1] 01_first: already done" in capsys.readouterr().out
    assert executed.stat().st_mtime_ns == written

    assert run([*arguments, "--force"]) == 0  # it finds its run, and says so: it was quicker than it is for a reader
    assert place.executions()["01_first"]["found"] == ["a/TI-BL/seed3"]
    capsys.readouterr()

    write_notebook(tmp_path / "notebooks", "02_second.ipynb", "a: int = 1", "print('so far')", "1 / 0")
    assert run(arguments) == 1
    told = capsys.readouterr()
    failed = executed.with_name("02_second-failed.ipynb")
    assert "[1/2] 01_first: already done" in told.out
    assert "[2/2] 02_second: cell 3 raised ZeroDivisionError: division by zero" in told.err
    assert str(failed) in told.err and "so far" in failed.read_text()
    assert not executed.with_name("02_second.ipynb").exists()
    page = tmp_path / "runs/pocket/report/index.html"
    assert f"Report of what was finished: {page}" in told.out and "01_first" in page.read_text(encoding="utf-8")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(study.report, "write_report", full)
    assert run(arguments) == 1
    told = capsys.readouterr()
    assert "No report of what was finished" in told.err and "02_second: cell 3 raised ZeroDivisionError" in told.err


def test_what_a_study_leaves_is_said_by_kind_beside_what_it_may_leave(tmp_path, monkeypatch):
    run = Place(tmp_path, "pocket").folder / "a" / "DB-BL" / "seed0"
    (run / "clips").mkdir(parents=True)
    for name, megabytes in (("adapter.safetensors", 3), ("clips/one.flac", 2), ("clips/two.ogg", 1), ("run.json", 4)):
        (run / name).write_bytes(bytes(megabytes * 1_000_000))
    assert "takes 10 MB (clips 3, adapters 3, the rest 4), less than the 500" in size_in_words(
        Place(tmp_path, "pocket"), 2
    )
    monkeypatch.setitem(STUDY_MB, "pocket", 9)
    assert "more than the 9 MB that this study may leave" in size_in_words(Place(tmp_path, "pocket"))
    (tmp_path / "smoke").mkdir()
    assert size_in_words(Place(tmp_path, "smoke")).endswith("takes 0 MB (clips 0, adapters 0, the rest 0).")


def test_a_run_that_lost_a_file_is_looked_at_again(tmp_path):
    place = Place(tmp_path, "pocket")
    record = place.folder / "notebooks" / "x.json"
    record.parent.mkdir(parents=True)
    record.with_suffix(".ipynb").write_text("{}")
    write_json(record, {"fingerprint": "f", "elapsed_s": 1, "parameters": {}, "runs": {"a/TI-BL/seed0": 1}})
    clip = place.folder / "a/TI-BL/seed0/clips/x.wav"
    clip.parent.mkdir(parents=True)
    clip.touch()
    assert study._is_done(place, "x", "f")
    assert not study._is_done(place, "x", "g")
    clip.unlink()
    assert not study._is_done(place, "x", "f")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"fingerprint": "f"}', "\x00"])
def test_a_damaged_record_of_a_notebook_is_named_and_the_notebook_executed_again(tmp_path, content):
    place = Place(tmp_path, "pocket")
    record = place.folder / "notebooks" / "x.json"
    record.parent.mkdir(parents=True)
    record.with_suffix(".ipynb").write_text("{}")
    record.write_text(content)
    with pytest.warns(UserWarning, match=r"x\.json: damaged .* executes this notebook again"):
        assert not study._is_done(place, "x", "f")
