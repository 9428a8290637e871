"""Google Colab: what would be installed leaves Colab's packages alone, and one cell that does nothing elsewhere."""

import ast
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import papermill
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tmp_utils.commands import colab

TESTS = Path(__file__).resolve().parents[1]
CONSTRAINTS = TESTS / "colab_constraints.txt"
NOTEBOOKS = sorted((TESTS.parent / "notebooks").glob("*.ipynb"))
UNTOUCHED = {"torch", "numpy", "transformers", "scipy"}
LACKING = {"essentia", "pyloudnorm"}  # all that a fresh session lacks


@pytest.fixture(scope="module")
def on_colab() -> dict[str, str]:
    lines = [Requirement(x) for x in CONSTRAINTS.read_text().splitlines() if x and not x.startswith("#")]
    return {canonicalize_name(line.name): str(line.specifier)[2:] for line in lines}


@pytest.fixture(scope="module")
def needed() -> dict[str, Requirement]:
    """What pip is asked for: the declared dependencies, without extras, that mean something on Colab's Linux."""
    declared = tomllib.loads((TESTS.parent / "pyproject.toml").read_text())["project"]["dependencies"]
    lines = [Requirement(line) for line in declared]
    linux = {"sys_platform": "linux", "platform_machine": "x86_64", "python_version": "3.13"}
    return {canonicalize_name(r.name): r for r in lines if r.marker is None or r.marker.evaluate(linux)}


def test_colab_lacks_only_what_measures_music(on_colab, needed):
    assert needed.keys() - on_colab.keys() == LACKING


def test_what_colab_has_does_for_the_project_so_pip_replaces_nothing(on_colab, needed):
    assert set(on_colab) >= UNTOUCHED
    for name in needed.keys() & on_colab.keys():
        assert needed[name].specifier.contains(on_colab[name], prereleases=True), name


@pytest.mark.skipif(not os.environ.get("TMP_TEST_INDEX"), reason="asks a package index; set TMP_TEST_INDEX=1")
def test_pip_plans_to_install_nothing_that_colab_has(on_colab, needed, tmp_path):
    held = tmp_path / "held.txt"  # an index has no builds for CUDA: those of the same number stand for them
    held.write_text("".join(f"{name}=={version.partition('+')[0]}\n" for name, version in on_colab.items()))
    report = tmp_path / "report.json"
    target = ["--target", str(tmp_path / "x"), "--python-version", "3.13", "--only-binary", ":all:"]
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--report", str(report), *target]
    lines = [f"{needed[name].name}{needed[name].specifier}" for name in sorted(LACKING)]
    answer = subprocess.run([*command, "--constraint", str(held), *lines], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    planned = {
        canonicalize_name(p["metadata"]["name"]): p["metadata"]["version"]
        for p in json.loads(report.read_text())["install"]
    }
    assert set(planned) >= LACKING
    moved = {name: v for name, v in planned.items() if name in on_colab and v != on_colab[name].partition("+")[0]}
    assert moved == {}


def run_cell(text: str, folder: Path, on_colab: bool) -> subprocess.CompletedProcess:
    """Run the cell in a fresh Python in `folder`; on Colab, pip only says what it would install."""
    pip = "import subprocess, sys, types\nsys.modules['google.colab'] = types.ModuleType('colab')\n"
    pip += "subprocess.run = lambda command, check: print(*command[1:])\n"
    after = "\nimport sys\nprint('subprocess' in sys.modules, sys.path[0])"
    command = [sys.executable, "-I", "-S", "-c", on_colab * pip + text + after]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_the_cell_does_nothing_outside_colab(tmp_path):
    answer = run_cell(colab.setup_cell("https://nowhere.invalid/x"), tmp_path, on_colab=False)
    assert answer.returncode == 0 and answer.stdout.startswith("False") and not answer.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "project", "folder"),
    [
        ("https://example.org/x", "git+https://example.org/x#egg=tmp-utils", "src/tmp-utils"),
        ("", "project", "project"),
    ],
)
def test_on_colab_the_cell_is_one_call_of_pip_and_short_enough_to_check(tmp_path, address, project, folder):
    cell = colab.setup_cell(address)
    answer = run_cell(cell, tmp_path, on_colab=True)
    assert answer.stdout == f"-m pip install --quiet --editable {project}\nTrue {folder}\n", answer.stderr
    assert len(cell.splitlines()) <= 10 and list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.environ.get("TMP_TEST_INDEX"), reason="asks a package index; set TMP_TEST_INDEX=1")
