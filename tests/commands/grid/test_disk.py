"""What a grid will write is said before it starts, and adapters need not be kept."""

from dataclasses import replace
from types import SimpleNamespace

from grid_stub import cell_of, make_here

from tmp_utils.commands import run
from tmp_utils.commands.grid import disk, job
from tmp_utils.commands.grid.cells import UNTRAINED_CELL
from tmp_utils.files import write_json
from tmp_utils.inputs.profiles import load_profile
from tmp_utils.runs.disk import OTHER_BYTES, SMALL_BYTES, expected_bytes, rate_hz
from tmp_utils.runs.folder import open_run
from tmp_utils.runs.integrity import read_manifest
from tmp_utils.runs.place import Place


def test_clips_are_counted_at_two_bytes_a_sample_and_adapters_by_the_largest_of_their_method(place):
    cells = [cell_of(place, setup) for setup in (UNTRAINED_CELL, "TI-BL", "DB-BL", "DB-MIX")]
    before = disk.to_write(cells)
    assert before.clips == 4 * (30 * 163840 * 2 + OTHER_BYTES)  # pocket: 10 + 20 clips of 10.24 s at 16 kHz
    with open_run(Place(place / "runs", "pocket").run("sitar", "DB", "BL", 7), {"method": "DB"}) as made:
        (made.path / disk.ADAPTER).write_bytes(bytes(1234))
        made.finish()
    after = disk.to_write(cells)
    assert after.adapters == SMALL_BYTES + 2 * 1234
    assert before.adapters > after.adapters, "before there is one, it is counted with all its weights"
    assert before.checkpoints > 0 and disk.to_write(cells[:2]).checkpoints == 0
    assert disk.to_write(cells, n_jobs=8).checkpoints == 2 * before.checkpoints, "only two of the cells train it"


def test_clips_are_counted_at_the_models_rate(tmp_path):
    rates = {"paper": 16_000, "stable-audio-open": 44_100, "ace-step-1.5": 48_000}
    assert {name: rate_hz(load_profile(name)) for name in rates} == rates
    write_json(tmp_path / "model_index.json", {"_class_name": "StableAudioPipeline"})
    for part, values in (("vae", {"sampling_rate": 4000}), ("vocoder", {})):
        (tmp_path / part).mkdir()
        write_json(tmp_path / part / "config.json", values)
    own = replace(load_profile("stable-audio-open"), backbone=str(tmp_path))
    place, seconds = Place(tmp_path, "own"), 4 * (1 + own.n_editability_prompts) * own.clip_s
    assert expected_bytes(place, own, ["TI"]).clips == round(seconds * 4000 * 2) + OTHER_BYTES


def test_a_grid_that_does_not_fit_is_refused_before_it_starts(place, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: SimpleNamespace(free=10_000_000))
    monkeypatch.setattr("tmp_utils.commands.grid.engine.find_engine", lambda cluster: "snakemake")
    where = ["--runs-dir", str(place / "runs"), "--notebooks-dir", str(place / "notebooks")]
    assert run(["grid", "--concepts", "sitar", "--setups", "DB", *where]) == 2
    error = capsys.readouterr().err
    assert "it does not fit. Nothing was started. KEEP=clips deletes each adapter" in error and "0.0 GB free" in error
    assert not (place / "runs/pocket/grid").exists()


def test_a_run_without_its_adapter_is_done_and_says_that_it_was_dropped(place):
    cell = cell_of(place, "TI-BL")
    make_here(cell)
    for name in (disk.ADAPTER, disk.CARD):
        (cell.run / name).write_bytes(bytes(10))
    disk.drop_adapter(cell.run)
    assert cell.done and not any((cell.run / name).exists() for name in (disk.ADAPTER, disk.CARD))
    assert read_manifest(cell.run)["dropped"] == [disk.ADAPTER, disk.CARD]
    assert cell.run in Place(place / "runs", "pocket").runs()
    disk.drop_adapter(cell.run)


def test_a_job_that_keeps_clips_leaves_no_adapter_but_where_others_are_shown_beside_it(place, monkeypatch):
    def execute(cell):
        make_here(cell)
        (cell.run / disk.ADAPTER).touch()

    monkeypatch.setattr(job, "_execute", execute)
    for setup, left in (("TI-BL", False), ("DB-BL", True)):
        cell = cell_of(place, setup)
        assert job.make(cell, keep="clips") and (cell.run / disk.ADAPTER).exists() is left
