"""Whose recordings a run was made from: found by what they are, and refused where they are others."""

import shutil

from results_runs import PROFILE, collect, make_run, rows, tone

from tmp_utils.files import write_json
from tmp_utils.findings import results
from tmp_utils.inputs.audio import save_clip
from tmp_utils.runs.collection import user_concepts
from tmp_utils.runs.integrity import read_manifest
from tmp_utils.runs.place import Place


def test_recordings_that_are_not_those_a_run_learned_from_fail_its_scores_and_say_so(scored):
    assert set(rows(collect(scored), concept="lute")["status"]) == {"ok"}
    save_clip(scored[1][0] / "1.wav", tone(333, 1))
    for folder in (scored[0] / PROFILE).glob("lute/*/seed0"):
        (folder / "metrics.csv").unlink()
    failed = rows(collect(scored), concept="lute")
    assert set(failed["status"]) == {"failed"} and failed["note"].str.contains("other recordings than this run").all()


def remember(scored, concept, folder, seed=0):
    """Let the runs of a concept know the folder that they were made from."""
    for run in (scored[0] / PROFILE).glob(f"{concept}/*/seed{seed}"):
        write_json(run / "run.json", read_manifest(run) | {"recordings": str(folder)})


def test_recordings_are_found_where_the_runs_remember_them_or_by_what_they_are_under_another_name(scored):
    for folder in scored[1]:
        remember(scored, folder.name, folder)
    found = results.collect_results(Place(scored[0], PROFILE), say=lambda line: None)
    assert set(found["status"]) == {"ok"}
    lute = scored[1][0]
    moved = lute.rename(lute.with_name("renamed"))
    own = user_concepts(Place(scored[0], PROFILE), [moved])
    assert own["lute"].clips[0].parent == moved and own["lute"].class_noun == "guitar" and "harp" in own
    assert "lute" not in user_concepts(Place(scored[0], PROFILE))
    next(moved.glob("*.wav")).unlink()
    assert "lute" not in user_concepts(Place(scored[0], PROFILE), [moved])


def test_of_two_folders_the_one_with_a_runs_own_recordings_is_taken(scored):
    make_run(scored[0], "lute", "TI", "BL", seed=1)
    copy = scored[1][0].with_name("copy") / "lute"
    shutil.copytree(scored[1][0], copy)
    remember(scored, "lute", scored[1][0])
    remember(scored, "lute", copy, seed=1)
    next(scored[1][0].glob("*.wav")).unlink()
    assert user_concepts(Place(scored[0], PROFILE))["lute"].clips[0].parent == copy
