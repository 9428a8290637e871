"""What a notebook needs on Google Colab, and the cell that asks for it.

Conventions: Colab's own packages stay as they are. Torch and NumPy are loaded before any cell runs, and a package that
is replaced under a running kernel means restarting it; so only what is missing is installed, with every package that is
there held at its version. The project is put on the path of the running kernel (an editable install would need a
restart). JupyterLab, papermill and the kernel are left out: Colab has a front end and a kernel of its own. Gradio, of
which Colab's is too old for the listening study's page, is left to whoever serves that page.
The address to fetch the project from is `[project.urls] Repository` of pyproject.toml, and nowhere else; without one
the cell works in an uploaded or cloned project, and takes an address in its form.

set_up     : the project's folder -> ready to import.
missing    : the requirements that are not met.
setup_cell : the text of the cell, the same in every notebook.
badge      : "Open in Colab", where there is an address.
write_cells : put both into the notebooks (`python -m tmp_utils colab`).
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import distributions
from pathlib import Path

PROJECT_DIR = Path(__file__).resolve().parents[2]
NOT_ON_COLAB = {"gradio", "ipykernel", "jupyterlab", "papermill"}
TITLE = "# @title Set-up"
GUARD = '"google.colab" in sys.modules'
FIRST_LINE = f"{TITLE}: installs what is missing on Google Colab; anywhere else it does nothing"
CELL = """import sys

if "google.colab" in sys.modules:
    import subprocess
    from pathlib import Path

    repository = "{repository}"  # @param {{type: "string"}}
    near = [Path.cwd(), *Path.cwd().parents, *sorted(Path.cwd().iterdir())]
    project = next((folder for folder in near if (folder / "tmp_utils").is_dir()), Path.cwd() / "project")
    if repository and not project.exists():
        subprocess.run(["git", "clone", "--quiet", "--depth=1", repository, str(project)], check=True)
    if not project.exists():
        raise FileNotFoundError("Upload the project's folder here, or give its git address as `repository`; run again.")
    sys.path.insert(0, str(project))
    from tmp_utils.commands.colab import set_up

    set_up(project)"""
BADGE_START = "[![Open in Colab]"


def requirements(project: Path = PROJECT_DIR) -> list[str]:
    """Return the project's requirements that mean something on Colab, as pyproject.toml writes them."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    declared = _pyproject(project)
    lines = [*declared["dependencies"], *declared["optional-dependencies"]["survey"]]
    return [line for line in lines if canonicalize_name(Requirement(line).name) not in NOT_ON_COLAB]


def missing(wanted: Iterable[str], there: Mapping[str, str]) -> list[str]:
    """Return the requirements that the packages `there` (name -> version) do not meet.

    Parameters
    ----------
    wanted : requirement specifiers
        Those whose marker does not hold on this machine are left out.
    there : mapping
        Canonical names and versions of what is installed.

    Raises
    ------
    RuntimeError
        If one is there at a version that does not do: replacing it under a running kernel is what must not happen.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    absent = []
    for line in wanted:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate():
            continue
        version = there.get(canonicalize_name(requirement.name))
        if version is None:
            absent.append(line)
        elif not requirement.specifier.contains(version, prereleases=True):
            raise RuntimeError(
                f"Colab has {requirement.name} {version}, and {line} is needed. Choose a newer runtime "
                "(Runtime, Change runtime type, Runtime version: latest) and run this cell again."
            )
    return absent


def installed() -> dict[str, str]:
    """Return canonical names and versions of the packages that are installed."""
    from packaging.utils import canonicalize_name

    return {canonicalize_name(d.metadata["Name"]): d.version for d in distributions() if d.metadata["Name"]}


def set_up(project: Path = PROJECT_DIR) -> list[str]:
    """Install what is missing and nothing else; returns what was asked for.

    Raises
    ------
    RuntimeError
        If a package that is there does not do, or pip fails; what pip said is in the message.
    """
    there = installed()
    asked = missing(requirements(project), there)
    if asked:
        with tempfile.TemporaryDirectory() as folder:
            held = Path(folder) / "held.txt"
            held.write_text("".join(f"{name}=={version}\n" for name, version in sorted(there.items())))
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", str(held), *asked]
            answer = subprocess.run(command, capture_output=True, text=True)
        if answer.returncode:
            raise RuntimeError(f"pip could not install {', '.join(asked)}:\n{answer.stderr.strip()}")
        importlib.invalidate_caches()
    print(f"Installed: {', '.join(asked) or 'nothing was missing'}. The project is in {project}.")
    return asked


def repository(project: Path = PROJECT_DIR) -> str:
    """Return the project's public git address; empty if pyproject.toml names none."""
    return _pyproject(project).get("urls", {}).get("Repository", "").removesuffix("/")


def setup_cell(address: str | None = None) -> str:
    """Return the text of the set-up cell; the address is pyproject.toml's if none is given."""
    return f"{FIRST_LINE}\n{CELL.format(repository=repository() if address is None else address)}"


def badge(notebook: str, address: str | None = None, branch: str = "main") -> str:
    """Return the "Open in Colab" badge of a notebook in Markdown; empty unless the project is on GitHub."""
    address = repository() if address is None else address
    host, _, path = address.removesuffix(".git").partition("github.com/")
    if host != "https://":
        return ""
    picture = "https://colab.research.google.com/assets/colab-badge.svg"
    return (
        f"{BADGE_START}({picture})](https://colab.research.google.com/github/{path}/blob/{branch}/notebooks/{notebook})"
    )


def write_cells(folder: Path = PROJECT_DIR / "notebooks", address: str | None = None) -> list[Path]:
    """Bring the set-up cell and the badge of every notebook up to date; returns those that changed."""
    import nbformat

    changed = []
    for path in sorted(folder.glob("*.ipynb")):
        before = path.read_text(encoding="utf-8")
        notebook = nbformat.reads(before, as_version=4)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        cells = [cell for cell in code if cell.source.startswith(TITLE) or GUARD in cell.source]
        if len(cells) != 1:
            raise ValueError(f"{path.name} has {len(cells)} set-up cells, which start with {TITLE!r}; it needs one.")
        cells[0].source = setup_cell(address)
        lines = [line for line in notebook.cells[0].source.splitlines() if not line.startswith(BADGE_START)]
        shown = badge(path.name, address)
        notebook.cells[0].source = "\n".join(lines[:1] + ([shown] if shown else []) + lines[1:])
        after = nbformat.writes(notebook) + "\n"
        if after != before:
            path.write_text(after, encoding="utf-8")
            changed.append(path)
    return changed


def _pyproject(project: Path) -> dict:
    return tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """This command takes no options."""


def main(options: argparse.Namespace) -> None:
    """Bring the notebooks' set-up cells up to date."""
    names = [path.name for path in write_cells()]
    print(f"Brought up to date: {', '.join(names) or 'nothing, all are'}.")
