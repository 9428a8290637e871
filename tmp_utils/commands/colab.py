"""The cell that sets a notebook up on Google Colab, and the badge that opens it there.

Conventions: the project's git address is `[project.urls] Repository` of pyproject.toml, and nowhere else; `make colab
REPOSITORY=...` writes it there and into the notebooks. The cell is one call of pip, which fetches the project and
installs what pyproject declares and Colab lacks; what is there and does, pip leaves alone. Without an address the cell
installs a folder named "project", to be uploaded. What only a machine of one's own needs (JupyterLab, papermill and a
kernel; Gradio for the listening study's page) is in the extras `lab` and `survey`.
"""

import argparse
import re
import tomllib
from pathlib import Path

from tmp_utils.files import write_text
from tmp_utils.runs.provenance import PROJECT_DIR

TITLE = "# @title Set-up"
CELL = """# @title Set-up: on Google Colab this installs what is missing; anywhere else it does nothing
import sys

if "google.colab" in sys.modules:
    import subprocess

    project = "{project}"  # @param {{type: "string"}}
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--editable", project], check=True)
    sys.path.insert(0, "src/tmp-utils" if project.startswith("git+") else project)"""
UPLOADED = "project"  # the folder that is installed where pyproject.toml has no address
BADGE_START = "[![Open in Colab]"
PYPROJECT = PROJECT_DIR / "pyproject.toml"


def repository() -> str:
    """Return the project's public git address; empty if pyproject.toml names none."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    return project.get("urls", {}).get("Repository", "").removesuffix("/")


def set_repository(address: str) -> None:
    """Write the project's git address into pyproject.toml."""
    if not re.fullmatch(r"https://[\w./~+-]+", address):
        raise ValueError(
            f"{address!r} is not a git address; expected one such as https://github.com/someone/something."
        )
    text = re.sub(r"\[project\.urls\]\n(\w.*\n)*\n?", "", PYPROJECT.read_text(encoding="utf-8"))
    urls = f'[project.urls]\nRepository = "{address}"\n\n'
    write_text(PYPROJECT, text.replace("[project.optional-dependencies]", urls + "[project.optional-dependencies]"))


def setup_cell(address: str | None = None) -> str:
    """Return the text of the set-up cell; the address is pyproject.toml's if none is given."""
    address = repository() if address is None else address
    return CELL.format(project=f"git+{address}#egg=tmp-utils" if address else UPLOADED)


def badge(notebook: str, address: str | None = None) -> str:
    """Return the "Open in Colab" badge of a notebook in Markdown; empty unless the project is on GitHub."""
    address = repository() if address is None else address
    host, _, path = address.removesuffix(".git").partition("github.com/")
    if host != "https://":
        return ""
    picture = "https://colab.research.google.com/assets/colab-badge.svg"
    return f"{BADGE_START}({picture})](https://colab.research.google.com/github/{path}/blob/main/notebooks/{notebook})"


def write_cells(folder: Path = PROJECT_DIR / "notebooks", address: str | None = None) -> list[Path]:
    """Bring the set-up cell and the badge of every notebook up to date; return those that changed."""
    import nbformat

    changed = []
    for path in sorted(folder.glob("*.ipynb")):
        before = path.read_text(encoding="utf-8")
        notebook = nbformat.reads(before, as_version=4)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.startswith(TITLE)]
        if len(cells) != 1:
            raise ValueError(f"{path.name} has {len(cells)} set-up cells, which start with {TITLE!r}; it needs one.")
        cells[0].source = setup_cell(address)
        lines = [line for line in notebook.cells[0].source.splitlines() if not line.startswith(BADGE_START)]
        shown = badge(path.name, address)
        notebook.cells[0].source = "\n".join(lines[:1] + ([shown] if shown else []) + lines[1:])
        after = nbformat.writes(notebook) + "\n"
        if after != before:
            write_text(path, after)
            changed.append(path)
    return changed


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what only this command takes."""
    parser.add_argument("--repository", help="the project's git address; it is written into pyproject.toml too")


def main(options: argparse.Namespace) -> None:
    """Bring the notebooks' set-up cells up to date."""
    if options.repository:
        set_repository(options.repository)
    names = [path.name for path in write_cells()]
    print(f"Brought up to date: {', '.join(names) or 'nothing, all are'}.")
