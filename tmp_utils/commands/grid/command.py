"""`python -m tmp_utils grid`: the grid from the command line; see `--help`."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tmp_utils.commands.grid.engine import run_grid
from tmp_utils.commands.grid.plan import NOTEBOOKS_DIR, choose_seeds, choose_setups, plan

INTERRUPTED = 130
LOST = "not finished: not started, for what comes before it failed, or killed (out of memory, time limit, node lost)."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a grid from the command line; returns the exit code: 0 if all is done, 1 if jobs failed, 2 if it cannot."""
    options = vars(_parser().parse_args(arguments))
    asked = [options.pop(key) for key in ("concepts", "setups", "seeds")]
    options["engine_options"] = shlex.split(options["engine_options"])
    try:
        where = {key: options[key] for key in ("profile", "runs_dir", "notebooks_dir")}
        jobs = plan(concepts=asked[0], setups=choose_setups(asked[1]), seeds=choose_seeds(asked[2]), **where)
        missing = run_grid(jobs, **options)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"\n{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. What is finished is kept; run again to go on from there.", file=sys.stderr)
        return INTERRUPTED
    for job in missing:
        print(f"{job.name}: {job.why_not or LOST}", file=sys.stderr)
    print(f"Grid: {len(missing)} jobs failed; run again to go on from there." if missing else "Grid: all done.")
    return 1 if missing else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tmp_utils grid", description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="pocket", help="pocket (default), paper or smoke")
    parser.add_argument("--concepts", nargs="+", default=["all"], help="all, names in data/concepts.csv, or folders")
    parser.add_argument("--setups", nargs="+", default=["all"], help="all, paper, methods (TI) or names (TI-BL)")
    parser.add_argument("--seeds", nargs="+", default=["1"], help="2: seeds 0 and 1; 0 4 or 3-5: which")
    parser.add_argument("--runs-dir", default="runs", help="where everything is written")
    parser.add_argument("--notebooks-dir", type=Path, default=NOTEBOOKS_DIR, help="where the notebooks are")
    parser.add_argument("--cluster", help="slurm, or a folder with a Snakemake profile; else this machine's cores")
    parser.add_argument("--cores", type=int, help="how many cores to use here (all)")
    parser.add_argument("--threads", type=int, default=1, help="how many for each job (1)")
    parser.add_argument("--engine-options", default="", help="handed on to Snakemake, in one string")
    return parser
