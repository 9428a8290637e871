"""The study's notebooks, executed headless and in order.

Conventions: `python -m tmp_utils study --profile pocket`. Each notebook runs in a new kernel. Its
executed copy goes to `<runs_dir>/<profile>/notebooks/`, under a hidden name until it is complete; beside it
lies `<name>.json`, which says what it was made from. A notebook is skipped when all that it reads is what it
was: parameters, notebook, package, data, the notebooks before it; and when the runs it left are whole still.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tmp_utils.commands import headless
from tmp_utils.files import explain_os_errors, slug, write_json
from tmp_utils.findings import report
from tmp_utils.inputs.concepts import load_concept
from tmp_utils.inputs.profiles import DATA_DIR, load_profile
from tmp_utils.inputs.sounds import SUFFIXES
from tmp_utils.runs.disk import size_in_words
from tmp_utils.runs.mirror import open_mirror
from tmp_utils.runs.place import Place
from tmp_utils.runs.provenance import PROJECT_DIR, provenance

NOTEBOOKS_DIR = PROJECT_DIR / "notebooks"
STUDY = "0[1-6]_*.ipynb"  # the paper's study
NUMBERED = "0[0-9]_*.ipynb"  # with 00, how the pocket model is made, and what goes beyond the paper
HASHED_DATA = {".csv", ".toml", ".json", ".safetensors", *SUFFIXES}
HUB_MB = 2  # GitHub shows no larger notebooks
WITHOUT_EFFECT = {"commands"}  # rooms that no notebook computes with
TIMES = {"minutes.csv", "gpu.csv"}  # tables of data/published that say how long something took
# Executed copies are read without a kernel: figures also as HTML, which nbconvert and any browser can show.
FIGURES = {"PLOTLY_RENDERER": "plotly_mimetype+notebook"}


@dataclass(frozen=True)
class Execution:
    """One notebook with its parameters, and the name of its executed copy."""

    notebook: Path
    name: str
    parameters: dict[str, Any]


def find_notebooks(folder: Path = NOTEBOOKS_DIR, all_numbered: bool = False) -> list[Path]:
    """Return the study's notebooks in order, or all numbered ones.

    Raises
    ------
    FileNotFoundError : there is none.
    """
    notebooks = sorted(Path(folder).glob(NUMBERED if all_numbered else STUDY))
    if not notebooks:
        raise FileNotFoundError(f"{folder} holds no notebook named like {STUDY}. Point --notebooks-dir at them.")
    return notebooks


def executions(
    notebooks: Sequence[Path], place: Place, concepts: Sequence[str], seeds: Sequence[int], mirror: str = ""
) -> list[Execution]:
    """Return the executions that cover all concepts and seeds.

    A notebook is given the values it declares in its parameters cell. One that declares `concepts` or `seeds`
    takes the whole list; one that declares only `concept` or `seed` is executed once for each. With none
    given, the notebook's values stand.
    """
    chosen = []
    for notebook in notebooks:
        declared = headless.declared_parameters(notebook)
        common = {"profile": place.profile, "runs_dir": str(place.runs_dir)} | ({"mirror": mirror} if mirror else {})
        grid = [(notebook.stem, {key: value for key, value in common.items() if key in declared})]
        grid = _spread(grid, declared, "concept", list(concepts))
        grid = _spread(grid, declared, "seed", list(seeds))
        chosen += [Execution(notebook, name, parameters) for name, parameters in grid]
    return chosen


def fingerprint(execution: Execution, before: Sequence[str] = ()) -> str:
    """Return a hash of all that decides an execution; `before` holds those of the notebooks it follows."""
    package = PROJECT_DIR / "tmp_utils"
    sources = [path for path in package.rglob("*.py") if path.relative_to(package).parts[0] not in WITHOUT_EFFECT]
    parts = {
        "parameters": {name: value for name, value in execution.parameters.items() if name != "mirror"},
        "profile": asdict(load_profile(execution.parameters.get("profile", "pocket"))),
        "notebook": _hash_files([execution.notebook]),
        "package": _hash_files(sources),
        "data": _hash_files(p for p in DATA_DIR.rglob("*") if p.suffix in HASHED_DATA and p.name not in TIMES),
        "recordings": [_hash_files(folder.rglob("*")) for folder in _concept_folders(execution)],
        "before": list(before),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def execute(execution: Execution, place: Place, before: Sequence[str], label: str, force: bool = False) -> str:
    """Execute one notebook unless it is done; returns its fingerprint.

    Raises
    ------
    headless.NotebookFailed : it stopped before its end; the message says where the executed part lies.
    """
    print_hash = fingerprint(execution, before)
    output = place.folder / "notebooks" / f"{execution.name}.ipynb"
    if not force and _is_done(place, execution.name, print_hash):
        print(f"{label}: already done", flush=True)
        return print_hash
    figures, found = {name: os.environ.get(name, value) for name, value in FIGURES.items()}, _found(place, before)
    try:
        elapsed_s = headless.execute(execution.notebook, output, execution.parameters, label, figures)
    except headless.NotebookFailed as failure:
        raise headless.NotebookFailed(f"{label}: {failure}") from failure
    runs = {str(run.relative_to(place.folder)): _n_files(run) for run in place.runs()}
    made_from = {
        "fingerprint": print_hash,
        "parameters": execution.parameters,
        "elapsed_s": elapsed_s,
        "runs": runs,
        "found": found,
    }
    write_json(output.with_suffix(".json"), {**made_from, **provenance()})
    megabytes = output.stat().st_size / 1e6
    large = f"; the executed copy has {megabytes:.1f} MB, too large for a hub to show" if megabytes > HUB_MB else ""
    print(f"{label}: done in {elapsed_s:.0f} s{large}", flush=True)
    return print_hash


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what only this command takes."""
    parser.add_argument("--notebooks-dir", default=NOTEBOOKS_DIR, help="where the notebooks are")
    parser.add_argument("--mirror", default="", help="a second folder that keeps copies of the runs, and restores them")
    parser.add_argument("--all", dest="all_numbered", action="store_true", help="run notebooks 00 and 07 too")
    parser.add_argument("--force", action="store_true", help="execute finished notebooks again")


