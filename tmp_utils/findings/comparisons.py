"""Comparisons within a results table.

Conventions: differences are A minus B over the concepts and seeds that both have, with `intervals`' intervals;
p-values are corrected over the whole table by Holm's rule. Failed rows are left out and counted.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from tmp_utils.figures.look import setup_label, setups_in_order
from tmp_utils.figures.study import summary
from tmp_utils.findings.verdicts import MIN_CONCEPTS, UNIT, paper_table
from tmp_utils.findings.words import DASH, DIGITS, bracketed, in_digits
from tmp_utils.metrics.intervals import holm, mean_of, paired_difference
from tmp_utils.metrics.names import AGREEMENTS, TABLE_1, digits_of, short_name
from tmp_utils.metrics.table import CODEC, COPIED, REFERENCE, UNTRAINED, WHOLE_RUN, readable, whole_runs

BASELINE = "BL"


def has_values(results: pd.DataFrame, *metrics: str) -> bool:
    """Return whether each of these metrics has a finished row of some setup."""
    return set(metrics) <= set(whole_runs(results, *metrics)["metric"])


def comparable(results: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the concepts and seeds that all of the paper's setups here have, so that means compare.

    Another setup stays if it has all of these, too; of a table without setups of the paper, all setups count. Where no
    concept and seed has them all, the table stays as it is. Rows of all concepts together, which no mean is of, go with
    the others.
    """
    runs = whole_runs(results, "clap_a")
    units = {name: set(map(tuple, of[UNIT].to_numpy())) for name, of in runs.groupby(["method", "setup"])}
    asked = units.keys() & set(map(tuple, paper_table("table1")[["method", "setup"]].to_numpy())) or units.keys()
    common = set.intersection(*(units[name] for name in asked)) if asked else set()
    if not common:
        return results
    partial = {name for name, has in units.items() if not common <= has}
    kept = [
        (concept, seed) in common and (method, setup) not in partial
        for concept, seed, method, setup in results[[*UNIT, "method", "setup"]].itertuples(index=False)
    ]
    return results[kept]


def coverage(results: pd.DataFrame) -> pd.DataFrame:
    """Return concepts by setups: the number of seeds, and "(k failed)" where k of them have failed rows.

    It is empty where no run was scored by CLAP-A.
    """
    rows = results[(results["prompt"] == WHOLE_RUN) & (results["metric"] == "clap_a")]
    if rows.empty:
        return pd.DataFrame()
    run = ["concept", "method", "setup", "seed"]
    bad = set(results.loc[results["status"] == "failed", run].itertuples(index=False, name=None))
    keys = ["concept", "method", "setup"]
    cells = {}
    for (concept, method, setup), group in rows.groupby(keys, sort=False):
        failed = sum((concept, method, setup, seed) in bad for seed in group["seed"])
        cells[concept, method, setup] = f"{len(group)}" + (f" ({failed} failed)" if failed else "")
    order = setups_in_order(key[1:] for key in cells)
    table = pd.Series(cells, dtype=object).rename_axis(keys).unstack("concept", fill_value="").reindex(order).T
    table.columns = [setup_label(*setup) for setup in order]
    return table


def failures(results: pd.DataFrame) -> pd.DataFrame:
    """Return the failed rows: which run, which prompt, which metric, and why."""
    columns = ["concept", "method", "setup", "seed", "prompt", "metric", "note"]
    return results.loc[results["status"] == "failed", columns].reset_index(drop=True)


