"""`make survey`: which study it serves, what can be said to it, and what it says itself."""

import pytest
from survey_runs import PROFILE, make_run

from tmp_utils.commands import run as run_command
from tmp_utils.commands import survey as command
from tmp_utils.runs.place import Place
from tmp_utils.survey.pairs import build_questionnaire
from tmp_utils.survey.questions import load_questionnaire, newest_questionnaire


@pytest.fixture
def survey(tmp_path, monkeypatch):
    """Runs the command on runs of a shipped concept, and returns the study that it would have served."""
    for variant, hz in (("DB-BL", 400), ("TI-BL", 600)):
        make_run(tmp_path, "sitar", variant, hz=hz)
    served = []
    monkeypatch.setattr(command, "serve", lambda folder, *rest: served.append(load_questionnaire(folder)))

    def run(*arguments):
        assert run_command(["survey", "--runs-dir", str(tmp_path), "--profile", PROFILE, *arguments]) == 0
        return served[-1]

    run.runs_dir = tmp_path
    return run


def test_what_is_said_about_a_study_is_not_ignored_where_there_is_one_already(survey, capsys):
    first = survey("--n-per-kind", "1")
    assert "--contact does" in capsys.readouterr().out
    second = survey("--n-per-kind", "1", "--contact", "you@there.org")
    assert (first.contact, second.contact) == ("", "you@there.org")
    assert survey().version == second.version
    assert survey("--n-per-kind", "1").version == first.version == survey().version


def test_a_study_is_kept_when_runs_are_added(survey):
    questionnaire = survey("--n-per-kind", "1")
    for variant in ("DB-BL", "TI-BL"):
        make_run(survey.runs_dir, "taiko", variant, hz=500)
    assert survey().version == newest_questionnaire(Place(survey.runs_dir, PROFILE)).version == questionnaire.version
    assert build_questionnaire(Place(survey.runs_dir, PROFILE), n_per_kind=1).version == survey().version
    assert survey("--build", "--n-per-kind", "2").version != questionnaire.version


def test_too_few_pairs_say_how_many_can_be_asked_for(survey, capsys):
    assert run_command(["survey", "--runs-dir", str(survey.runs_dir), "--profile", PROFILE]) == 2
    assert "--n-per-kind 2" in capsys.readouterr().err
