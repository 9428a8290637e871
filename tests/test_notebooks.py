"""The notebooks as they are committed: short cells, much prose, no outputs, one parameters cell."""

import ast
import importlib
import json
import re
import tomllib
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))
MAX_CELL_LINES = 25
MIN_PROSE = 0.45


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request) -> nbformat.NotebookNode:
    content = nbformat.read(request.param, as_version=4)
    content.metadata["stem"] = request.param.stem
    return content


def code(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def parameters(notebook) -> list:
    return [cell for cell in code(notebook) if "parameters" in cell.metadata.get("tags", [])]


def test_there_are_notebooks():
    names = [path.stem for path in NOTEBOOKS]
    assert {"quickstart", "00_pocket_backbone", "01_data", "02_textual_inversion"} <= set(names)


def test_a_notebook_is_valid_and_committed_without_outputs(notebook):
    nbformat.validate(notebook)
    assert [cell.outputs for cell in code(notebook) if cell.outputs] == []
    assert [cell.execution_count for cell in code(notebook) if cell.execution_count] == []
    assert "widgets" not in notebook.metadata


def test_a_notebook_has_one_parameters_cell_of_annotated_literals_with_words_and_a_form_field_for_each(notebook):
    (cell,) = parameters(notebook)
    words, lines = "", cell.source.splitlines()
    fields = [line for line in lines if not line.startswith("# @markdown ")]
    for statement, line in zip(ast.parse(cell.source).body, fields, strict=True):
        assert isinstance(statement, ast.AnnAssign), line
        ast.literal_eval(statement.value)
        assert re.search(r"  # @param [\[{].*[\]}]$", line), f"give it a form field: {line}"
        above = lines[lines.index(line) - 1]
        words = above if above.startswith("# @markdown ") else words
        assert f"`{statement.target.id}`" in words, f"say what it is for: {line}"


def test_a_notebook_says_first_what_the_session_has_and_what_it_needs(notebook):
    (first, *_others) = (cell for cell in code(notebook)[2:])
    assert f'print(session_line(profile, runs_dir, "{notebook.metadata["stem"]}"))' in first.source


def test_a_notebook_takes_a_profile_and_a_runs_folder(notebook):
    (cell,) = parameters(notebook)
    assert {"profile", "runs_dir"} <= {s.target.id for s in ast.parse(cell.source).body}


def test_the_form_offers_every_profile(notebook):
    """Notebook 00 makes the pocket model; 07 has masks on mels, which the other families' VAEs do not decode to."""
    if notebook.metadata["stem"].startswith(("00", "07")):
        return
    (line,) = (line for line in parameters(notebook)[0].source.splitlines() if line.startswith("profile:"))
    profiles = tomllib.loads((NOTEBOOKS[0].parents[1] / "data" / "profiles.toml").read_text(encoding="utf-8"))
    assert set(json.loads(line.partition("# @param ")[2])) == set(profiles)


def test_code_cells_are_short(notebook):
    assert max(len(cell.source.splitlines()) for cell in code(notebook)) <= MAX_CELL_LINES


def test_nearly_half_the_cells_are_prose(notebook):
    prose = [cell for cell in notebook.cells if cell.cell_type == "markdown" and cell.source.strip()]
    assert len(prose) >= MIN_PROSE * len(notebook.cells)


def test_a_notebook_opens_with_a_question_and_says_what_it_reads_writes_and_costs(notebook):
    opening = "\n".join(cell.source for cell in notebook.cells[:3] if cell.cell_type == "markdown")
    assert re.match(r"# .*\?", opening)
    assert re.search(r"minute", opening) and re.search(r"read", opening, re.I) and re.search(r"writ", opening, re.I)


def test_notebooks_call_the_package_and_define_no_classes(notebook):
    sources = [re.sub(r"^\s*[%!].*$", "pass", cell.source, flags=re.MULTILINE) for cell in code(notebook)]
    trees = [ast.parse(source) for source in sources]
    assert not [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    imported = {n.module or "" for t in trees for n in ast.walk(t) if isinstance(n, ast.ImportFrom)}
    imported |= {a.name for t in trees for n in ast.walk(t) if isinstance(n, ast.Import) for a in n.names}
    assert any(name.startswith("tmp_utils") for name in imported)


def test_what_a_notebook_imports_is_there(notebook):
    nodes = [node for cell in code(notebook) for node in ast.walk(ast.parse(cell.source))]
    names = {(node.module, alias.name) for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    for module, name in sorted(names):
        if module.startswith("tmp_utils") and not hasattr(importlib.import_module(module), name):
            importlib.import_module(f"{module}.{name}")


def test_formulas_need_no_script_that_is_loaded_from_elsewhere(notebook):
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert re.findall(r"\$[^$\n]*[\\_^a-zA-Z][^$\n]*\$", prose) == [], "write formulas in plain characters"