def differences(results: pd.DataFrame, metrics: Sequence[str] = TABLE_1) -> pd.DataFrame:
    """Return each setup minus its method's baseline, and DB's baseline minus every other method's.

    Returns
    -------
    metric, a, b, difference, ci_low, ci_high, p_holm, n_concepts, n_runs. Under `findings.MIN_CONCEPTS` concepts there
    is a difference, but neither an interval nor a p-value.
    """
    table = []
    for metric in metrics:
        rows = whole_runs(results, metric)
        for a, b in _pairs(setups_in_order(zip(rows["method"], rows["setup"], strict=True))):
            sides = [rows[(rows["method"] == method) & (rows["setup"] == setup)] for method, setup in (a, b)]
            units = pd.merge(*(side[UNIT] for side in sides))
            if units.empty:
                continue
            interval = paired_difference(*sides, on=UNIT, levels=UNIT[:1])
            certainty = (interval.ci_low, interval.ci_high, interval.p_value)
            certainty = certainty if interval.n >= MIN_CONCEPTS else (np.nan,) * 3
            table.append((metric, setup_label(*a), setup_label(*b), interval.value, *certainty, interval.n, len(units)))
    names = ["metric", "a", "b", "difference", "ci_low", "ci_high", "p_holm", "n_concepts", "n_runs"]
    table = pd.DataFrame(table, columns=names)
    return table.assign(p_holm=holm(table["p_holm"]))


def seeds_or_concepts(results: pd.DataFrame) -> pd.DataFrame:
    """Return how far seeds and concepts lie apart in "DB's baseline minus TI's", and what a second seed would bring.

    The model has random effects of the concept and, within it, of the seed (one-way analysis of variance), over the
    concepts that have two seeds, the two that most concepts have; agreement as in `readable`.

    Returns
    -------
    Rows by short name of the metric; columns concepts, difference, shift (the mean of the second seed minus the first:
    noise that all concepts share) with ci_low and ci_high, sd_seeds and sd_concepts in the metric's units, and width:
    of an interval with two seeds of each concept, relative to one with one seed. (Twice the concepts: 0.71.)

    Raises
    ------
    ValueError : fewer than `MIN_CONCEPTS` concepts have two seeds.
    """
    rows, results = {}, readable(results)
    for metric in (*TABLE_1, *AGREEMENTS):
        whole = whole_runs(results, metric)
        sides = whole[whole["setup"] == BASELINE].pivot_table(index=UNIT, columns="method", values="value")
        if {"DB", "TI"} <= set(sides.columns):
            units = (sides["DB"] - sides["TI"]).unstack("seed")
            pairs = [units[[*pair]].dropna().to_numpy() for pair in combinations(units.columns, 2)]
            most = max(pairs, key=len, default=())
            if len(most) >= MIN_CONCEPTS:
                rows[short_name(metric)] = _seeds_or_concepts(most)
    if not rows:
        raise ValueError(f"fewer than {MIN_CONCEPTS} concepts have both baselines with two seeds.")
    return pd.DataFrame(rows).T.astype({"concepts": int})


def seeds_in_words(results: pd.DataFrame) -> str:
    """Say how far a second seed moves "DB's baseline minus TI's" in CLAP-A; ValueError as `seeds_or_concepts`."""
    row = seeds_or_concepts(results).loc[short_name("clap_a")]
    first, second = (row["difference"] + sign * row["shift"] / 2 for sign in (-1, 1))
    shift = bracketed(row["shift"], row["ci_low"], row["ci_high"], DIGITS)
    return (
        "All concepts share a seed's noise, so intervals over concepts leave it out. On "
        f"{row['concepts']:.0f} concepts with two seeds, DreamBooth minus Textual Inversion in CLAP-A is "
        f"{in_digits(first, DIGITS)} and {in_digits(second, DIGITS)} (second minus first {shift})."
    )


def _seeds_or_concepts(units: np.ndarray) -> dict[str, float]:
    """Return a row of `seeds_or_concepts` from differences (concepts, seeds)."""
    of_seeds = units.var(axis=1, ddof=1).mean()
    of_concepts = max(0.0, units.mean(axis=1).var(ddof=1) - of_seeds / units.shape[1])
    both, shift = of_concepts + of_seeds, mean_of(units[:, -1] - units[:, 0])
    return {
        "concepts": len(units),
        "difference": units.mean(),
        "shift": shift.value,
        "ci_low": shift.ci_low,
        "ci_high": shift.ci_high,
        "sd_seeds": np.sqrt(of_seeds),
        "sd_concepts": np.sqrt(of_concepts),
        "width": np.sqrt((of_concepts + of_seeds / 2) / both) if both else np.nan,
    }