def test_pip_fetches_a_project_by_its_git_address_to_where_the_cell_looks_for_it(tmp_path):
    origin, session = tmp_path / "origin", tmp_path / "session"
    (origin / "tmp_utils").mkdir(parents=True)
    (origin / "tmp_utils" / "__init__.py").write_text("ORIGIN = 1")
    (origin / "pyproject.toml").write_text('[project]\nname = "tmp-utils"\nversion = "1"\n')
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "core.hooksPath=/dev/null"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "all"]):
        subprocess.run([*git, *command], cwd=origin, check=True)
    subprocess.run([sys.executable, "-m", "venv", session], check=True)
    cell = "import sys, types\nsys.modules['google.colab'] = types.ModuleType('colab')\n"
    cell += colab.setup_cell(origin.as_uri()) + "\nimport tmp_utils\nprint(tmp_utils.ORIGIN)"
    answer = subprocess.run([session / "bin" / "python", "-c", cell], cwd=session, capture_output=True, text=True)
    assert answer.stdout == "1\n", answer.stderr


def test_the_address_is_written_into_pyproject_and_nowhere_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(colab, "PYPROJECT", tmp_path / "pyproject.toml")
    colab.PYPROJECT.write_text('[project]\nname = "x"\n\n[project.optional-dependencies]\nlab = []\n')
    for address in ("https://github.com/a/b", "https://github.com/c/d"):
        colab.set_repository(address)
        assert colab.repository() == address
    assert colab.PYPROJECT.read_text().count("project.urls") == 1
    with pytest.raises(ValueError, match="is not a git address"):
        colab.set_repository("x'; rm -r /")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_has_the_same_set_up_cell_first_and_a_badge_where_there_is_an_address(path):
    cells = nbformat.read(path, as_version=4).cells
    first = next(cell for cell in cells if cell.cell_type == "code")
    assert first.source == colab.setup_cell(), "run `make colab`"
    shown = [line for line in cells[0].source.splitlines() if line.startswith("[![Open in Colab]")]
    assert shown == [line for line in [colab.badge(path.name)] if line]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_that_runs_the_backbone_asks_colab_for_a_t4(path):
    notebook = nbformat.read(path, as_version=4)
    runs_backbone = any("Lab.load(" in cell.source or "load_backbone(" in cell.source for cell in notebook.cells)
    wants = (notebook.metadata.get("accelerator"), notebook.metadata.get("colab", {}).get("gpuType"))
    assert wants == (("GPU", "T4") if runs_backbone else (None, None))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_papermill_reads_every_parameter_of_a_notebook_through_its_form(path):
    notebook = nbformat.read(path, as_version=4)
    (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    written = {s.target.id: (s.annotation.id, ast.literal_eval(s.value)) for s in ast.parse(cell.source).body}
    found = papermill.inspect_notebook(notebook)
    read = {name: (p["inferred_type_name"], ast.literal_eval(p["default"])) for name, p in found.items()}
    assert read == written
    assert all(parameter["help"].startswith("@param") for parameter in found.values())


def test_the_badge_leads_to_the_notebook_on_github_and_there_is_none_without_an_address():
    shown = colab.badge("01_data.ipynb", "https://github.com/someone/something.git")
    assert shown.endswith(
        "(https://colab.research.google.com/github/someone/something/blob/main/notebooks/01_data.ipynb)"
    )
    assert colab.badge("01_data.ipynb", "") == "" == colab.badge("01_data.ipynb", "https://example.org/x")


def test_write_cells_mends_cell_and_badge_and_then_finds_nothing_to_do(tmp_path):
    cells = [nbformat.v4.new_markdown_cell("# Why?\n\ntext"), nbformat.v4.new_code_cell("# @title Set-up: old")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "01_a.ipynb")
    address = "https://github.com/someone/something"
    assert colab.write_cells(tmp_path, address) == [tmp_path / "01_a.ipynb"]
    assert colab.write_cells(tmp_path, address) == []
    written = nbformat.read(tmp_path / "01_a.ipynb", as_version=4).cells
    assert written[1].source == colab.setup_cell(address) and f"git+{address}#" in written[1].source
    assert written[0].source.splitlines()[1] == colab.badge("01_a.ipynb", address)
    assert colab.write_cells(tmp_path, "") == [tmp_path / "01_a.ipynb"]
    assert nbformat.read(tmp_path / "01_a.ipynb", as_version=4).cells[0].source == "# Why?\n\ntext"
