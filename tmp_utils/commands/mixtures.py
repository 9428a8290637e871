"""All mixtures in all their setups, judged, and their table.

Conventions: `python -m tmp_utils mixtures` runs what is not done yet (`runs.mixtures`) and prints the verdicts.
`--publish` first writes the table of what is done to `data/published/mixtures.csv`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import product

import pandas as pd

from tmp_utils.commands import NOT_ALL
from tmp_utils.files import check_writable
from tmp_utils.findings.mixtures import (
    in_words,
    means_in_words,
    mixture_verdicts,
    publish_mixtures,
    published_mixtures_path,
)
from tmp_utils.findings.published import AND, commits
from tmp_utils.inputs.mixtures import list_mixture_setups, list_mixtures, load_mixture
from tmp_utils.personalize import Diverged
from tmp_utils.runs.integrity import read_manifest
from tmp_utils.runs.lab import Lab
from tmp_utils.runs.mixtures import (
    MIXTURES,
    REFERENCES,
    method_and_setup,
    mixture_runs,
    mixtures_table,
    run_mixtures,
    run_names,
)

NOTHING_TO_COMPARE = (
    "Nothing to compare: no two setups of one method were run on the same mixture, as TI-PROMPT and TI-PRIOR."
)


def chosen_setups(names: Sequence[str]) -> list[str]:
    """Return names of setups; "all", and of one method "TI", stand for several, and the references come first.

    Raises
    ------
    ValueError
        If a name is none of them.
    """
    setups = list_mixture_setups()
    groups = {"all": run_names(), "references": list(REFERENCES)}
    for setup in setups:
        groups.setdefault(setup.method, []).append(setup.name)
    chosen = list(REFERENCES)
    for name in names:
        if name not in run_names() and name not in groups:
            raise ValueError(f'"{name}" is not a setup of mixtures; expected {", ".join([*groups, *run_names()])}.')
        chosen += groups.get(name, [name])
    return list(dict.fromkeys(chosen))


def chosen_mixtures(names: Sequence[str]) -> list[str]:
    """Return names of mixtures, all for none; ValueError where one is not in the table."""
    known = [row.name for row in list_mixtures()]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f'"{unknown[0]}" is not a mixture; data/mixtures.csv has {", ".join(known)}.')
    return list(names) or known


def commands_of(table: pd.DataFrame, profile: str) -> list[str]:
    """Return the commands that make the runs of a table: one for the mixtures that have the same setups and seeds."""
    mixtures: dict[tuple, list[str]] = {}
    for mixture, rows in table.groupby("mixture"):
        made = set(zip(rows["method"], rows["setup"], strict=True))
        names = [name for name in chosen_setups(["all"]) if method_and_setup(name) in made and name not in REFERENCES]
        mixtures.setdefault((*(names or ["references"]), "--seeds", *sorted(rows["seed"].unique())), []).append(mixture)
    start = f"python -m tmp_utils mixtures --profile {profile} --setups"
    return [f"{start} {' '.join(map(str, of))} --mixtures {' '.join(names)}" for of, names in mixtures.items()]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what only this command takes."""
    parser.add_argument(
        "--mixtures", nargs="+", default=[], metavar="NAME", help="rows of data/mixtures.csv (default: all)"
    )
    parser.add_argument(
        "--setups", nargs="+", default=["TI"], metavar="NAME", help="TI (default), DB, all, or names such as TI-PRIOR"
    )
    parser.add_argument("--publish", action="store_true", help="write the table of all finished runs to data/published")


def main(options: argparse.Namespace) -> int | None:
    """Run the mixtures, publish their table if asked to, print the verdicts; return 1 if a training diverged."""
    names, setups, seeds = chosen_mixtures(options.mixtures), chosen_setups(options.setups), options.seeds or [0]
    lab = Lab.load(options.profile, options.runs_dir)
    path = published_mixtures_path(lab.profile.name)
    if options.publish:
        check_writable(path)
    mixtures, failed = [load_mixture(name) for name in names], []
    for mixture, name in product(mixtures, setups):
        try:
            run_mixtures(lab, [mixture], [name], seeds)
        except Diverged as error:
            failed.append(f"{mixture.name} {name}: {error}")
    table = mixtures_table(lab.place)
    if options.publish:
        facts = {"profile": lab.profile.name, "commit": ", ".join(commits(mixture_runs(lab.place)))}
        facts |= {"command": AND.join(commands_of(table, lab.profile.name))}
        shares = {read_manifest(folder)["parameters"]["share_of_steps"] for folder in mixture_runs(lab.place)}
        facts |= {"backbone": lab.backbone.hash[:12], "share_of_steps": ", ".join(map(str, sorted(shares)))}
        print(f"Written: {publish_mixtures(table, path, facts)}")
    print(means_in_words(table).to_string(index=False))
    print("\n".join(in_words(mixture_verdicts(table))) or NOTHING_TO_COMPARE)
    print(f"Runs: {lab.place.folder / MIXTURES}")
    for reason in failed:
        print(reason, file=sys.stderr)
    return NOT_ALL if failed else None