def _pairs(setups: Sequence[tuple[str, str]]) -> list[tuple]:
    within = [(setup, (setup[0], BASELINE)) for setup in setups if setup[1] != BASELINE]
    first = ("DB", BASELINE)
    across = [(first, setup) for setup in setups if setup[1] == BASELINE and setup != first]
    return [(a, b) for a, b in [*within, *across] if a in setups and b in setups]


def memorisation(results: pd.DataFrame) -> pd.DataFrame:
    """Return method, setup, the cosine to the nearest training clip, that within training, their excess, and copies.

    All are means over concepts. An excess above 0 means that generated clips are closer to a training clip than
    training clips are to each other. The column "copied", the share of clips that are copies, is there only where runs
    were tested for it.
    """
    within = whole_runs(results, "nearest_within_training", references=True).groupby("concept")["value"].mean()
    parts = [
        whole_runs(results, metric).groupby(["method", "setup", "concept"])["value"].mean().rename(metric)
        for metric in ("nearest_training", COPIED)
    ]
    table = pd.concat(parts, axis=1).join(within.rename("within_training"), on="concept")
    table["excess"] = table["nearest_training"] - table["within_training"]
    means = table.groupby(["method", "setup"])[["nearest_training", "within_training", "excess", COPIED]].mean()
    means = means if means[COPIED].notna().any() else means.drop(columns=COPIED)
    return means.loc[setups_in_order(means.index)].reset_index()


def way_to_a_copy(results: pd.DataFrame) -> pd.DataFrame:
    """Return by agreement the untrained model, the paper's baselines and the codec, and how far the baselines come.

    Over concepts whose own clips agree (`readable`). Methods beyond the paper, which fewer concepts have, are left out.

    Returns
    -------
    Rows by short name of the metric; columns untrained, codec and each method's baseline, all means over the
    ``concepts`` that have them all, and "<method> way": 0 is the untrained model, 1 the codec.
    """
    rows, results = {}, readable(results)
    for metric in AGREEMENTS:
        whole = whole_runs(results, metric, references=True)
        whole = whole[whole["method"].isin([UNTRAINED, REFERENCE, *paper_table("table1")["method"]])]
        whole = whole[(whole["method"] == UNTRAINED) | whole["setup"].isin([CODEC, BASELINE])]
        names = whole["method"].replace(REFERENCE, CODEC)
        means = whole.assign(name=names).pivot_table(index="concept", columns="name", values="value").dropna()
        if means.empty or not {UNTRAINED, CODEC} < set(means.columns):
            continue
        of = means.mean()
        span = of[CODEC] - of[UNTRAINED] or np.nan  # where the codec keeps no more than the untrained model has
        ways = {f"{name} way": (of[name] - of[UNTRAINED]) / span for name in of.index.difference([UNTRAINED, CODEC])}
        rows[short_name(metric)] = {**of, **ways, "concepts": len(means)}
    return pd.DataFrame(rows).T