def main(options: argparse.Namespace) -> None:
    """Execute the notebooks in order and write the report, also where one failed."""
    place = Place(options.runs_dir, options.profile)
    folder = place.folder / "notebooks"
    notebooks = find_notebooks(options.notebooks_dir, options.all_numbered)
    mirror = str(Path(options.mirror).expanduser().resolve()) if options.mirror else ""
    open_mirror(mirror, place)  # fails here, or has the runs that the notebooks are to find
    steps = executions(notebooks, place, [absolute(c) for c in options.concepts], options.seeds, mirror)
    with explain_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    before: list[str] = []
    try:
        for number, execution in enumerate(steps, start=1):
            label = f"[{number}/{len(steps)}] {execution.name}"
            before.append(execute(execution, place, before, label, options.force))
    except headless.NotebookFailed:
        try:
            print(f"Report of what was finished: {report.write_report(place)}", flush=True)
        except (ValueError, OSError, RuntimeError) as reason:  # report the notebook's failure, not this one
            print(f"No report of what was finished: {reason}", file=sys.stderr)
        raise
    page = report.write_report(place)
    print(size_in_words(place, max(1, len(options.concepts)) * max(1, len(options.seeds))))
    print(f"Report: {page}", flush=True)


def _is_done(place: Place, name: str, print_hash: str) -> bool:
    """Whether the executed copy was made from the same things, and the runs it knew have all their files."""
    record = place.executions().get(name)
    if record is None or not (place.folder / "notebooks" / f"{name}.ipynb").exists():
        return False
    whole = all(_n_files(place.folder / run) >= n for run, n in record["runs"].items())
    return record["fingerprint"] == print_hash and whole


def _found(place: Place, before: Sequence[str]) -> list[str]:
    """Return the finished runs that no notebook before has left: of an earlier try, or of another command."""
    records = [record for record in place.executions().values() if record["fingerprint"] in before]
    known = {run for record in records for run in record["runs"]}
    return [name for run in place.runs() if (name := str(run.relative_to(place.folder))) not in known]


def _n_files(run: Path) -> int:
    return sum(path.is_file() for path in run.rglob("*"))


def _spread(grid: list[tuple], declared: Mapping, name: str, values: Sequence) -> list[tuple]:
    """Give every execution of `grid` all `values` where a list is declared, else one execution for each."""
    if not values or not {name, f"{name}s"} & set(declared):
        return grid
    if f"{name}s" in declared:
        return [(stem, {**parameters, f"{name}s": list(values)}) for stem, parameters in grid]
    if len(values) == 1:
        return [(stem, {**parameters, name: values[0]}) for stem, parameters in grid]
    ending = {value: f"{name}{value}" if isinstance(value, int) else slug(Path(value).name) for value in values}
    return [(f"{stem}-{ending[v]}", {**parameters, name: v}) for stem, parameters in grid for v in values]


def absolute(concept: str) -> str:
    """Return the path of a folder of recordings in full; names stay as they are."""
    path = Path(concept).expanduser()
    return str(path.resolve()) if path.is_dir() else concept


def _concept_folders(execution: Execution) -> list[Path]:
    """Return the folders of the concepts that an execution is given: those of fetched clips are not in `DATA_DIR`."""
    chosen = execution.parameters.get("concepts", [execution.parameters.get("concept")])
    return [
        Path(concept) if Path(concept).is_absolute() else load_concept(concept).clips[0].parent
        for concept in filter(None, chosen)
    ]


def _hash_files(paths: Iterable[Path]) -> str:
    """Return a hash of the names and contents of files."""
    whole = hashlib.sha256()
    for path in sorted(path for path in paths if path.is_file()):
        whole.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()
