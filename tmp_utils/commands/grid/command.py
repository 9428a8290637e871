"""`python -m tmp_utils grid`: the grid from the command line; see `--help`."""

import argparse
import shlex
import sys
from pathlib import Path

from tmp_utils.commands import NOT_ALL
from tmp_utils.commands.grid.cells import NOTEBOOKS_DIR, cells, choose_setups
from tmp_utils.commands.grid.disk import KEEP
from tmp_utils.commands.grid.engine import run_grid
from tmp_utils.commands.grid.in_process import run_in_process
from tmp_utils.runs.place import Place

LOST = (
    "not finished: what comes before it failed, another grid is still making it, or it was killed (out of memory, "
    "time limit, node lost)."
)

ENGINE_ONLY = {"notebooks_dir": NOTEBOOKS_DIR, "cluster": None, "cores": None, "threads": 1, "engine_options": []}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what only this command takes."""
    parser.set_defaults(concepts=["all"], seeds=[0])
    parser.add_argument("--setups", nargs="+", default=["all"], help="all, paper, methods (TI) or names (TI-BL)")
    parser.add_argument("--notebooks-dir", type=Path, default=NOTEBOOKS_DIR, help="where the notebooks are")
    parser.add_argument(
        "--keep", choices=KEEP, default="all", help="clips: delete adapters once their clips are scored"
    )
    parser.add_argument("--cluster", help="slurm, or a folder with a Snakemake profile; else this machine's cores")
    parser.add_argument("--cores", type=int, help="cores to use on this machine (default: all)")
    parser.add_argument("--threads", type=int, default=1, help="threads of each job (default: 1)")
    parser.add_argument(
        "--no-notebooks", action="store_true", help="make all runs in one process, which loads the models once"
    )
    parser.add_argument("--engine-options", default="", type=shlex.split, help="options for Snakemake, in one string")


def main(options: argparse.Namespace) -> int | None:
    """Run a grid; return 1 if some jobs are not done."""
    settings = vars(options)
    if options.no_notebooks and (given := [name for name, usual in ENGINE_ONLY.items() if settings[name] != usual]):
        named = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ValueError(f"--no-notebooks makes all runs in this process, one after the other; leave out {named}.")
    concepts, setups, seeds = (settings.pop(key) for key in ("concepts", "setups", "seeds"))
    place = Place(settings.pop("runs_dir"), settings.pop("profile"))
    chosen = cells(
        place, concepts, choose_setups(setups), seeds, options.notebooks_dir, beside=not options.no_notebooks
    )
    if settings.pop("no_notebooks"):
        missing = run_in_process(chosen, settings["keep"])
    else:
        missing = {cell.name: cell.why_not or LOST for cell in run_grid(chosen, place, **settings)}
    for name, reason in missing.items():
        print(f"{name}: {reason}", file=sys.stderr)
    print(f"Grid: {len(missing)} jobs failed; run again to continue." if missing else "Grid: all done.")
    return NOT_ALL if missing else None