def side_by_side(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the paper's setups as rows; as columns each metric of each table, by its name, and of the paper."""
    table1 = paper_table("table1").set_index(["method", "setup"])
    columns = {}
    for metric in TABLE_1:
        for name, results in tables.items():
            by_concept = whole_runs(results, metric).groupby(["method", "setup", "concept"])["value"].mean()
            columns[metric, name] = by_concept.groupby(["method", "setup"]).mean().reindex(table1.index)
        columns[metric, "paper"] = table1[metric]
    return pd.DataFrame(columns)


def setup_cells(results: pd.DataFrame, digits: int | None = None) -> pd.DataFrame:
    """Return Table 1 as text: method, setup, and for each metric our mean with its interval and the paper's number.

    Columns are `TABLE_1`'s metrics and "<metric>_paper". Setups that the paper does not have come last, and then the
    untrained model and the codec. A number that there is none of is a dash, a failed one the word "failed".

    Parameters
    ----------
    digits : decimals of our numbers; by default as many as are worth reading (`names.digits_of`).
    """
    table1 = paper_table("table1")
    known = results["metric"].isin(TABLE_1) & ((results["method"] != REFERENCE) | (results["setup"] == CODEC))
    setups = results.loc[known, ["method", "setup"]]
    setups = setups.sort_values("method", key=lambda names: names.isin([REFERENCE, UNTRAINED]), kind="stable")
    setups = pd.concat([table1[["method", "setup"]], setups]).drop_duplicates(ignore_index=True)
    paper, cells = setups.merge(table1, on=["method", "setup"], how="left"), setups.copy()
    for metric in TABLE_1:
        cells[metric] = _our_cells(results, metric, setups, digits or digits_of(metric))
        cells[f"{metric}_paper"] = [in_digits(value, 2 + (round(value, 2) != value)) for value in paper[metric]]
    return cells


def _our_cells(results: pd.DataFrame, metric: str, setups: pd.DataFrame, digits: int) -> list[str]:
    """Return our cell of each setup: mean and interval, and the number of failed runs."""
    rows, cells = results[(results["metric"] == metric) & (results["prompt"] == WHOLE_RUN)], []
    good = summary(rows, metric, with_references=True) if (rows["status"] == "ok").any() else None
    for method, setup in setups.itertuples(index=False, name=None):
        runs = rows[(rows["method"] == method) & (rows["setup"] == setup)]
        failed, cell = int((runs["status"] == "failed").sum()), DASH
        if good is not None and len(mean := good[(good["method"] == method) & (good["setup"] == setup)]):
            cell = bracketed(*mean[["value", "ci_low", "ci_high"]].iloc[0], digits)
        if failed:
            cell = "failed" if failed == len(runs) else f"{cell} ({failed} failed)"
        cells.append(cell)
    return cells


def every_metric(results: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each concept, metric and embedder, one column for each method and setup.

    Parameters
    ----------
    results : a results table (`metrics.RESULT_COLUMNS`).

    Returns
    -------
    Text: the value of the whole run, or the mean over prompts where there is none; the mean over seeds; the interval
    where there is one value, since intervals cannot be averaged.
    """
    keys, cells = ["concept", "metric", "embedder"], {}
    for (*row, method, setup), group in results.groupby([*keys, "method", "setup"], sort=False):
        whole = group[group["prompt"] == WHOLE_RUN]
        cells.setdefault((method, setup), {})[tuple(row)] = _cell(whole if len(whole) else group)
    rows = pd.MultiIndex.from_tuples(dict.fromkeys(row for column in cells.values() for row in column), names=keys)
    columns = {setup_label(*setup): pd.Series(cells[setup]) for setup in setups_in_order(cells)}
    shown = pd.DataFrame(columns, index=rows).fillna("").reset_index()
    return shown.sort_values("concept", kind="stable", ignore_index=True)


def _cell(rows: pd.DataFrame) -> str:
    values, n_failed = rows["value"].dropna(), int((rows["status"] == "failed").sum())
    if values.empty:
        return "failed" if n_failed else "undefined"
    low, high = rows.iloc[0][["ci_low", "ci_high"]]
    if len(rows) == 1 and pd.notna(low) and pd.notna(high):
        return f"{values.iloc[0]:.3f} [{low:.3f}, {high:.3f}]"
    notes = [f"mean of {len(values)}"] * (len(values) > 1) + [f"{n_failed} failed"] * (n_failed > 0)
    return f"{values.mean():.3f}" + (f" ({', '.join(notes)})" if notes else "")
