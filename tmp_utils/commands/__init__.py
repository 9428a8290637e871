"""The commands: `python -m tmp_utils <command> --help`.

Conventions: a command is a module, imported when it is called. Its `add_options(parser)` adds what only it takes (the
options that several share are in `SHARED`), and `main(options)` does the work: it returns the exit code, or None for 0.
Every command ends in one way: 0 all done, 1 something is not done, 2 it cannot be done, 130 interrupted. An error is
one line on stderr; `python -X dev -m tmp_utils ...` shows the traceback instead.

quickstart : learn one concept, and write a page to listen to.
study     : execute the notebooks in order, and write the report.
grid      : many runs, on this machine's cores or on a cluster.
bench     : how long the steps take here, beside the paper's public code.
search    : which learning rates suit a profile.
mixtures  : words from mixtures, in all setups.
samplers  : how few denoising steps give the same scores.
how_many  : how many clips a concept needs, and how many steps.
readme    : the README's picture and table.
colab     : the set-up cell of the notebooks.
headless, widgets : one notebook, with its progress on the terminal; what its widgets showed, as plain HTML.
recordings, packages : cut the shipped recordings again, out of Debian and npm packages.
musicnn   : convert the weights of the second embedder from their package.
paper_clips, survey : fetch the paper's clips; serve the listening study.
fake_backbone : a model of published size with random weights.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

DONE, NOT_ALL, CANNOT, INTERRUPTED = 0, 1, 2, 130  # exit codes


class Unfinished(RuntimeError):
    """Some of the work is not done; the message says what, and the exit code is 1."""


class Command(NamedTuple):
    """A command: what it does, which of the `SHARED` options it takes, and the module with its `main`."""

    what: str
    shared: str = ""
    module: str = ""  # by default that of its name in this room


ALL_SHARED = "profile runs-dir concepts seeds"
COMMANDS = {
    "study": Command("run the notebooks in order and write the report", ALL_SHARED),
    "quickstart": Command("learn one concept and write a page to listen to", ALL_SHARED),
    "grid": Command(
        "run many concepts, setups and seeds, on this machine's cores or a cluster", ALL_SHARED, "commands.grid.command"
    ),
    "grid-job": Command("make one cell of a grid (the grid calls it)", "profile runs-dir", "commands.grid.job"),
    "results": Command(
        "collect the results table of a profile, and publish it", "profile runs-dir concepts", "findings.results"
    ),
    "survey": Command("build the listening study from runs and serve it", "profile runs-dir concepts"),
    "bench": Command("time the steps on this machine", "profile runs-dir", "commands.bench.command"),
    "search": Command("search learning rates", "profile"),
    "mixtures": Command("learn words from mixtures in all setups, and judge them", "profile runs-dir seeds"),
    "samplers": Command("test samplers for equivalence with 50 DDIM steps", "profile"),
    "how-many": Command("train on 1, 5 and 20 clips, and measure; twenty minutes a concept on one core", ALL_SHARED),
    "readme": Command("make the README's picture and table again", "profile runs-dir"),
    "clips-paper": Command("fetch the paper's clips; needs a network and ffmpeg", module="commands.paper_clips"),
    "pocket": Command("make the pocket model", module="pocket.stages"),
    "stand-ins": Command("render the stand-in concepts and backgrounds", module="pocket.stand_ins"),
    "recordings": Command("cut the shipped recordings again from their packages, and compare"),
    "musicnn-weights": Command("convert MusiCNN's weights from the package that ships them", module="commands.musicnn"),
    "simulate": Command("write the listening study's simulated answers", module="survey.simulate"),
    "fake-backbone": Command("write a model of published size with random weights"),
    "colab": Command("write the Colab set-up cell into every notebook"),
}


def module_of(name: str) -> ModuleType:
    """Import and return a command's module."""
    return importlib.import_module(f"tmp_utils.{COMMANDS[name].module or 'commands.' + name.replace('-', '_')}")


def first_seeds(n: str) -> list[int]:
    """Return the seeds 0 to n - 1."""
    if not n.isdigit() or not int(n):
        raise argparse.ArgumentTypeError(f"{n!r} is not a number of seeds; expected 1 or more.")
    return list(range(int(n)))


def seed(word: str) -> int:
    """Return a seed."""
    if not word.isdigit():
        raise argparse.ArgumentTypeError(f"{word!r} is not a seed; expected whole numbers from 0 up, such as 0 1.")
    return int(word)


SHARED = {
    "profile": {
        "--profile": {
            "default": "pocket",
            "help": "pocket (default), paper, smoke, or another of data/profiles.toml or of your own file",
        }
    },
    "runs-dir": {"--runs-dir": {"default": "runs", "help": "the folder of all runs (default: runs)"}},
    "concepts": {
        "--concepts": {"nargs": "+", "default": [], "help": "names in data/concepts.csv, or folders of recordings"}
    },
    "seeds": {
        "--seeds": {"nargs": "+", "type": seed, "default": [], "help": "which seeds, such as 0 1"},
        "--n-seeds": {"dest": "seeds", "type": first_seeds, "metavar": "N", "help": "the first N seeds; 2 is 0 1"},
    },
}


def run(arguments: Sequence[str]) -> int:
    """Run a command; return its exit code."""
    name, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if name in ("-h", "--help"):
        print("usage: python -m tmp_utils <command> [--help]\n")
        print("\n".join(f"  {name:14} {command.what}" for name, command in COMMANDS.items()))
        return DONE
    if name not in COMMANDS:
        print(f'There is no command "{name}"; expected one of {", ".join(COMMANDS)}.', file=sys.stderr)
        return CANNOT
    try:
        module = module_of(name)
        return module.main(parser_of(name, module).parse_args(rest)) or DONE
    except KeyboardInterrupt:
        print(f"\n{name}: interrupted. Finished work is kept; run again to continue.", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        if sys.flags.dev_mode:
            raise
        print(f"{name}: {error}", file=sys.stderr)
        return NOT_ALL if isinstance(error, Unfinished) else CANNOT


def parser_of(name: str, module: ModuleType) -> argparse.ArgumentParser:
    """Return a command's parser: the shared options it takes, then its others."""
    what = COMMANDS[name].what
    parser = argparse.ArgumentParser(prog=f"python -m tmp_utils {name}", description=f"{what[0].upper()}{what[1:]}.")
    for option in COMMANDS[name].shared.split():
        group = parser.add_mutually_exclusive_group()
        for flag, settings in SHARED[option].items():
            group.add_argument(flag, **settings)
    module.add_options(parser)
    return parser
