"""Cells handed to Snakemake, on this machine's cores or on SLURM.

Conventions: every grid has its own engine folder, `<grid>/.engine-*`, so that two grids share nothing but the
runs and their locks; it is deleted when all is done. Snakemake lives in its own environment, `.venv-grid`, since its
pins do not fit beside the study's; `notebooks/grid.lock` holds one resolution. Threads are counted for each job.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tmp_utils.commands.grid.cells import NOTEBOOK_05, NOTEBOOKS_DIR, Cell, grid_folder
from tmp_utils.commands.grid.disk import check_room, drop_adapter
from tmp_utils.files import explain_os_errors, write_json
from tmp_utils.inputs.profiles import Profile, load_profile
from tmp_utils.runs.lab import memory_bytes
from tmp_utils.runs.place import Place
from tmp_utils.runs.provenance import PROJECT_DIR

WORKFLOW = NOTEBOOKS_DIR / "grid.smk"
SLURM_PROFILE = NOTEBOOKS_DIR / "slurm"
ENGINE_DIR = PROJECT_DIR / ".venv-grid"
# --retries is for a worker that was lost; a notebook that raised is not executed again. An option, and no `retries` of
# a rule: the Snakemakes within a SLURM job would heed that as well, even when their grid has long been killed.
OPTIONS = ("--retries", "1", "--keep-going", "--quiet", "host", "reason")
KEEP_STATE_S = 7 * 24 * 3600  # what a killed grid leaves of its engine is deleted after a week


def find_engine(cluster: bool = False) -> str:
    """Return the path of Snakemake: the project's, else the one on PATH.

    Raises
    ------
    FileNotFoundError : there is none, or (for `cluster`) no SLURM.
    """
    installed = ENGINE_DIR / "bin" / "snakemake"
    engine = str(installed) if installed.exists() else shutil.which("snakemake")
    if not engine:
        raise FileNotFoundError(
            "Snakemake, which runs the grid, is not installed. `make grid` installs it; by hand: python3.11 -m venv "
            ".venv-grid && .venv-grid/bin/pip install -r notebooks/grid.lock (its pins do not fit beside the study's)."
        )
    if cluster and not shutil.which("sbatch"):
        raise FileNotFoundError(
            "no SLURM here: `sbatch` is not on PATH. Start the grid on a login node of the cluster, or leave out "
            "the cluster to use this machine's cores."
        )
    return engine


def run_grid(
    cells: Sequence[Cell],
    place: Place,
    notebooks_dir: Path = NOTEBOOKS_DIR,
    cluster: str | None = None,
    cores: int | None = None,
    threads: int = 1,
    engine_options: Sequence[str] = (),
    keep: str = "all",
) -> list[Cell]:
    """Make the cells that are not done, then notebook 05 of what is there; return the cells that are still not done.

    Parameters
    ----------
    cluster : "slurm", or a folder with a Snakemake profile; this machine's cores if absent.
    cores, threads : how many cores to use here, and how many for each job.
    engine_options : handed on to Snakemake.
    keep : "clips" deletes each adapter once its clips are scored; "all" keeps them.

    Raises
    ------
    OSError : what is to be written does not fit.
    KeyboardInterrupt : it was interrupted; finished work is kept.
    """
    engine = [find_engine(cluster is not None), *OPTIONS, *_where(cluster, cores), *engine_options]
    metrics = Cell(place, notebooks_dir, NOTEBOOK_05)
    to_do = [cell for cell in cells if not cell.done]
    print(f"Grid: {len(cells)} jobs, {len(cells) - len(to_do)} already done", flush=True)
    at_once = len(to_do) if cluster else (cores or len(os.sched_getaffinity(0))) // threads or 1
    check_room(to_do, grid_folder(place), keep, at_once)
    for cell in [*to_do, metrics]:
        cell.failure.unlink(missing_ok=True)
    state = _engine_folder(grid_folder(place), [cell for cell in cells if cell not in to_do])
    where = {"profile": place.profile, "runs_dir": str(place.runs_dir), "notebooks_dir": str(notebooks_dir)}
    names = {
        "cells": [cell.name for cell in cells],
        "concepts": {cell.name.split("/")[0]: cell.concept for cell in cells},
        "first": {cell.setup: cell.first for cell in cells},
    }
    machine = {
        "keep": keep,
        "python": sys.executable,
        "project": str(PROJECT_DIR),
        "threads": threads,
        "gpus": needs_gpu(load_profile(place.profile)),
    }
    write_json(state / "config.json", {**where, **names, **machine})
    call = [*engine, "--snakefile", str(WORKFLOW), "--directory", str(state)]
    call += ["--configfile", str(state / "config.json")]
    codes = [_follow(call)] if to_do else []
    codes.append(_follow([*call, "--", f"done/{NOTEBOOK_05}"]))
    if any(codes):
        print(f"Grid: Snakemake ended with exit code {max(codes)}; what it printed is above.", file=sys.stderr)
    missing = [cell for cell in cells if not cell.done]
    if not (metrics.done and (state / "done" / NOTEBOOK_05).exists()):  # there may be one that an earlier grid made
        missing.append(metrics)
    if keep == "clips":
        for cell in cells:
            if cell.done:
                drop_adapter(cell.run)
    if not missing:
        shutil.rmtree(state)
    return missing


def needs_gpu(profile: Profile) -> bool:
    """Whether a profile's jobs ask for a GPU: where it says so, or where its model is too large for a CPU."""
    return profile.device == "cuda" or (profile.device == "auto" and memory_bytes(profile) > 0)


def _engine_folder(folder: Path, done: Sequence[Cell]) -> Path:
    """Make the engine's folder, in which the cells of `done` are marked; delete what grids left a week ago."""
    with explain_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for state in folder.glob(".engine-*"):
            if time.time() - state.stat().st_mtime > KEEP_STATE_S:
                shutil.rmtree(state)
        state = Path(tempfile.mkdtemp(prefix=".engine-", dir=folder))
    for cell in done:
        flag = state / "done" / cell.name
        flag.parent.mkdir(parents=True, exist_ok=True)
        flag.touch()
    return state


def _where(cluster: str | None, cores: int | None) -> list[str]:
    if cluster == "slurm":
        return ["--workflow-profile", str(SLURM_PROFILE), *_status_by_queue()]
    if cluster:
        return ["--workflow-profile", str(Path(cluster).resolve())]
    return ["--cores", str(cores or len(os.sched_getaffinity(0)))]


def _status_by_queue() -> list[str]:
    """Have `squeue` say how jobs are where SLURM keeps no accounts: by `sacct` they would never come to an end."""
    accounts = ["sacct", "--noheader", "--starttime", "now"]
    if shutil.which("sacct") and subprocess.run(accounts, capture_output=True).returncode == 0:
        return []
    return ["--slurm-status-command", "squeue"]


def _follow(command: Sequence[str]) -> int:
    """Run the engine to its end and return its exit code; interrupted, it first stops its jobs.

    Raises
    ------
    KeyboardInterrupt : it was interrupted, from the keyboard or by SIGTERM.
    """
    with subprocess.Popen(command) as engine:

        def stop(*_signal) -> None:
            engine.send_signal(signal.SIGINT)
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGTERM, stop)
        try:
            engine.wait()
        finally:
            signal.signal(signal.SIGTERM, before)
            engine.wait()
    return engine.returncode
