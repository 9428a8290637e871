"""Notebook 06: without runs, and with a questionnaire and the answers of others."""

import ast

import nbformat
import pandas as pd
import pytest
from plotly.graph_objects import Figure
from survey_runs import PROFILE, make_run

from tmp_utils.runs.place import Place
from tmp_utils.runs.provenance import PROJECT_DIR
from tmp_utils.survey.questions import find_questionnaires
from tmp_utils.survey.simulate import example_questions, simulate_answers

NOTEBOOK = PROJECT_DIR / "notebooks" / "06_user_study.ipynb"


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    """Parameters -> what the notebook's cells print and show, one after another, and its figures' titles."""

    def execute(**parameters):
        titles, names = [], {}
        monkeypatch.setattr(Figure, "show", lambda figure: titles.append(figure.layout.title.text))
        for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
            if cell.cell_type != "code":
                continue
            body = ast.parse(cell.source).body
            last = body.pop() if isinstance(body[-1], ast.Expr) else None
            exec(compile(ast.Module(body, []), "cell", "exec"), names)
            if last and (value := eval(ast.unparse(last), names)) is not None:
                print(value)
            if "parameters" in cell.metadata.get("tags", []):
                names |= {"profile": PROFILE, "runs_dir": str(tmp_path / "runs"), **parameters}
        return capsys.readouterr().out, titles

    return execute


def test_without_runs_it_says_what_to_run_and_reads_the_simulated_answers_labelled_so(run, tmp_path):
    text, titles = run()
    assert "make study" in text and "simulated rater" in text
    assert len(titles) == 4
    assert [title for title in titles if "simulated rater" not in title] == [titles[2]]  # the paper's own numbers
    table = pd.read_csv(tmp_path / "runs" / PROFILE / "survey" / "preference.csv", keep_default_na=False)
    assert set(table["source"]) == {"simulated rater"} and len(table) == 8


def test_with_runs_it_builds_a_questionnaire_and_takes_any_csv_of_answers(run, tmp_path):
    for variant, hz in (("DB-BL", 400), ("TI-BL", 600)):
        make_run(tmp_path / "runs", "sitar", variant, hz=hz)
    answers = simulate_answers(example_questions(n_per_kind=4), 8).assign(source="web")
    answers.to_csv(tmp_path / "real.csv", index=False)
    text, titles = run(answers_csv=str(tmp_path / "real.csv"))
    assert len(find_questionnaires(Place(tmp_path / "runs", PROFILE))) == 1
    assert "6 questions, version" in text and "not to the questionnaire above" in text
    assert [title for title in titles if "simulated" in title] == []
