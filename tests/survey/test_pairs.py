"""From runs to a questionnaire, and reading it from its folder."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from survey_runs import PROFILE, make_run, make_runs

from tmp_utils.inputs.audio import loudness_lufs
from tmp_utils.runs.integrity import fingerprints
from tmp_utils.runs.place import Place
from tmp_utils.survey.building import build_questionnaire
from tmp_utils.survey.pairs import find_pairs
from tmp_utils.survey.questions import STUDY_FILE, content_hash, find_questionnaires, load_questionnaire, plan
from tmp_utils.survey.stimuli import as_wav


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


def test_a_questionnaire_has_four_of_each_kind_and_two_catch_trials_with_the_class_noun_in_the_prompts(questionnaire):
    kinds = pd.Series([question.kind for question in questionnaire.questions if not question.catch]).value_counts()
    assert kinds.to_dict() == {"reconstruction": 4, "editability": 4}
    assert [question.kind for question in questionnaire.questions if question.catch] == [
        "reconstruction",
        "editability",
    ]
    prompts = [question.prompt for question in questionnaire.questions if question.kind == "editability"]
    assert all(prompt.count("strange noun") == 1 and "secret" not in prompt for prompt in prompts)
    assert {question.concept for question in questionnaire.questions} == {"lute", "gong"}


def test_shipped_recordings_are_credited_in_a_file_of_the_folder_and_nothing_else_is(questionnaire, tmp_path):
    assert questionnaire.credits == []  # of a user's own folders
    for name in ("koto", "war_drums"):
        for k, variant in enumerate(("DB-MIX", "TI-BL")):
            make_run(tmp_path, name, variant, n_prompts=1, n_clips=1, hz=400 + 200 * k)
    built = build_questionnaire(Place(tmp_path, PROFILE), ("DB-MIX", "TI-BL"), n_per_kind=1)
    text = (built.folder / "CREDITS.txt").read_text(encoding="utf-8")
    drums, sounds, learned = built.credits
    assert text == f"{drums}\n{sounds}\n{learned}\n" and "by models that learned from these" in learned
    assert drums.startswith('"Taiko 2" by Wildfire Games') and sounds.startswith('"Ambient sounds of 0 A.D."')
    (built.folder / "CREDITS.txt").unlink()  # of one that was built before there were credits
    assert load_questionnaire(built.folder).credits == []
    again = build_questionnaire(Place(tmp_path, PROFILE), ("DB-MIX", "TI-BL"), n_per_kind=1)
    assert (again.version, again.credits) == (built.version, [drums, sounds, learned])


def test_every_clip_of_a_questionnaire_is_as_loud_and_encoded_alike_under_a_name_that_says_nothing(questionnaire):
    for question in questionnaire.questions:
        for role, file in question.files.items():
            clip, rate_hz = soundfile.read(questionnaire.clip(file))
            assert loudness_lufs(clip, rate_hz) == pytest.approx(question.level_lufs, abs=0.1)
            assert soundfile.info(questionnaire.clip(file)).subtype == "PCM_16" and rate_hz == 16000
            assert not {role, question.concept, "DB", "TI"} & set(file.replace(".", "-").split("-"))
    sizes = [
        len(as_wav(questionnaire.clip(q.files[role]))) for q in questionnaire.questions for role in ("first", "second")
    ]
    assert len({size for size, q in zip(sizes[::2], questionnaire.questions, strict=True) if not q.catch}) == 1
    assert sizes[::2] == sizes[1::2]  # of what is sent, the sizes do not tell them apart


def test_a_participant_is_sent_a_wav_with_the_samples_of_the_file(questionnaire):
    path = questionnaire.clip(questionnaire.headphones["apq"])
    sent, rate_hz = soundfile.read(io.BytesIO(as_wav(path)), dtype="int16")
    assert path.suffix == ".flac" and as_wav(path)[:4] == b"RIFF" and rate_hz == 16000
    np.testing.assert_array_equal(sent, soundfile.read(path, dtype="int16")[0])


def test_the_same_runs_and_seed_give_the_same_questionnaire_and_another_seed_another(runs, questionnaire):
    again = build_questionnaire(Place(runs[0], PROFILE), n_per_kind=4, concepts=runs[1])
    other = build_questionnaire(Place(runs[0], PROFILE), n_per_kind=4, seed=1, concepts=runs[1])
    assert again == questionnaire and other.version != questionnaire.version
    assert questionnaire.folder in find_questionnaires(Place(runs[0], PROFILE))
    assert not list(questionnaire.folder.parent.glob(".*"))


def test_each_participant_has_their_own_order_and_sides_and_every_variant_is_a_half_the_time(questionnaire):
    orders = {tuple(plan(questionnaire, f"code {k}")) for k in range(20)}
    assert len(orders) == 20 and plan(questionnaire, "code 1") == plan(questionnaire, "code 1")
    for order in orders:
        assert order[0].question == "p01" and sorted(p.question for p in order[1:]) == sorted(
            q.id for q in questionnaire.questions
        )
        for kind in ("reconstruction", "editability"):
            block = [p for p in order[1:] if questionnaire.question(p.question).kind == kind]
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
    with pytest.raises(ValueError, match=r"0 usable reconstruction pairs; n_per_kind=1 needs 1.* no such file"):
        build_questionnaire(Place(runs_dir, PROFILE), n_per_kind=1, concepts=concepts)


def _with_both_unusable(runs_dir, concepts):
    """A questionnaire whose draw met both unusable pairs."""
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


@pytest.fixture(scope="module")
def built(runs):
    return build_questionnaire(Place(runs[0], PROFILE), n_per_kind=1, concepts=runs[1]).folder


@pytest.fixture
def copy(built, tmp_path):
    """A copy of a questionnaire, and how to change its file: with the right version for the new content, or without."""
    folder = Path(shutil.copytree(built, tmp_path / "copy"))

    def change(edit, hashed=True):
        content = json.loads((folder / STUDY_FILE).read_text())
        edit(content)
        if hashed:
            content.pop("version")
            content["version"] = content_hash(content, folder)
        (folder / STUDY_FILE).write_text(json.dumps(content))
        return folder

    change.folder = folder
    return change


def test_a_questionnaire_that_was_changed_is_refused(copy, tmp_path):
    with pytest.raises(ValueError, match="were changed since version"):
        load_questionnaire(copy(lambda content: content["questions"][0].update(prompt="kazoo"), hashed=False))
    assert load_questionnaire(copy(lambda content: None)).questions[0].prompt == "kazoo"
    clip = next((copy.folder / "clips").iterdir())
    clip.write_bytes(clip.read_bytes()[:-2])
    with pytest.raises(ValueError, match="were changed since version"):
        load_questionnaire(copy.folder)
    clip.unlink()
    with pytest.raises(FileNotFoundError, match=r"\.flac: no such file. Restore"):
        load_questionnaire(copy.folder)
    with pytest.raises(FileNotFoundError, match="make survey"):
        load_questionnaire(tmp_path)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../answers.sqlite", "../study.json", "link.flac", "", ".", "folder.flac"]
)
def test_a_file_outside_the_questionnaire_s_clips_is_refused_also_where_the_version_fits(copy, tmp_path, name):
    (tmp_path / "secret.flac").write_bytes(b"fLaC of somebody else")
    (copy.folder / "clips" / "link.flac").symlink_to(tmp_path / "secret.flac")
    (copy.folder / "clips" / "folder.flac").mkdir()
    for place in ("question", "check", "practice"):
        with pytest.raises(
            (ValueError, FileNotFoundError), match=r"study.json: .*(leads out of|is not a sound file)|no such file"
        ):
            load_questionnaire(copy(lambda content, place=place: _name_file(content, place, name)))


def _name_file(content, place, name):
    if place == "check":
        content["headphones"]["apq"] = name
    else:
        (content["practice"] if place == "practice" else content["questions"][0])["files"]["first"] = name


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda c: c["questions"][0].update(duration_s=-1),
            r"questions.0.duration_s = -1; expected greater than",
        ),
        (lambda c: c["questions"][0].update(duration_s=float("nan")), "questions.0.duration_s = nan"),
        (lambda c: c["questions"][1].update(kind="<b>"), "questions.1.kind = '<b>'; expected 'reconstruction'"),
        (lambda c: c["questions"][0].update(id="../x"), "questions.0.id"),
        (lambda c: c["questions"][0].update(color="red"), "questions.0.color is not understood"),
        (lambda c: c["questions"][0].pop("prompt"), "no questions.0.prompt"),
        (lambda c: c["questions"].append(c["questions"][0]), "questions r01 are in it twice"),
        (lambda c: c["questions"][0]["files"].pop("first"), r"question r01 has files of \['reference', 'second'\]"),
        (lambda c: c.update(questions=[]), "no questions of kind editability and reconstruction"),
        (lambda c: c["headphones"].pop("paq"), "headphones has apq, aqp, pqa, qap, qpa; expected apq"),
        (lambda c: c.update(about={"contact": 5}), "about.contact = 5"),
        (lambda c: c.clear(), "version = None; expected a valid string"),
    ],
)
def test_values_that_cannot_be_name_the_file_the_field_and_what_is_allowed(copy, edit, message):
    with pytest.raises(ValueError, match=rf"study\.json: .*{message}"):
        load_questionnaire(copy(edit, hashed=False))


def test_questions_are_spread_over_all_concepts(tmp_path):
    names = ("drum", "flute", "gong", "lute")
    runs_dir, concepts = make_runs(tmp_path, names=names, n_prompts=1, n_clips=1)
    questionnaire = build_questionnaire(Place(runs_dir, PROFILE), n_per_kind=2, concepts=concepts)
    assert sorted(q.concept for q in questionnaire.questions if not q.catch) == list(names)
    questionnaire = build_questionnaire(Place(runs_dir, PROFILE), n_per_kind=4, concepts=concepts)
    for kind in ("reconstruction", "editability"):
        assert sorted(q.concept for q in questionnaire.questions if q.kind == kind and not q.catch) == list(names)


def test_a_run_whose_files_are_damaged_or_named_elsewhere_is_not_played(tmp_path):
    runs_dir, concepts = make_runs(tmp_path, names=("lute",), n_prompts=1, n_clips=2)
    ti = runs_dir / PROFILE / "lute" / "TI-BL" / "seed0"
    manifest = json.loads((ti / "run.json").read_text())
    (ti / "run.json").write_text(json.dumps({**manifest, "files": fingerprints(ti, {})}))
    clip = ti / "clips" / "reconstruction-0.wav"
    soundfile.write(clip, soundfile.read(clip)[0][::-1], 16000)
    with pytest.raises(ValueError, match=r"1 usable reconstruction pairs.*its content is not what was written"):
        build_questionnaire(Place(runs_dir, PROFILE), n_per_kind=2, concepts=concepts)
    table = ti / "clips" / "clips.csv"
    table.write_text(table.read_text().replace("reconstruction-1.wav", "reconstruction-0.wav"))
    with pytest.raises(ValueError, match=r"clips\.csv: damaged"):
        find_pairs(Place(runs_dir, PROFILE))
    (ti / "run.json").write_text(json.dumps(manifest))
    rows = pd.read_csv(table, dtype=str)
    for column, value, message in (
        ("file", "/etc/passwd", "'/etc/passwd' leads out of"),
        ("file", "../../x.wav", "leads out of"),
        ("index", "one", "clips.csv: index 'one'; expected a whole number"),
        ("kind", "reconstructed", "clips.csv: kind 'reconstructed'; expected reconstruction or"),
    ):
        rows.assign(**{column: value}).to_csv(table, index=False)
        with pytest.raises(ValueError, match=message):
            find_pairs(Place(runs_dir, PROFILE))


def test_a_questionnaire_without_questions_is_refused(runs):
    with pytest.raises(ValueError, match="n_per_kind=0: expected at least one"):
        build_questionnaire(Place(runs[0], PROFILE), n_per_kind=0, concepts=runs[1])


def test_a_run_without_its_manifest_is_named(tmp_path):
    runs_dir, _ = make_runs(tmp_path, names=("lute",), n_prompts=1)
    (runs_dir / PROFILE / "lute" / "TI-BL" / "seed0" / "clips" / "clips.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"TI-BL/seed0/clips/clips.csv: missing"):
        find_pairs(Place(runs_dir, PROFILE))


def test_the_manifest_that_generation_writes_is_the_one_that_pairs_are_made_from():
    from tmp_utils.inputs.profiles import load_profile
    from tmp_utils.model.generate import CLIPS_CSV, planned_clips

    clips = planned_clips(load_profile("smoke"), "strange noun", 0)
    assert {"file", "prompt_id", "kind", "family", "index"} <= set(clips.columns)
    assert set(clips["kind"]) == {"reconstruction", "editability"} and CLIPS_CSV == "clips.csv"
