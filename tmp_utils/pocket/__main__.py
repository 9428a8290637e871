"""``python -m tmp_utils.pocket STAGE ...``: make the pocket model, or one part of it.

Without a stage, all of them in order. A stage that is done is skipped; one that was stopped goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tmp_utils.pocket.stages import STAGES, Recipe


def main() -> None:
    """Parse the stages and run them."""
    parser = argparse.ArgumentParser(prog="python -m tmp_utils.pocket", description=__doc__)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"of {', '.join(STAGES)}; none means all")
    parser.add_argument("--build", type=Path, default=Path("runs/pocket-build"), help="where the parts are made")
    arguments = parser.parse_args()
    for name in arguments.stages or STAGES:
        if name not in STAGES:
            parser.error(f"no stage {name!r}; there are {', '.join(STAGES)}")
        print(f"== {name}", flush=True)
        STAGES[name](arguments.build, Recipe())


if __name__ == "__main__":
    main()
