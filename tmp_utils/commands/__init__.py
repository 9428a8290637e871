"""The commands: `python -m tmp_utils <command> --help`.

Conventions: a command is a module with `main(arguments) -> exit code`: 0 is done, 1 is not all done, 2 cannot be done,
130 was interrupted. It is imported when it is called.

study     : execute the notebooks in order, and write the report.
grid      : many runs, on this machine's cores or on a cluster.
bench     : how long the steps take here, beside the paper's public code.
search    : which learning rates suit a profile.
samplers  : how few denoising steps give the same scores.
readme    : the README's picture and table.
colab     : the set-up cell of the notebooks.
headless  : one notebook, with its progress on the terminal.
paper_clips, survey : fetch the paper's clips; serve the listening study.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

COMMANDS = {  # name: the module with its `main`, and what it does
    "study": ("commands.study", "run the notebooks in order and write the report"),
    "grid": ("commands.grid.command", "run many concepts, setups and seeds, on cores or a cluster"),
    "grid-job": ("commands.grid.job", "one job of a grid (the grid calls it)"),
    "results": ("findings.results", "collect the results table of a profile, and publish it"),
    "survey": ("commands.survey", "build the listening study from runs and serve it"),
    "bench": ("commands.bench.command", "time the steps on this machine"),
    "search": ("commands.search", "search learning rates"),
    "samplers": ("commands.samplers", "test samplers for equivalence with 50 DDIM steps"),
    "readme": ("commands.readme", "make the README's picture and table again"),
    "clips-paper": ("commands.paper_clips", "fetch the paper's own clips"),
    "pocket": ("pocket.command", "make the pocket model"),
    "stand-ins": ("pocket.stand_ins", "render the stand-in concepts and backgrounds"),
    "simulate": ("survey.simulate", "write the listening study's simulated answers"),
    "fake-backbone": ("model.blank", "write an AudioLDM-M with random weights"),
    "colab": ("commands.colab", "write the Colab set-up cell into every notebook"),
}


def run(arguments: Sequence[str]) -> int:
    """Run a command; return its exit code."""
    name, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if name in ("-h", "--help"):
        print("usage: python -m tmp_utils <command> [--help]\n")
        print("\n".join(f"  {command:14} {what}" for command, (_, what) in COMMANDS.items()))
        return 0
    if name not in COMMANDS:
        print(f'There is no command "{name}"; expected one of {", ".join(COMMANDS)}.', file=sys.stderr)
        return 2
    return importlib.import_module(f"tmp_utils.{COMMANDS[name][0]}").main(rest)
