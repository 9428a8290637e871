"""What fine-tuning gains and loses on its way: measured anew wherever something decides it otherwise."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from results_runs import ToneEmbedder

from tmp_utils.inputs.profiles import load_profile, load_setup
from tmp_utils.personalize import personalise
from tmp_utils.runs import overfitting
from tmp_utils.runs.overfitting import drift_in_words, language_drift, learning_path, path_in_words, stop_steps
from tmp_utils.runs.place import Place
from tmp_utils.runs.protocol import Lab

pytestmark = pytest.mark.usefixtures("short_clips")


@pytest.fixture
def lab(backbone, profile, tmp_path):
    return Lab(profile, backbone, ToneEmbedder("clap:tones"), Place(tmp_path / "runs", profile.name))


def test_a_path_has_both_similarities_at_every_stop_with_n_and_interval(lab, concept, tmp_path):
    path = learning_path(lab, concept, load_setup("DB", "BL"), 0, tmp_path / "paths", stops=3)
    assert sorted(set(path["step"])) == [0, 1, 2, 3] and set(path["metric"]) == {"clap_a", "clap_t"}
    assert (path["ci_low"] <= path["value"]).all() and set(path["embedder"]) == {"clap:tones"}
    assert set(path.loc[path["metric"] == "clap_a", "n"]) == {overfitting.PATH_CLIPS}
    assert [file.name for file in (tmp_path / "paths").rglob("*") if file.is_file()] == ["path.csv"]


@pytest.mark.parametrize(("steps", "stops", "looks"), [(7, 4, [2, 4, 5, 7]), (11, 4, [3, 6, 8, 11]), (3, 4, [1, 2, 3])])
def test_a_training_is_looked_at_as_often_as_was_said_evenly_and_at_its_end(steps, stops, looks):
    assert stop_steps(steps, stops) == looks
    pocket = load_profile("pocket").methods
    assert [stop_steps(pocket[name]["steps"]) for name in ("DB", "TI")] == [[20, 40, 60, 80], [25, 50, 75, 100]]


def test_a_path_through_two_phases_ends_with_the_second(lab, concept, tmp_path):
    path = learning_path(lab, concept, load_setup("TI-DB", "BL"), 0, tmp_path / "paths", stops=2)
    assert sorted(set(path["step"])) == [0, 2, 5]  # of two steps of the word and three of the weights


def test_a_path_is_read_again_only_where_nothing_that_decides_it_changed(lab, concept, tmp_path, monkeypatch):
    row = load_setup("TI", "MW")
    first = learning_path(lab, concept, row, 0, tmp_path / "paths", stops=1)
    with monkeypatch.context() as patch:
        patch.setattr(overfitting, "prepare", None)
        pd.testing.assert_frame_equal(learning_path(lab, concept, row, 0, tmp_path / "paths", stops=1), first)
    faster = {**lab.profile.methods, "TI": {**lab.profile.methods["TI"], "lr": 2.0}}
    changed = Lab(replace(lab.profile, methods=faster), lab.backbone, lab.embedder, lab.place)
    second = learning_path(changed, concept, row, 0, tmp_path / "paths", stops=1)
    assert not np.allclose(first["value"], second["value"])
    other = Lab(lab.profile, lab.backbone, ToneEmbedder("clap:other"), lab.place)
    assert set(learning_path(other, concept, row, 0, tmp_path / "paths", stops=1)["embedder"]) == {"clap:other"}


def test_drift_is_that_of_the_bare_class_noun_so_a_new_word_causes_none(lab, concept):
    adapters = {}
    for method in ("TI", "DB"):
        values = {**lab.profile.methods[method], "lr": 0.01}
        profile = replace(lab.profile, methods={**lab.profile.methods, method: values})
        row = load_setup(method, "BL")
        adapters[method] = personalise(lab.backbone, concept, row, 0, profile=profile, progress=False)
    drift = language_drift(lab, concept, adapters, seed=0, n_clips=2)
    assert list(drift.index) == ["untrained", "TI", "DB"] and set(drift["n"]) == {2}
    assert drift.loc["TI", "value"] == pytest.approx(drift.loc["untrained", "value"])
    assert drift.loc["DB", "value"] != pytest.approx(drift.loc["untrained", "value"])


def test_what_a_path_shows_is_said_from_its_intervals():
    rows = [
        {"step": k, "metric": "clap_a", "value": v, "ci_low": v, "ci_high": v} for k, v in ((0, 0), (5, 0.6), (9, 0.5))
    ]
    follows = {0: (0.9, 0.9), 5: (0.7, 0.8), 9: (0.5, 0.65)}
    rows += [
        {"step": k, "metric": "clap_t", "value": low, "ci_low": low, "ci_high": high}
        for k, (low, high) in follows.items()
    ]
    said = path_in_words(pd.DataFrame(rows))
    assert "highest at step 5 of 9 (0.600, 0.500 at the end)" in said
    assert "0.500 [0.500, 0.650], is below that of step 5: 0.700 [0.700, 0.800]" in said
    rows[-1]["ci_high"] = 0.75
    assert "cannot be distinguished from that of step 5" in path_in_words(pd.DataFrame(rows))


def test_a_sentence_says_after_which_trainings_the_class_noun_has_moved():
    rows = {
        "untrained": (0.09, 0.05, 0.13),
        "DB-BL": (0.77, 0.7, 0.84),
        "DB-BL-PP": (0.1, 0.06, 0.14),
        "DB-TE": (0, -1, 0),
    }
    drift = pd.DataFrame(rows, index=["value", "ci_low", "ci_high"]).T
    assert drift_in_words(drift) == (
        "CLAP-A of the bare class noun is 0.09 [0.05, 0.13] untrained; it has moved to the concept after DB-BL (0.77 "
        "[0.70, 0.84]); has moved away from it after DB-TE (0.00 [-1.00, 0.00]); shows no clear change "
        "after DB-BL-PP (0.10 [0.06, 0.14])."
    )
