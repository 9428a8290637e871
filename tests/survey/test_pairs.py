"""From runs to a listening study."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile
from survey_runs import PROFILE, make_run, make_runs

from tmp_utils.inputs.audio import loudness_lufs
from tmp_utils.runs.place import Place
from tmp_utils.survey.pairs import build_questionnaire, find_pairs
from tmp_utils.survey.questions import find_questionnaires, load_questionnaire, plan


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return make_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def questionnaire(runs):
    return build_questionnaire(Place(runs[0], PROFILE), n_per_kind=4, concepts=runs[1])


def test_pairs_share_concept_seed_prompt_and_index(runs):
    pairs = find_pairs(Place(runs[0], PROFILE))
    assert len(pairs) == 2 * 4 * 2  # concepts x prompts x clips
    for row in pairs.itertuples():
        assert row.file_first.replace("DB-BL", "TI-BL") == row.file_second


def test_a_study_has_four_of_each_kind_and_two_catch_trials_with_the_class_noun_in_the_prompts(questionnaire):
    kinds = pd.Series([question.kind for question in questionnaire.questions if not question.catch]).value_counts()
    assert kinds.to_dict() == {"reconstruction": 4, "editability": 4}
    assert [question.kind for question in questionnaire.questions if question.catch] == [
        "reconstruction",
        "editability",
    ]
    prompts = [question.prompt for question in questionnaire.questions if question.kind == "editability"]
    assert all(prompt.count("strange noun") == 1 and "secret" not in prompt for prompt in prompts)
    assert {question.concept for question in questionnaire.questions} == {"lute", "gong"}


def test_every_clip_of_a_study_is_as_loud_and_encoded_alike_under_a_name_that_says_nothing(questionnaire):
    for question in questionnaire.questions:
        for role, file in question.files.items():
            clip, rate_hz = soundfile.read(questionnaire.clip(file))
            assert loudness_lufs(clip, rate_hz) == pytest.approx(question.level_lufs, abs=0.1)
            assert soundfile.info(questionnaire.clip(file)).subtype == "PCM_16" and rate_hz == 16000
            assert not {role, question.concept, "DB", "TI"} & set(file.replace(".", "-").split("-"))
    sizes = [
        questionnaire.clip(q.files[role]).stat().st_size
        for q in questionnaire.questions
        for role in ("first", "second")
    ]
    assert len({size for size, q in zip(sizes[::2], questionnaire.questions, strict=True) if not q.catch}) == 1
    assert sizes[::2] == sizes[1::2]  # of two clips, the sizes do not tell them apart


def test_the_same_runs_and_seed_give_the_same_study_and_another_seed_another(runs, questionnaire):
    again = build_questionnaire(Place(runs[0], PROFILE), n_per_kind=4, concepts=runs[1])
    other = build_questionnaire(Place(runs[0], PROFILE), n_per_kind=4, seed=1, concepts=runs[1])
    assert again == questionnaire and other.version != questionnaire.version
    assert questionnaire.folder in find_questionnaires(Place(runs[0], PROFILE))
    assert not list(questionnaire.folder.parent.glob(".*"))


def test_each_participant_has_their_own_order_and_sides_and_every_variant_is_a_half_the_time(questionnaire):
    orders = {tuple(plan(questionnaire, f"code {k}")) for k in range(20)}
    assert len(orders) == 20 and plan(questionnaire, "code 1") == plan(questionnaire, "code 1")
    for order in orders:
        assert sorted(p.question for p in order) == sorted(q.id for q in questionnaire.questions)
        for kind in ("reconstruction", "editability"):
            block = [p for p in order if questionnaire.question(p.question).kind == kind]
            assert sum(p.first_is_a for p in block if not questionnaire.question(p.question).catch) == 2
            assert not questionnaire.question(block[0].question).catch


def test_runs_without_pairs_say_which_runs_there_are(runs):
    with pytest.raises(ValueError, match=r"no pairs of DB-BL and DB-MIX.*gong/DB-BL"):
        find_pairs(Place(runs[0], PROFILE), ("DB-BL", "DB-MIX"))
    with pytest.raises(ValueError, match="Finished runs: none"):
        find_pairs(Place(runs[0], "paper"))
    with pytest.raises(ValueError, match="two or more"):
        find_pairs(Place(runs[0], PROFILE), ("DB-BL", "DB-BL"))


def test_runs_of_different_seeds_are_no_pairs(tmp_path):
    make_run(tmp_path, "lute", "DB-BL", seed=0)
    make_run(tmp_path, "lute", "TI-BL", seed=1)
    with pytest.raises(ValueError, match="no pairs"):
        find_pairs(Place(tmp_path, PROFILE))


@pytest.mark.filterwarnings("ignore:1 pairs were left out")
def test_missing_and_silent_clips_are_left_out_named_and_counted(tmp_path):
    runs_dir, concepts = make_runs(tmp_path, names=("lute",), n_prompts=1)
    ti = runs_dir / PROFILE / "lute" / "TI-BL" / "seed0" / "clips"
    (ti / "reconstruction-0.wav").unlink()
    soundfile.write(ti / "genre-jazz-0.wav", np.zeros(9600), 16000)
    with pytest.warns(UserWarning, match=r"2 pairs were left out.*genre-jazz, 0.*silent"):
        questionnaire = _with_both_unusable(runs_dir, concepts)
    assert len(questionnaire.left_out) == 2 and str(tmp_path) not in str(questionnaire.left_out)
    (ti / "reconstruction-1.wav").unlink()
    with pytest.raises(ValueError, match=r"0 usable reconstruction pairs, and 1 .* no such file"):
        build_questionnaire(Place(runs_dir, PROFILE), n_per_kind=1, concepts=concepts)


def _with_both_unusable(runs_dir, concepts):
    """A study whose draw met both unusable pairs."""
    for seed in range(30):
        questionnaire = build_questionnaire(Place(runs_dir, PROFILE), n_per_kind=1, seed=seed, concepts=concepts)
        if len(questionnaire.left_out) == 2:
            return questionnaire
    raise AssertionError("no seed drew both")


def test_more_than_two_variants_are_compared_in_all_pairs(tmp_path):
    variants = ("DB-BL", "TI-BL", "DB-LoRA-BL")
    runs_dir, concepts = make_runs(tmp_path, variants, ("lute",))
    questionnaire = build_questionnaire(Place(runs_dir, PROFILE), variants, n_per_kind=3, concepts=concepts)
    compared = {(q.first, q.second) for q in questionnaire.questions if q.kind == "editability" and not q.catch}
    assert compared == {("DB-BL", "TI-BL"), ("DB-BL", "DB-LoRA-BL"), ("TI-BL", "DB-LoRA-BL")}


def test_a_changed_or_damaged_study_is_refused(tmp_path):
    runs_dir, concepts = make_runs(tmp_path, names=("lute",))
    folder = build_questionnaire(Place(runs_dir, PROFILE), n_per_kind=1, concepts=concepts).folder
    text = (folder / "study.json").read_text()
    (folder / "study.json").write_text(text.replace("strange noun", "kazoo"))
    with pytest.raises(ValueError, match="were changed since version"):
        load_questionnaire(folder)
    (folder / "study.json").write_text(json.dumps({"version": "x"}))
    with pytest.raises(ValueError, match="damaged"):
        load_questionnaire(folder)
    with pytest.raises(FileNotFoundError, match="make survey"):
        load_questionnaire(tmp_path)


def test_a_study_without_questions_is_refused(runs):
    with pytest.raises(ValueError, match="n_per_kind=0: expected at least one"):
        build_questionnaire(Place(runs[0], PROFILE), n_per_kind=0, concepts=runs[1])


def test_a_run_without_its_manifest_is_named(tmp_path):
    runs_dir, _ = make_runs(tmp_path, names=("lute",), n_prompts=1)
    (runs_dir / PROFILE / "lute" / "TI-BL" / "seed0" / "clips" / "clips.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"TI-BL/seed0/clips/clips.csv: no such file"):
        find_pairs(Place(runs_dir, PROFILE))


def test_the_manifest_that_generation_writes_is_the_one_that_pairs_are_made_from():
    from tmp_utils.inputs.profiles import load_profile
    from tmp_utils.model.generate import MANIFEST, planned_clips

    clips = planned_clips(load_profile("smoke"), "strange noun", 0)
    assert {"file", "prompt_id", "kind", "family", "index"} <= set(clips.columns)
    assert set(clips["kind"]) == {"reconstruction", "editability"} and MANIFEST == "clips.csv"
