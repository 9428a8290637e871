"""Jobs handed to Snakemake, on this machine's cores or on SLURM.

Conventions: every grid gets an engine folder of its own, `<grid>/.engine-*`, so that two grids share nothing but the
runs and their locks; it is deleted when all is done. Snakemake lives in its own environment, `.venv-grid`, since its
pins do not fit beside the study's; `notebooks/grid.lock` holds one resolution. Threads are counted for each job.

run_grid    : jobs -> those that are still not done.
find_engine : the Snakemake to use, or what to do without one.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tmp_utils.commands.grid.plan import NOTEBOOKS_DIR, Job, grid_folder, plan_metrics
from tmp_utils.files import explain_os_errors, write_json
from tmp_utils.runs.provenance import PROJECT_DIR

WORKFLOW = NOTEBOOKS_DIR / "grid.smk"
SLURM_PROFILE = NOTEBOOKS_DIR / "slurm"
ENGINE_DIR = PROJECT_DIR / ".venv-grid"
# For a worker that was lost; a notebook that raised is not executed again. An option, and no `retries` of a rule: that
# the Snakemakes within a SLURM job would heed as well, and try four times, also when their grid has long been killed.
RETRIES = ("--retries", "1")
LOOK_S = 2.0  # how often what is done is looked at
TAIL_LINES = 12
KEEP_STATE_S = 7 * 24 * 3600  # what a killed grid leaves of its engine is deleted after a week


def find_engine(cluster: bool = False) -> str:
    """Return the path of Snakemake: the project's own, else the one on PATH.

    Raises
    ------
    FileNotFoundError
        If there is none, or (for `cluster`) no SLURM.
    """
    own = ENGINE_DIR / "bin" / "snakemake"
    found = str(own) if own.exists() else shutil.which("snakemake")
    if not found:
        raise FileNotFoundError(
            "Snakemake, which runs the grid, is not installed. `make grid` installs it; by hand: python3.11 -m venv "
            ".venv-grid && .venv-grid/bin/pip install -r notebooks/grid.lock (its pins do not fit beside the study's)."
        )
    if cluster and not shutil.which("sbatch"):
        raise FileNotFoundError(
            "no SLURM here: `sbatch` is not on PATH. Start the grid on a login node of the cluster, or leave out "
            "the cluster to use this machine's cores."
        )
    return found


def run_grid(
    jobs: Sequence[Job],
    profile: str,
    runs_dir: Path,
    notebooks_dir: Path = NOTEBOOKS_DIR,
    cluster: str | None = None,
    cores: int | None = None,
    threads: int = 1,
    engine_options: Sequence[str] = (),
) -> list[Job]:
    """Run what is not done, then notebook 05 on what is there; returns the jobs that are still not done.

    Parameters
    ----------
    cluster : str, optional
        "slurm", or a folder with a Snakemake profile; this machine's cores if absent.
    cores, threads : int
        How many cores to use here, and how many for each job.
    engine_options : list of str
        Handed on to Snakemake.

    Raises
    ------
    KeyboardInterrupt
        If it was told to stop; what is finished is kept.
    """
    engine = [find_engine(cluster is not None), *RETRIES, *_place(cluster, cores), *engine_options]
    folder = grid_folder(runs_dir, profile)
    last = plan_metrics(profile, runs_dir, notebooks_dir)
    to_do = [job for job in jobs if not job.done]
    print(f"Grid: {len(jobs)} jobs, {len(jobs) - len(to_do)} already done", flush=True)
    with explain_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        state = Path(tempfile.mkdtemp(prefix=".engine-", dir=folder))
    settings = {"threads": threads, "gpus": int(profile == "paper")}
    _schedule(engine, to_do, state / "runs", settings)
    _schedule(engine, [last], state / "metrics", settings)
    missing = [job for job in [*jobs, last] if not job.done]
    if not missing:
        shutil.rmtree(state)
    return missing


def _place(cluster: str | None, cores: int | None) -> list[str]:
    if cluster == "slurm":
        return ["--workflow-profile", str(SLURM_PROFILE), *_ask_after_jobs()]
    if cluster:
        return ["--workflow-profile", str(Path(cluster).resolve())]
    return ["--cores", str(cores or len(os.sched_getaffinity(0)))]


def _ask_after_jobs() -> list[str]:
    """Have jobs asked after with `squeue` where SLURM keeps no accounts: by `sacct` they would never come to an end."""
    asked = ["sacct", "--noheader", "--starttime", "now"]
    if shutil.which("sacct") and subprocess.run(asked, capture_output=True).returncode == 0:
        return []
    return ["--slurm-status-command", "squeue"]


def _schedule(engine: Sequence[str], jobs: Sequence[Job], state: Path, settings: dict) -> None:
    """Hand jobs to a Snakemake with a folder of its own, and wait until it has done what it can."""
    waiting = {job.name for job in jobs}
    for job in jobs:
        job.forget_failure()
        order = {key: getattr(job, key) for key in ("notebook", "parameters", "run", "settings", "output")}
        path = state / "orders" / f"{job.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, order | {"again": job.name.startswith("05/")})
    config = {"jobs": {job.name: [name for name in job.after if name in waiting] for job in jobs}}
    state.mkdir(parents=True, exist_ok=True)
    write_json(state / "config.json", {**config, **settings, "python": sys.executable, "project": str(PROJECT_DIR)})
    options = ["--snakefile", str(WORKFLOW), "--directory", str(state), "--configfile", str(state / "config.json")]
    if jobs:
        _follow([*engine, *options, "--keep-going"], jobs, state)


def _follow(command: Sequence[str], jobs: Sequence[Job], state: Path) -> None:
    """Run the engine to its end, and say what is done and what failed as it happens.

    Raises
    ------
    KeyboardInterrupt
        If it was told to stop, from the keyboard or by a signal.
    """
    told, stopped, log = set(), [], state / "engine.log"
    with log.open("w") as said, subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT) as engine:

        def stop(*_signal) -> None:
            stopped.append(True)
            engine.send_signal(signal.SIGINT)

        before = signal.signal(signal.SIGTERM, stop)
        try:
            while engine.poll() is None:
                try:
                    time.sleep(LOOK_S)
                except KeyboardInterrupt:  # the engine was told too, and stops its jobs
                    stopped.append(True)
                _tell(jobs, state / "done", told)
        finally:
            signal.signal(signal.SIGTERM, before)
    _tell(jobs, state / "done", told)
    if stopped:
        raise KeyboardInterrupt
    if len(told) < len(jobs):  # some job neither came to its end nor said why
        lines = [line.strip() for line in log.read_text(encoding="utf-8").splitlines()]
        reasons = list(dict.fromkeys(line for line in lines if line.startswith("message: ")))
        tail = "\n  ".join((reasons or lines)[-TAIL_LINES:])
        print(f"The engine stopped before all was said (all of it: {log}):\n  {tail}", file=sys.stderr)


def _tell(jobs: Sequence[Job], done: Path, told: set[str]) -> None:
    for job in jobs:
        made = (done / job.name).exists()
        if job.name not in told and (made or job.why_not):
            told.add(job.name)
            print(f"[{len(told)}/{len(jobs)}] {job.name}: {'done' if made else 'failed'}", flush=True)


def _sweep(folder: Path) -> None:
    """Delete what grids that were killed long ago left of their engine."""
    for state in folder.glob(".engine-*"):
        if time.time() - state.stat().st_mtime > KEEP_STATE_S:
            shutil.rmtree(state)
