"""A questionnaire of two concepts, and sessions of it."""

import dataclasses

import pytest
from survey_browser import axe_source
from survey_runs import PROFILE, make_runs
from survey_sessions import Clock

from tmp_utils.runs.place import Place
from tmp_utils.survey.about import About
from tmp_utils.survey.building import build_questionnaire
from tmp_utils.survey.session import Rules, Sessions
from tmp_utils.survey.store import Store


@pytest.fixture(scope="module")
def with_practice(tmp_path_factory):
    runs_dir, concepts = make_runs(tmp_path_factory.mktemp("session"))
    about = About(completion_code="HEARD-IT", recruitment=("PROLIFIC_PID",))
    return build_questionnaire(Place(runs_dir, PROFILE), n_per_kind=3, concepts=concepts, about=about)


@pytest.fixture(scope="module")
def questionnaire(with_practice):
    return dataclasses.replace(with_practice, practice=None)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sessions(questionnaire, clock, tmp_path):
    return Sessions(questionnaire, Store(questionnaire, tmp_path / "answers.sqlite"), Rules(0.5, 0.1), clock=clock)


@pytest.fixture(scope="session")
def axe(tmp_path_factory):
    return axe_source(tmp_path_factory.mktemp("axe"))
