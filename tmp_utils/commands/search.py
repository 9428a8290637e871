"""Which learning rates suit a profile, and which weight of the prior: a small search, on concepts that are in no
reported result.

Conventions: `python -m tmp_utils search --profile pocket`. Each candidate trains `SEARCHED` concepts in the method's BL
setup (its only setup, for some) with one seed, and is scored by CLAP-A of a few reconstruction clips plus CLAP-T of a
few edits: a method must learn the concept *and* still follow the prompt. `best_rate` says what wins, and a test that
`data/profiles.toml` has it; the whole table stays in `data/published/search-<profile>.csv`, where a new search takes
the place of the rows that it made again and leaves the others. Prior preservation has a rate of its own, `prior_lr`.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product

import pandas as pd

from tmp_utils.files import write_csv
from tmp_utils.inputs.concepts import load_concept
from tmp_utils.inputs.profiles import DATA_DIR, load_setup
from tmp_utils.personalize import Diverged, personalise
from tmp_utils.runs.overfitting import measure_adapter
from tmp_utils.runs.protocol import Lab

SEARCHED = ("accordion", "rumba", "gymnopedie")
WITH_PRIOR, WEIGHTS = "DB+PP", (0.3, 1.0)
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


def best_rate(table: pd.DataFrame, method: str, paper_rate: float | None = None) -> float:
    """Return the rate with the highest mean sum; of rates that tie with it, the paper's if it is one of them."""
    means = table[table["method"] == method].groupby("lr")["sum"].mean()
    ties = means.index[means >= means.max() - TIE]
    return paper_rate if paper_rate in ties else float(means.idxmax())


def best_with_prior(table: pd.DataFrame) -> tuple[float, float]:
    """Return the rate and the weight of prior preservation with the highest mean sum."""
    rows = table[table["method"] == WITH_PRIOR]
    weight, lr = rows.groupby(["prior_weight", "lr"])["sum"].mean().idxmax()
    return lr, weight


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
    target.parent.mkdir(exist_ok=True)
    table = pd.read_csv(target) if target.exists() else pd.DataFrame(columns=COLUMNS)
    for row in search(lab, {method: CANDIDATES[method] for method in options.methods}, options.concepts):
        print(row, flush=True)
        table = with_row(table, row)
        write_csv(target, table)
    print(table.groupby(["method", "prior_weight", "lr"])[["clap_a", "clap_t", "sum"]].mean().round(3))
