"""``python -m tmp_utils pocket STAGE ...``: make the pocket model, or one part of it.

Without a stage, all of them in order. A stage that is done is skipped; one that was stopped goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tmp_utils.pocket.stages import STAGES, Recipe


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what only this command takes."""
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"of {', '.join(STAGES)}; none means all")
    parser.add_argument("--build", type=Path, default=Path("runs/pocket-build"), help="where the parts are made")


def main(options: argparse.Namespace) -> None:
    """Run the stages that are named."""
    for name in options.stages or STAGES:
        if name not in STAGES:
            raise ValueError(f"no stage {name!r}; there are {', '.join(STAGES)}.")
        print(f"== {name}", flush=True)
        STAGES[name](options.build, Recipe())
