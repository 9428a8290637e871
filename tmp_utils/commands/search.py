"""Which learning rates suit a profile, and which weight of the prior: a small search, on concepts that are in no
reported result.

Conventions: `python -m tmp_utils search --profile pocket`. Each candidate trains `SEARCHED` concepts in the method's BL
setup (its only setup, for some) with one seed, and is scored by CLAP-A of a few reconstruction clips plus CLAP-T of a
few edits: a method must learn the concept *and* still follow the prompt. `best` says what wins, and a test that
`data/profiles.toml` has it; the whole table stays in `data/published/search-<profile>.csv`, where a new search takes
the place of the rows that it made again and leaves the others. Prior preservation has a rate of its own, `prior_lr`.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product

import pandas as pd

from tmp_utils.files import check_writable, write_csv
from tmp_utils.findings.published import read_if_there
from tmp_utils.inputs.concepts import load_concept
from tmp_utils.inputs.profiles import DATA_DIR, load_setup
from tmp_utils.personalize import Diverged, personalise
from tmp_utils.runs.overfitting import measure_adapter
from tmp_utils.runs.protocol import Lab

SEARCHED = ("accordion", "rumba", "gymnopedie")
WITH_PRIOR, WEIGHTS = "DB-PP", (0.3, 1.0)
CANDIDATES = {
    "TI": (5e-3, 1e-2, 2e-2, 5e-2),
    "DB": (1.25e-5, 2.5e-5, 5e-5, 1e-4, 2e-4, 4e-4),
    "DB-LoRA": (3e-4, 1e-3, 3e-3, 1e-2),
    "DB-CD": (5e-4, 1e-3, 3e-3),
    "DB-SV": (3e-3, 1e-2, 3e-2, 1e-1),
    "TI-DB": (2.5e-5, 5e-5, 1e-4, 2e-4),
    WITH_PRIOR: (2.5e-5, 5e-5, 1e-4, 2e-4, 4e-4, 8e-4),
}
SEED = 1000  # of no reported run
N_CLIPS, N_EDITS = 4, 5  # reconstruction clips and edits that score a candidate
TIE = 0.02  # three concepts cannot decide between sums that close
CANDIDATE = ["method", "prior_weight", "lr", "concept"]
COLUMNS = [*CANDIDATE, "clap_a", "clap_t", "sum", "note"]


def search(lab: Lab, candidates: Mapping[str, Sequence[float]], concepts: Sequence[str]) -> Iterator[dict]:
    """Yield `COLUMNS`: scores of each candidate and concept; of a training that diverges, the reason.

    Parameters
    ----------
    candidates : learning rates by method.
    concepts : names in the catalogue.
    """
    for method, rates in candidates.items():
        trained, rate = ("DB", "prior_lr") if method == WITH_PRIOR else (method, "lr")
        for weight, lr in product(WEIGHTS if method == WITH_PRIOR else (0.0,), rates):
            chosen = lab.profile.methods | {trained: lab.profile.method(trained) | {rate: lr}}
            profile = replace(lab.profile, methods=chosen)
            setup = replace(load_setup(trained, "BL"), prior_weight=weight)
            for concept in map(load_concept, concepts):
                row = {"method": method, "prior_weight": weight, "lr": lr, "concept": concept.name}
                try:
                    adapter = personalise(
                        lab.backbone, concept, setup, SEED, profile=profile, cache_dir=lab.place.cache
                    )
                except Diverged as error:
                    yield row | {"note": str(error)}
                    continue
                rows = measure_adapter(lab, concept, adapter, SEED, n_clips=N_CLIPS, n_prompts=N_EDITS)
                scores = {row["metric"]: row["value"] for row in rows}
                yield row | scores | {"sum": sum(scores.values()), "note": ""}


def best(table: pd.DataFrame, method: str, paper_rate: float | None = None) -> tuple[float, float]:
    """Return the rate and the weight of the prior with the highest mean sum.

    A pair at which a training diverged is none of them. Of rates that tie with the best, the paper's is taken if it is
    one of them.

    Raises
    ------
    ValueError : no pair of the method has scores of all of its concepts.
    """
    of_pairs = table[table["method"] == method].groupby(["lr", "prior_weight"])["sum"]
    means = of_pairs.agg(lambda sums: sums.mean(skipna=False)).dropna()
    if means.empty:
        raise ValueError(f"{method}: every rate diverged, or none was tried.")
    ties = means[means >= means.max() - TIE]
    of_paper = ties[ties.index.get_level_values("lr") == paper_rate]
    lr, weight = (of_paper if len(of_paper) else means).idxmax()
    return float(lr), float(weight)


def with_row(table: pd.DataFrame, row: dict) -> pd.DataFrame:
    """Return the table with a candidate's row, in the place of an earlier one of the same candidate and concept."""
    both = pd.concat([table, pd.DataFrame([row], columns=COLUMNS)], ignore_index=True)
    return both.drop_duplicates(CANDIDATE, keep="last").sort_values(CANDIDATE, ignore_index=True)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what only this command takes."""
    parser.add_argument(
        "--concepts", nargs="+", default=SEARCHED, choices=SEARCHED, help="concepts to learn (default: all three)"
    )
    parser.add_argument(
        "--methods", nargs="+", default=list(CANDIDATES), choices=list(CANDIDATES), help="methods (default: all)"
    )


def main(options: argparse.Namespace) -> None:
    """Search and write the table."""
    lab = Lab.load(options.profile)
    target = DATA_DIR / "published" / f"search-{options.profile}.csv"
    check_writable(target)
    known = read_if_there(target)
    table = pd.DataFrame(columns=COLUMNS) if known is None else known
    for row in search(lab, {method: CANDIDATES[method] for method in options.methods}, options.concepts):
        print(row, flush=True)
        table = with_row(table, row)
        write_csv(target, table)
    print(table.groupby(["method", "prior_weight", "lr"])[["clap_a", "clap_t", "sum"]].mean().round(3))
    for method in options.methods:
        lr, weight = best(table, method)
        print(f"{method}: the highest mean sum is at rate {lr:g}" + f" and weight {weight:g}" * (weight > 0))
