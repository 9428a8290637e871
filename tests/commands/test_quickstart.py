"""The quickstart: the notebook runs for the concepts named, and leaves one page each that needs no network."""

import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tmp_utils.commands import run, study
from tmp_utils.commands.quickstart import credit_lines, page

SOUND = "data:audio/ogg;base64,T2dn"
PLAYER = {"text/html": f"<audio controls src='{SOUND}'></audio>"}


@pytest.fixture
def html(tmp_path) -> str:
    """The page of a notebook with a set-up cell, parameters, a progress bar and a player."""
    bar = {"application/vnd.jupyter.widget-view+json": {"model_id": "m"}, "text/plain": "0%| | 0/3"}
    state = {"application/vnd.jupyter.widget-state+json": {"state": {"m": {}}}}
    notebook = new_notebook(metadata={"widgets": state})
    notebook.cells = [
        new_markdown_cell("# Can it play?"),
        new_code_cell("import set_up", metadata={"tags": ["set-up"]}),
        new_code_cell("speed: int = 0", metadata={"tags": ["parameters"]}),
        new_code_cell("learn()", outputs=[new_output("display_data", data=bar)]),
        new_code_cell(
            "play()",
            outputs=[new_output("display_data", data=PLAYER)],
        ),
    ]
    nbformat.write(notebook, tmp_path / "executed.ipynb")
    return page(tmp_path / "executed.ipynb", "quickstart")


def test_the_page_plays_and_shows_its_code_folded(html):
    assert "<title>quickstart</title>" in html and "Can it play?" in html and f'src="{SOUND}"' in html
    folded = re.findall(r"<details><summary>Code</summary>(.*?)</details>", html, re.DOTALL)
    assert ["learn" in folded[0], "play" in folded[1], len(folded)] == [True, True, 2]


def test_the_page_loads_nothing_from_elsewhere(html):
    assert "<script" not in html and "<link" not in html and "@import" not in html
    assert not re.findall(r"""<[^>]* (?:src|href)=["'](?!data:|#)|url\((?!["']?(?:data:|#))""", html)


def test_the_page_leaves_out_set_up_parameters_and_bars_that_stand_still(html):
    assert "set_up" not in html and "speed" not in html and "0/3" not in html


def test_the_page_ends_with_the_credit_of_a_recording_that_is_shipped(html, tmp_path):
    parameters = 'concept: str = "war_drums"'
    cells = [new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    nbformat.write(new_notebook(cells=cells), tmp_path / "quickstart.ipynb")

    def lines(**given):
        return credit_lines(study.Execution(tmp_path / "quickstart.ipynb", "quickstart", given))

    (line,) = lines()
    assert "Taiko 2" in line and "CC BY-SA 3.0, http://creativecommons.org/licenses/by-sa/3.0/" in line
    assert "cut and resampled" in line and line.endswith("by a model that learned from it.")
    assert lines(concept="koto") == [] == lines(concept=str(tmp_path))
    assert "peakfiddler" in lines(concept="irish_fiddle")[0]
    credited = page(tmp_path / "executed.ipynb", "quickstart", [f"{line} <&>"])
    assert f"{line} &lt;&amp;&gt;" in credited.rpartition("play()")[2] and "Recording:" not in html


def test_each_concept_has_its_page_and_a_folder_its_class_noun(tmp_path, monkeypatch, capsys):
    parameters = 'profile: str = "pocket"\nconcept: str = "a"\nclass_noun: str = ""\nruns_dir: str = "runs"'
    cells = [new_code_cell(parameters, metadata={"tags": ["parameters"]}), new_code_cell("print(concept, class_noun)")]
    (tmp_path / "notebooks").mkdir()
    nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks" / "quickstart.ipynb")
    (tmp_path / "drums").mkdir()
    monkeypatch.setattr(study, "NOTEBOOKS_DIR", tmp_path / "notebooks")
    monkeypatch.chdir(tmp_path)
    arguments = ["quickstart", "--runs-dir", str(tmp_path / "runs"), "--class-noun", "drum beat", "--concepts", "drums"]
    assert run(arguments) == 0
    written = tmp_path / "runs" / "pocket" / "quickstart.html"
    assert capsys.readouterr().out.splitlines()[-1] == f"Listen: {written}"
    own = written.read_text(encoding="utf-8")
    assert f"{tmp_path / 'drums'} drum beat" in own and "Recording:" not in own

    assert run([*arguments, "koto"]) == 0
    assert [Path(line).name for line in capsys.readouterr().out.splitlines() if line.startswith("Listen: ")] == [
        "quickstart-drums.html",
        "quickstart-koto.html",
    ]
