"""Notebooks that stand in for 02, 03 and 05 in the tests of the grid: real runs, locks and resume, and no model.

A run takes `STEPS` steps and writes down each, so that one that was killed goes on where it was; its `trace.csv` names
the process that took each step. The file that the environment variable `GRID_HOLD` names, if any, says after how many
steps TI-BL waits until it says more, so that it can be killed there. TI-3-AC fails where `GRID_BREAK` is set.
"""

import json
import time
from pathlib import Path

import nbformat
import pandas as pd

from tmp_utils.commands.grid.cells import NOTEBOOK_05, Cell
from tmp_utils.inputs.concepts import load_concept
from tmp_utils.inputs.profiles import load_profile
from tmp_utils.runs.folder import open_run
from tmp_utils.runs.identity import identity_of
from tmp_utils.runs.place import Place

STEPS = 10
BOTH = 'profile: str = "pocket"\nruns_dir: str = "runs"'
PARAMETERS = f'{BOTH}\nconcept: str = "sitar"\nsetups: list = ["BL"]\nseeds: list = [0]'
TRAIN = """
import hashlib, os, time
from pathlib import Path
import pandas as pd

from tmp_utils.files import write_csv
from tmp_utils.inputs.concepts import load_concept
from tmp_utils.inputs.profiles import load_profile, load_setup
from tmp_utils.runs.folder import open_run
from tmp_utils.runs.identity import identity_of
from tmp_utils.runs.place import Place

for method, setup in [*((METHOD, s) for s in setups), *((m, "BL") for m in others)]:
    if os.environ.get("GRID_BREAK") and (method, setup) == ("TI", "3-AC"):
        raise ValueError("this setup is broken")
    hold = os.environ.get("GRID_HOLD") if (method, setup) == ("TI", "BL") else None
    for seed in seeds:
        cell = dict(profile=profile, concept=concept, method=method, setup=setup, seed=seed)
        identity = identity_of(load_profile(profile), load_concept(concept), seed, load_setup(method, setup))
        with open_run(Place(runs_dir, profile).run(*list(cell.values())[1:]), identity) as run:
            if run.done:
                continue
            trace = run.path / "trace.csv"
            for step in range(len(trace.read_text().splitlines()) if trace.exists() else 0, STEPS):
                while hold and step >= int(Path(hold).read_text()):
                    time.sleep(0.2)
                with trace.open("a") as file:
                    file.write(f"{step},{os.getpid()}\\n")
            digest = hashlib.sha256(repr(sorted(cell.items())).encode()).hexdigest()
            value = int(digest[:6], 16) / 16**6
            write_csv(run.path / "metrics.csv", pd.DataFrame([{**cell, "metric": "clap_a", "value": value}]))
            run.finish()
"""
COLLECT = """
from tmp_utils.files import write_csv
from tmp_utils.runs.place import Place

place = Place(runs_dir, profile)
table = place.table()
table = table.sort_values(["concept", "method", "setup", "seed"])
write_csv(place.folder / "results.csv", table)
"""


def stub_place(folder: Path) -> Path:
    """Fill a folder with the notebooks and with references of sitar."""
    write_notebooks(folder / "notebooks")
    write_references(folder / "runs", ["sitar"], [0, 1])
    return folder


def cell_of(place: Path, setup: str) -> Cell:
    """Return a cell of sitar, seed 0."""
    return Cell(Place(place / "runs", "pocket"), place / "notebooks", setup, "" if setup == NOTEBOOK_05 else "sitar")


def hold(place: Path, n: int) -> Path:
    """Have TI-BL wait after n steps; returns the file for `GRID_HOLD`."""
    written = place / "hold.new"
    written.write_text(str(n))
    return written.replace(place / "hold")


def wait_for(folder: Path, pattern: str, lines: int, timeout_s: float = 120) -> Path:
    """Wait until a file has so many lines, and return it."""
    for _ in range(round(timeout_s / 0.1)):
        files = sorted(folder.glob(pattern))
        if files and files[0].read_text().count("\n") == lines:
            return files[0]
        time.sleep(0.1)
    raise AssertionError(f"no {pattern} of {lines} lines in {folder} after {timeout_s} s")


def steps(trace: Path) -> pd.DataFrame:
    """Return the steps of a run and the process that took each."""
    return pd.read_csv(trace, names=["step", "process"])


def write_notebooks(folder: Path) -> Path:
    """Write the three notebooks."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, method, others in (("02_stub", "TI", ""), ("03_stub", "DB", "\nothers: list = []")):
        setting = f"METHOD, STEPS = {method!r}, {STEPS}" + ("" if others else "\nothers = []")
        _write(folder / f"{name}.ipynb", PARAMETERS + others, setting + TRAIN)
    _write(folder / "05_stub.ipynb", BOTH, COLLECT)
    return folder


def write_references(runs_dir: Path, concepts: list[str], seeds: list[int], profile: str = "pocket") -> None:
    """Leave finished runs of the untrained backbone, which needs weights."""
    for concept in concepts:
        for seed in seeds:
            folder = Place(runs_dir, profile).run(concept, "untrained", "class-noun", seed)
            with open_run(folder, identity_of(load_profile(profile), load_concept(concept), seed)) as run:
                if not run.done:
                    run.finish()


def run_here(place: Path, chosen: list[tuple[str, list[str]]]) -> None:
    """Run what the notebooks run in this process, without a kernel, a grid or an interruption."""
    given = {"profile": "pocket", "concept": "sitar", "seeds": [0], "others": [], "runs_dir": str(place / "runs")}
    for method, setups in chosen:
        exec(TRAIN, {**given, "METHOD": method, "STEPS": STEPS, "setups": setups})
    exec(COLLECT, given)


def make_here(cell: Cell) -> None:
    """Make a cell as `run_here` does, with an empty notebook as the executed one."""
    run_here(cell.place.runs_dir.parent, [(cell.method, [cell.chosen.setup])])
    cell.output.parent.mkdir(parents=True, exist_ok=True)
    cell.output.write_text("{}")


def _write(path: Path, parameters: str, code: str) -> None:
    cells = [nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}), nbformat.v4.new_code_cell(code)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"{path.stem}-{number}".replace("_", "-")
    path.write_text(json.dumps(notebook))


if __name__ == "__main__":
    import sys

    write_notebooks(Path(sys.argv[1]) / "notebooks")
    write_references(Path(sys.argv[1]) / "runs", sys.argv[2].split(","), [0, 1])
