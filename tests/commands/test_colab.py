"""Google Colab: what would be installed leaves Colab's packages alone, and one cell that does nothing elsewhere."""

import ast
import json
import os
import subprocess
import sys
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


def names(lines) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in lines}


def test_colab_lacks_only_what_measures_music(on_colab):
    assert names(colab.missing(colab.requirements(), on_colab)) == LACKING


def test_what_colab_has_does_for_the_project_so_nothing_is_replaced(on_colab):
    wanted = {canonicalize_name(Requirement(line).name): Requirement(line) for line in colab.requirements()}
    assert set(on_colab) >= UNTOUCHED
    for name in set(wanted) & set(on_colab):
        assert wanted[name].specifier.contains(on_colab[name], prereleases=True), name


def test_a_package_that_does_not_do_stops_the_set_up_instead_of_being_replaced(on_colab):
    with pytest.raises(RuntimeError, match=r"Colab has torch 1\.13\.0, and torch>=2\.2 is needed"):
        colab.missing(["torch>=2.2"], on_colab | {"torch": "1.13.0"})


def test_a_requirement_for_another_system_is_not_missing():
    assert colab.missing(["nothing-like-it>=1; sys_platform == 'nowhere'"], {}) == []


@pytest.mark.skipif(not os.environ.get("TMP_TEST_INDEX"), reason="asks a package index; set TMP_TEST_INDEX=1")
def test_pip_plans_to_install_nothing_that_colab_has(on_colab, tmp_path):
    asked = colab.missing(colab.requirements(), on_colab)
    held = tmp_path / "held.txt"  # an index has no builds for CUDA: those of the same number stand for them
    held.write_text("".join(f"{name}=={version.partition('+')[0]}\n" for name, version in on_colab.items()))
    report = tmp_path / "report.json"
    target = ["--target", str(tmp_path / "x"), "--python-version", "3.13", "--only-binary", ":all:"]
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--report", str(report), *target]
    answer = subprocess.run([*command, "--constraint", str(held), *asked], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    planned = {
        canonicalize_name(p["metadata"]["name"]): p["metadata"]["version"]
        for p in json.loads(report.read_text())["install"]
    }
    assert set(planned) >= LACKING
    moved = {name: v for name, v in planned.items() if name in on_colab and v != on_colab[name].partition("+")[0]}
    assert moved == {}


def test_set_up_holds_every_installed_package_at_its_version(monkeypatch):
    seen = {}

    def pip(command, **_options):
        seen["command"], held = command, command[command.index("--constraint") + 1]
        seen["held"] = Path(held).read_text().splitlines()
        return subprocess.CompletedProcess(command, 0, "", "")

    there = colab.installed() | {"numpy": "2.1.3"}
    there.pop("pyloudnorm")
    monkeypatch.setattr(colab, "installed", lambda: there)
    monkeypatch.setattr(colab.subprocess, "run", pip)
    assert names(colab.set_up()) == {"pyloudnorm"}
    assert seen["command"][-1] == "pyloudnorm>=0.1.1"
    assert "numpy==2.1.3" in seen["held"] and len(seen["held"]) == len(there)


def test_what_pip_says_is_in_the_error(monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "No space left")
    monkeypatch.setattr(colab, "installed", dict)
    monkeypatch.setattr(colab.subprocess, "run", lambda *a, **k: failed)
    with pytest.raises(RuntimeError, match=r"(?s)pip could not install .*pyloudnorm.*No space left"):
        colab.set_up()


def run_cell(text: str, folder: Path, on_colab: bool) -> subprocess.CompletedProcess:
    """Run the cell in a fresh Python in `folder`, where only git and the standard library can be had."""
    before = "import sys, types\nsys.modules['google.colab'] = types.ModuleType('colab')\n" if on_colab else ""
    after = "\nimport sys\nprint('subprocess' in sys.modules, sys.path[0])"
    command = [sys.executable, "-I", "-c", before + text + after]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def make_project(folder: Path) -> Path:
    commands = folder / "tmp_utils" / "commands"
    commands.mkdir(parents=True)
    for package in (folder / "tmp_utils", commands):
        (package / "__init__.py").touch()
    (commands / "colab.py").write_text("def set_up(project):\n    print('set up', project.name)\n")
    return folder


def test_the_cell_does_nothing_outside_colab(tmp_path):
    answer = run_cell(colab.setup_cell("https://nowhere.invalid/x"), tmp_path, on_colab=False)
    assert answer.returncode == 0 and answer.stdout.startswith("False") and not answer.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["notebooks", ".", ".."])
def test_the_cell_finds_an_uploaded_project_from_inside_it_and_from_above(tmp_path, where):
    project = make_project(tmp_path / "my copy")
    (project / "notebooks").mkdir()
    answer = run_cell(colab.setup_cell(""), project / where, on_colab=True)
    assert answer.stdout.startswith("set up my copy"), answer.stderr
    assert answer.stdout.rstrip().endswith(str(project))


def test_the_cell_fetches_the_project_from_its_address_once(tmp_path):
    origin, session = make_project(tmp_path / "origin"), tmp_path / "session"
    session.mkdir()
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "all"]):
        subprocess.run([*git, *command], cwd=origin, check=True)
    for _again in range(2):
        answer = run_cell(colab.setup_cell(origin.as_uri()), session, on_colab=True)
        assert answer.stdout.startswith("set up project"), answer.stderr
    assert (session / "project" / "tmp_utils").is_dir()


def test_the_cell_says_what_to_do_where_there_is_no_project(tmp_path):
    answer = run_cell(colab.setup_cell(""), tmp_path, on_colab=True)
    assert answer.returncode == 1
    assert "Upload the project's folder here, or give its git address" in answer.stderr


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_has_the_same_set_up_cell_first_and_a_badge_where_there_is_an_address(path):
    cells = nbformat.read(path, as_version=4).cells
    first = next(cell for cell in cells if cell.cell_type == "code")
    assert first.source == colab.setup_cell(), "run `make colab`"
    shown = [line for line in cells[0].source.splitlines() if line.startswith("[![Open in Colab]")]
    assert shown == [line for line in [colab.badge(path.name)] if line]


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
    assert written[1].source == colab.setup_cell(address) and f'"{address}"' in written[1].source
    assert written[0].source.splitlines()[1] == colab.badge("01_a.ipynb", address)
    assert colab.write_cells(tmp_path, "") == [tmp_path / "01_a.ipynb"]
    assert nbformat.read(tmp_path / "01_a.ipynb", as_version=4).cells[0].source == "# Why?\n\ntext"


def test_papermill_reads_names_types_and_values_through_colabs_forms():
    source = (
        '# @markdown "pocket": a laptop; "paper": a GPU\n'
        'profile: str = "pocket"  # @param ["pocket", "paper"]\n'
        'concept: str = "sitar"  # @param {type: "string"}\n'
        'setups: list = ["BL", "MW"]  # @param {type: "raw"}\n'
        'snr_db: float = 20.0  # @param {type: "number"}\n'
    )
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]})
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    found = papermill.inspect_notebook(nbformat.v4.new_notebook(cells=[cell], metadata=kernel))
    written = {s.target.id: (s.annotation.id, ast.unparse(s.value)) for s in ast.parse(source).body}
    read = {n: (p["inferred_type_name"], p["default"].replace('"', "'")) for n, p in found.items()}
    assert read == written
