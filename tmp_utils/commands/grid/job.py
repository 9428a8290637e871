"""One job of the grid: a notebook executed once for one cell, whoever else is at work.

Conventions: `python -m tmp_utils grid-job ORDER` reads a JSON file that `engine` wrote: `notebook`, `parameters`, `run`
(the folder that must be finished afterwards, or null), `settings` (what its manifest must say) and `output` (the
executed copy). Jobs for one output take turns by a lock that the system frees when a process ends, however it ends. The
executed copy takes its name when it is complete; a failed one is `<name>-failed.ipynb`, and `<name>-failed.txt` says
why. An order without a notebook asks the untrained backbone for the class noun, which every setup of a concept and seed
is compared with.

do      : carry out an order, or find that it is done.
is_done : whether an executed copy and its run are there.
why_not : why a job failed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from tmp_utils.commands import headless
from tmp_utils.commands.study import OFFLINE_PROFILES
from tmp_utils.files import write_text
from tmp_utils.runs.folder import MANIFEST, read_manifest
from tmp_utils.runs.identity import differing

LOOK_S = 1.0  # how often a job that waits looks whether it is its turn


def is_done(output: Path | None, run: Path | None, settings: Mapping | None = None) -> bool:
    """Whether the executed copy and the finished run, where there is to be one, are there, and nothing failed since.

    A finished run of other settings is not done: the notebook is executed, and says which they are.
    """
    if (output is not None and not output.exists()) or failure(output or run).exists():
        return False
    if run is None:
        return True
    return (run / MANIFEST).exists() and not differing(read_manifest(run)["parameters"], settings or {})


def failure(output: Path) -> Path:
    """Return where it stands why a job failed."""
    return output.with_name(f"{output.stem}-failed.txt")


def why_not(output: Path) -> str:
    """Return why a job failed and where its notebook is; empty if it did not, as far as anyone knows."""
    said = failure(output)
    return said.read_text(encoding="utf-8").strip() if said.exists() else ""


def do(order: Mapping, attempt: int = 1) -> bool:
    """Carry out an order; returns whether it is done.

    Parameters
    ----------
    order : mapping
        `notebook`, `parameters`, `run`, `settings`, `output`, `again` (also if it is done): see the conventions.
    attempt : int
        From 1. A notebook that raised is not executed again by a later attempt; one whose process was lost is.
    """
    notebook, output, run = (Path(order[key]) if order[key] else None for key in ("notebook", "output", "run"))
    beside = output or run
    beside.parent.mkdir(parents=True, exist_ok=True)
    with _turn(beside):
        if is_done(output, run, order.get("settings")) and not order.get("again"):
            print(f"{beside}: already done")
            return True
        said = failure(beside)
        if attempt > 1 and said.exists():
            print(f"{beside}: it failed before, and is not tried again: {why_not(beside)}")
            return False
        said.unlink(missing_ok=True)
        if notebook is None:
            return _reference(order["parameters"], run, said)
        return _execute(notebook, order["parameters"], run, output, said)


def _execute(notebook: Path, parameters: dict, run: Path | None, output: Path, said: Path) -> bool:
    """Execute a notebook from a folder of its own, where its kernel's sockets meet no other's."""
    for left in output.parent.glob(f".{output.stem}.*.partial.ipynb"):
        left.unlink()  # of a process that was killed; it held the lock that is ours now
    partial, failed = (
        output.with_name(f".{output.stem}.{os.getpid()}.partial.ipynb"),
        failure(output).with_suffix(".ipynb"),
    )
    threads = {name: os.environ.get("OMP_NUM_THREADS", "1") for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    offline = {"HF_HUB_OFFLINE": "1"} if parameters.get("profile") in OFFLINE_PROFILES else {}
    known = headless.declared_parameters(notebook)
    given = {name: value for name, value in parameters.items() if name in known}
    with tempfile.TemporaryDirectory(prefix="grid-") as own:
        copy = Path(shutil.copy(notebook, own))
        try:
            with headless.Progress(output.stem) as progress:
                headless.execute(copy, partial, given, progress, threads | offline)
            if run is not None and not (run / MANIFEST).exists():
                raise headless.NotebookFailed(f"{notebook.name} came to its end and left no finished run in {run}")
        except headless.NotebookFailed as error:
            partial.replace(failed)
            write_text(said, f"{error}. Executed as far as it came: {failed}\n")
            print(why_not(output), file=sys.stderr)
            return False
    partial.replace(output)
    failed.unlink(missing_ok=True)
    print(f"{output}: done in {progress.elapsed_s:.0f} s")
    return True


def _reference(parameters: Mapping, run: Path, said: Path) -> bool:
    from tmp_utils.inputs.concepts import load_concept
    from tmp_utils.runs.protocol import Lab, run_reference

    try:
        lab = Lab.load(parameters["profile"], parameters["runs_dir"])
        return run_reference(lab, load_concept(parameters["concept"]), parameters["seed"]) == run
    except Exception as error:
        write_text(said, f"{type(error).__name__}: {error}\n")
        raise


def _turn(path: Path) -> FileLock:
    """Return the lock of an output, taken; says so when it has to wait for another grid's job."""
    lock = FileLock(path.with_name(f".{path.name}.turn"), poll_interval=LOOK_S)
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        print(f"{path}: another process is making it; waiting for it", flush=True)
        return lock.acquire()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what only this command takes."""
    parser.add_argument("order", type=Path, help="a JSON file that tmp_utils.commands.grid wrote")
    parser.add_argument("--attempt", type=int, default=1, help="which attempt this is, from 1")


def main(options: argparse.Namespace) -> int:
    """Carry out the order in a file."""
    return 0 if do(json.loads(options.order.read_text(encoding="utf-8")), options.attempt) else 1
