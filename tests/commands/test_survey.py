"""`make survey`: which questionnaire it serves, its options, and what it prints."""

import pytest
from survey_runs import PROFILE, make_run

from tmp_utils.commands import run as run_command
from tmp_utils.commands import survey as command
from tmp_utils.runs.place import Place
from tmp_utils.survey.building import build_questionnaire
from tmp_utils.survey.questions import load_questionnaire, newest_questionnaire
from tmp_utils.survey.store import Store


@pytest.fixture
def survey(tmp_path, monkeypatch):
    """Runs the command on runs of a shipped concept, and returns the questionnaire that it would have served."""
    for variant, hz in (("DB-BL", 400), ("TI-BL", 600)):
        make_run(tmp_path, "sitar", variant, hz=hz)
    served, run_with = [], {}

    def serve(folder, *_, **kwargs):
        served.append(load_questionnaire(folder))
        run_with.update(kwargs)

    monkeypatch.setattr(command, "serve", serve)

    def run(*arguments):
        assert run_command(["survey", "--runs-dir", str(tmp_path), "--profile", PROFILE, *arguments]) == 0
        return served[-1]

    run.runs_dir, run.with_ = tmp_path, run_with
    return run


def test_options_that_describe_another_questionnaire_build_it(survey, capsys):
    first = survey("--n-per-kind", "1")
    assert "does not tell participants responsible" in capsys.readouterr().out
    second = survey("--n-per-kind", "1", "--contact", "you@there.org")
    assert (first.about.contact, second.about.contact) == ("", "you@there.org")
    assert survey().version == second.version
    assert survey("--n-per-kind", "1").version == first.version == survey().version


def test_a_questionnaire_is_kept_when_runs_are_added(survey):
    questionnaire = survey("--n-per-kind", "1")
    for variant in ("DB-BL", "TI-BL"):
        make_run(survey.runs_dir, "taiko", variant, hz=500)
    assert survey().version == newest_questionnaire(Place(survey.runs_dir, PROFILE)).version == questionnaire.version
    assert build_questionnaire(Place(survey.runs_dir, PROFILE), n_per_kind=1).version == survey().version
    assert survey("--build", "--n-per-kind", "2").version != questionnaire.version


def test_what_participants_are_told_comes_from_a_file(survey, tmp_path, capsys):
    about = tmp_path / "mine.toml"
    about.write_text('responsible = "The lab"\ncontact = "lab@there.org"\n')
    assert survey("--n-per-kind", "1", "--about", str(about)).about.responsible == "The lab"
    assert "purpose, retention, withdrawal" in capsys.readouterr().out
    about.write_text("responsible = 7\n")
    assert run_command(["survey", "--runs-dir", str(tmp_path), "--profile", PROFILE, "--about", str(about)]) == 2
    assert "mine.toml: responsible = 7; expected a valid string" in capsys.readouterr().err


def test_how_many_are_let_in_and_invited_reaches_the_page(survey):
    survey("--n-per-kind", "1", "--participants", "34", "--invite", "40")
    assert survey.with_["rules"].max_participants == 34 and survey.with_["invitations"] == 40
    with pytest.raises(SystemExit):
        survey("--participants", "0")


def test_answers_are_exported_and_withdrawn_by_code(survey, tmp_path, capsys):
    store = Store(survey("--n-per-kind", "1"))
    code, other = store.add_participant("web"), store.add_participant("web")
    options = ["survey", "--runs-dir", str(tmp_path), "--profile", PROFILE]
    assert run_command([*options, "--withdraw", code.lower(), "--export", str(tmp_path / "out.csv")]) == 0
    assert other in (tmp_path / "out-participants.csv").read_text()
    assert code not in (tmp_path / "out-participants.csv").read_text()
    assert run_command([*options, "--withdraw", code]) == 2
    assert "is not a participant" in capsys.readouterr().err


def test_too_few_pairs_say_how_many_can_be_asked_for(survey, capsys):
    assert run_command(["survey", "--runs-dir", str(survey.runs_dir), "--profile", PROFILE]) == 2
    assert "--n-per-kind 2" in capsys.readouterr().err
