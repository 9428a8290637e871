"""``python -m tmp_utils pocket STAGE ...``: make the pocket model, or one part of it.

Without a stage, all of them in order. A finished stage is skipped; an interrupted one is resumed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tmp_utils.pocket.stages import STAGES, Budget


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"{', '.join(STAGES)} (default: all)")
    parser.add_argument("--build", type=Path, default=Path("runs/pocket-build"), help="where the parts are made")


def main(options: argparse.Namespace) -> None:
    """Run the stages that are named."""
    for name in options.stages or STAGES:
        if name not in STAGES:
            raise ValueError(f"unknown stage {name!r}; expected one of {', '.join(STAGES)}.")
        print(f"== {name}", flush=True)
        STAGES[name](options.build, Budget())
