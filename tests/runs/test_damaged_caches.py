"""Manifests and caches that cannot be read: refused by name, or made again."""

import pandas as pd
import pytest
from results_runs import PROFILE, clip, collect, make_run, rows

from tmp_utils.files import below
from tmp_utils.runs.integrity import read_manifest, record, recorded
from tmp_utils.runs.place import Place


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"parameters": null}', '{"parameters": 3}'])
def test_a_manifest_without_parameters_is_refused_by_name(tmp_path, content):
    folder = make_run(tmp_path, "lute", "TI", "BL")
    (folder / "run.json").write_text(content)
    with pytest.raises(ValueError, match=r"seed0/run\.json .*Delete the folder it is in, and run it again"):
        read_manifest(folder)


def test_a_cut_manifest_is_named_by_whoever_checks_the_runs_files(tmp_path):
    folder = make_run(tmp_path, "lute", "TI", "BL")
    (folder / "run.json").write_text((folder / "run.json").read_text()[:-40])
    with pytest.raises(ValueError, match=r"seed0/run\.json is damaged .*Delete the folder"):
        recorded(folder)


def test_a_run_that_lost_its_manifest_is_left_out_by_name_and_other_folders_do_not_count(tmp_path):
    lost, whole = make_run(tmp_path, "lute", "TI", "BL"), make_run(tmp_path, "lute", "DB", "BL")
    (lost / "run.json").unlink()
    (whole.parent / "seed0 copy").mkdir()
    with pytest.warns(UserWarning, match=r"TI-BL/seed0 has no run\.json and is left out"):
        assert Place(tmp_path, PROFILE).runs() == [whole]


@pytest.mark.parametrize("name", ["/etc/passwd", "../clip.wav", "a/../../clip.wav"])
def test_a_name_that_leads_out_of_its_folder_is_refused_and_fails_the_run(scored, name):
    with pytest.raises(ValueError, match="leads out of"):
        below("runs", name)
    listing = clip(scored, file="clips.csv")
    listing.write_text(listing.read_text().replace("reconstruction-0.wav", name))
    record(listing.parents[1], "clips/clips.csv")
    (listing.parents[1] / "metrics.csv").unlink()
    row = rows(collect(scored), concept="lute", method="DB", setup="BL", metric="clap_a")
    assert row["status"].item() == "failed" and "leads out of" in row["note"].item()


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"\xff{}"])
@pytest.mark.parametrize("pattern", [".cache/pooled-*.csv", ".cache/embeddings/*/*.npy"])
@pytest.mark.filterwarnings("ignore:.*damaged cached embedding")
def test_a_damaged_cache_is_made_again_with_the_same_numbers(scored, pattern, damage):
    whole = collect(scored)
    paths = sorted((scored[0] / PROFILE).glob(pattern))
    assert paths
    for path in paths:
        path.write_bytes(damage(path.read_bytes()))
    if pattern.endswith("npy"):
        for path in (scored[0] / PROFILE).glob("lute/*-BL/seed0/metrics.csv"):
            path.unlink()
    pd.testing.assert_frame_equal(collect(scored), whole)
