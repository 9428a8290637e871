"""Whether the paper's findings hold here: one verdict for each claim, computed from the results table.

Conventions: a claim is a row of ``data/paper/findings.csv``: the ``metric`` of side ``a`` is higher (lower, not lower,
not higher) than that of side ``b``. A metric "x - y" is the difference of two. Agreement (in tempo, key, ...) counts
for the concepts whose own clips agree with each other (`metrics.table.readable`). A side is "METHOD/SETUP", or
"METHOD/*", the mean over that method's setups in Table 1. "each METHOD/SETUP@*" compares with every other fifth of the
strengths of style transfer; one rival decides. Differences are A minus B, paired by concept and seed; the units are the
concepts' means. A claim's ``margin`` is the smallest difference that matters, with its reason beside it, in the units
of the metric or ("5 %") as a part of side B.

Student's t over concepts gives interval and p-values (`intervals`). Verdicts, with at least three concepts, are those
of `metrics.equivalence`, in a claim's words:

- "reproduced", "contradicted": the difference from zero is significant, and supports or contradicts the claim. For "not
  lower" and "not higher" it is the difference from the margin below or above zero: a claim that nothing is lost, or
  gained, cannot be tested against zero. A significant difference counts even where it is smaller than the margin, as
  many of the paper's are.
- "no difference": it is not, but two one-sided tests put the difference within the margin on both sides.
- "undecided": neither.

Holm's rule corrects either kind of test over all claims, so that the chance of any wrong "reproduced" or "contradicted"
is at most 5 %, and that of any wrong "no difference", too. Claims with the same ``pair`` are the parts of one sentence
of the paper, which is judged as a whole (`findings.claims`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.metrics.equivalence import ALPHA, NO_DIFFERENCE, UNDECIDED, one_sided, with_verdicts
from tmp_utils.metrics.intervals import LEVEL, MIN_UNITS, Bounds, Interval, mean_of, p_above
from tmp_utils.metrics.names import MUSICNN, key_of, metric_of
from tmp_utils.metrics.preservation import FIFTHS
from tmp_utils.metrics.table import WHOLE_RUN, check_one_embedder, is_share, readable

REPRODUCED, CONTRADICTED = "reproduced", "contradicted"
VERDICTS = (REPRODUCED, CONTRADICTED, NO_DIFFERENCE, UNDECIDED)
NOT_LOWER, NOT_HIGHER = "not lower", "not higher"
DIRECTIONS = ("higher", "lower", NOT_LOWER, NOT_HIGHER)
MINUS = " - "  # between the two metrics of a difference
UNIT = ["concept", "seed"]
MIN_CONCEPTS = MIN_UNITS  # an interval over fewer says nothing about other concepts
OF_SECOND = ["difference", "ci_low", "ci_high", "n_concepts", "verdict"]


def paper_table(name: str) -> pd.DataFrame:
    """Return a table of the paper: "table1", "table2" or "findings"."""
    path = DATA_DIR / "paper" / f"{name}.csv"
    if not path.is_file():
        names = sorted(file.stem for file in path.parent.glob("*.csv"))
        raise ValueError(f"no table {name!r} of the paper; expected one of {names}.")
    return pd.read_csv(path, keep_default_na=False, float_precision="round_trip")


@dataclass(frozen=True)
class Comparison:
    """One difference between two sides over concepts."""

    ours_a: float
    ours_b: float
    differences: np.ndarray  # (n,), of each concept
    bounds: Bounds
    margin: float
    n_runs: int
    against: str
    members: tuple[str, ...]  # "METHOD/SETUP", of both sides

    @property
    def n(self) -> int:
        return len(self.differences)


@dataclass(frozen=True)
class Judgement:
    """What decides a claim: a comparison, whether it supports the claim, and the p-values of both kinds of test."""

    comparison: Comparison
    supports: bool
    interval: Interval
    p_value: float
    p_equal: float


def _names(table: pd.DataFrame) -> pd.Series:
    """Return "METHOD/SETUP" of each row, as claims name a side."""
    return table["method"] + "/" + table["setup"]


def _members(side: str, table1: pd.DataFrame) -> list[str]:
    """Return the "METHOD/SETUP" names of a side."""
    name = side.removeprefix("each ")
    method, _, setup = name.partition("/")
    if not setup or setup.endswith("@*") != side.startswith("each "):
        raise ValueError(f"side {side!r} of a claim: expected 'METHOD/SETUP', 'METHOD/*' or 'each METHOD/SETUP@*'.")
    if setup.endswith("@*"):
        return [f"{name.removesuffix('*')}{fifth}" for fifth in FIFTHS]
    return [name for name in table1.index if name.startswith(f"{method}/")] if setup == "*" else [name]


def _units(measured: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the finished values of a metric: concepts and seeds in rows, "METHOD/SETUP" in columns."""
    if MINUS in metric:
        first, second = (_units(measured, part) for part in metric.split(MINUS))
        return first - second
    ours = measured[(measured["metric"] == metric) & (measured["status"] == "ok")]
    return ours.assign(name=_names(ours)).pivot_table(index=UNIT, columns="name", values="value")


def _compare(units: pd.DataFrame, claim: Mapping, b: str, table1: pd.DataFrame) -> Comparison | str:
    """Return the comparison of a claim's side A with ``b``, or the reason why there is none."""
    members_a, members_b = _members(claim["a"], table1), _members(b, table1)
    if missing := [member for member in members_a + members_b if member not in units.columns]:
        return f"no results for {', '.join(missing)}"
    a, other = (units[members].to_numpy().mean(axis=1) for members in (members_a, members_b))
    pairs = pd.DataFrame({"a": a, "b": other, "difference": a - other}, index=units.index.get_level_values("concept"))
    if (pairs := pairs.dropna()).empty:
        return "no concept and seed has results for both sides"
    bounds = None
    if is_share(claim["metric"]):
        bounds = (-2.0, 2.0) if MINUS in claim["metric"] else (-1.0, 1.0)
    of_concepts = pairs.groupby(level="concept").mean()
    ours_a, ours_b = float(of_concepts["a"].mean()), float(of_concepts["b"].mean())
    values, margin = of_concepts["difference"].to_numpy(), _margin(claim["margin"], ours_b)
    return Comparison(ours_a, ours_b, values, bounds, margin, len(pairs), b, (*members_a, *members_b))


def _margin(text: str, of: float) -> float:
    """Return a margin in the units of the metric; "5 %" is of the value of side B."""
    text = str(text).strip()
    margin = float(text.removesuffix("%")) / 100 * abs(of) if text.endswith("%") else float(text)
    if not margin >= 0:
        raise ValueError(f"findings: margin {text!r}; expected a number that is not negative, or one with %.")
    return margin


def _judge(units: pd.DataFrame, claim: Mapping, table1: pd.DataFrame) -> Judgement | str:
    """Return what decides a claim; for "each", the rival that decides.

    A claim about all other fifths holds only if it holds against each: its p-value is that of the rival with the
    weakest support, the largest of all. A refutation is the best of k comparisons: p-value and interval of that rival
    are Bonferroni's for k. "No difference" means that the best rival is within the margin: no rival is better by more,
    and (Bonferroni) some rival is worse by less.
    """
    rivals = [claim["b"]]
    if claim["b"].startswith("each "):
        rivals = [member for member in _members(claim["b"], table1) if member != claim["a"]]
    comparisons = [_compare(units, claim, rival, table1) for rival in rivals]
    if reasons := [reason for reason in comparisons if isinstance(reason, str)]:
        return reasons[0]
    sign, k = -1 if claim["direction"] in ("lower", NOT_HIGHER) else 1, len(rivals)
    by_margin = claim["direction"] in (NOT_LOWER, NOT_HIGHER)
    nulls = [-c.margin if by_margin else 0.0 for c in comparisons]
    each = [(c.differences, null, c.bounds) for c, null in zip(comparisons, nulls, strict=True)]
    favours = np.array([sign * values.mean() - null for values, null, _ in each])
    support = np.array([p_above(values, null, bounds, sign) for values, null, bounds in each])
    against = np.array([p_above(values, -null, bounds, -sign) for values, null, bounds in each])
    supports = bool((favours > 0).all())
    if min(c.n for c in comparisons) < MIN_CONCEPTS:  # then there are no p-values to rank by
        chosen = int(favours.argmin())
    else:
        chosen = int(support.argmax()) if supports else int(against.argmin())
    p_value = 2 * (support[chosen] if supports else k * against[chosen])
    sides = [one_sided(c.differences, c.margin, c.bounds)[::sign] for c in comparisons]
    not_worse, not_better = zip(*sides, strict=True)
    p_equal = np.nan if by_margin else min(1.0, max(*not_worse, k * min(not_better)))
    c = comparisons[chosen]
    interval = mean_of(c.differences, "concepts", c.bounds, LEVEL if supports else 1 - ALPHA / k)
    return Judgement(c, supports, interval, min(1.0, p_value), p_equal)


def _of_the_paper(claim: Mapping, table1: pd.DataFrame) -> dict:
    """Return the paper's two numbers from its Table 1, and whether they agree with its text."""
    nothing = {"paper_a": np.nan, "paper_b": np.nan, "paper_agrees": "no numbers published"}
    if (metric := metric_of(claim["metric"])) not in table1.columns:
        return nothing
    members_a, members_b = (_members(claim[side], table1) for side in "ab")
    if not {*members_a, *members_b} <= set(table1.index):  # the untrained model is not in it
        return nothing
    means = table1[metric].astype(float)
    paper_a, paper_b = means[members_a].mean(), means[members_b].mean()
    slack = _margin(claim["margin"], paper_b)
    holds = {"higher": paper_a > paper_b, "lower": paper_a < paper_b}
    holds |= {NOT_LOWER: paper_a >= paper_b - slack, NOT_HIGHER: paper_a <= paper_b + slack}
    return {"paper_a": paper_a, "paper_b": paper_b, "paper_agrees": "yes" if holds[claim["direction"]] else "no"}


def verdicts(results: pd.DataFrame, findings: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the findings table: for each claim the paper's numbers, ours, the difference and the verdict.

    Parameters
    ----------
    results : a results table (`metrics.RESULT_COLUMNS`) of one profile.
    findings : the claims; by default those of ``data/paper/findings.csv``.

    Returns
    -------
    id, claim, source, metric, a, b, direction, pair, paper_a, paper_b, paper_agrees, against, ours_a, ours_b,
    difference, ci_low, ci_high, margin, p_holm, p_equal (of the equivalence test, corrected), n_concepts, n_runs,
    embedder, verdict; then difference, ci_low, ci_high, n_concepts and verdict by the second embedder (ending in
    "_second"), and note. Failed rows are left out and counted in the note. ``paper_agrees``: whether the paper's Table
    1 agrees with its text; ``against``: the rival that decides. With fewer than ``MIN_CONCEPTS`` concepts there is a
    difference, but neither an interval nor a p-value.

    Notes
    -----
    The second embedder is MusiCNN, on sound alone. It compares with the concept's clips after the codec, which
    alone costs them a fifth of their similarity by MusiCNN. Its p-values are corrected over its own claims.

    Raises
    ------
    ValueError : the table mixes embedders or profiles, or a claim has an unknown direction.
    """
    findings = paper_table("findings") if findings is None else findings
    table1 = paper_table("table1")
    table1.index = _names(table1)
    check_one_embedder(results)
    if len(profiles := sorted(results["profile"].unique())) > 1:
        raise ValueError(f"results of the profiles {profiles} arrived; pass the rows of one profile at a time.")
    if unknown := sorted(set(findings["direction"]) - set(DIRECTIONS)):
        raise ValueError(f"findings: column direction has {unknown}; expected one of {DIRECTIONS}.")
    whole = readable(results[results["prompt"] == WHOLE_RUN])
    table = _judged(whole, findings, table1)
    seconds = findings["metric"].map(lambda metric: key_of(metric, MUSICNN, coded=True))
    both = findings[seconds.isin(set(whole["metric"]))]
    second = _judged(whole, both.assign(metric=seconds[both.index]), table1) if len(both) else table.iloc[:0]
    table = table.join(second[OF_SECOND].add_suffix("_second")).fillna({"verdict_second": ""})
    return table[[*[name for name in table.columns if name != "note"], "note"]]


def _judged(whole: pd.DataFrame, findings: pd.DataFrame, table1: pd.DataFrame) -> pd.DataFrame:
    measured = {name: whole[whole["metric"].isin(name.split(MINUS))] for name in findings["metric"].unique()}
    units = {metric: _units(rows, metric) for metric, rows in measured.items()}
    rows = [
        _row(measured[claim["metric"]], claim, table1, _judge(units[claim["metric"]], claim, table1))
        for claim in findings.to_dict("records")
    ]
    return with_verdicts(pd.DataFrame(rows, index=findings.index))


def _row(measured: pd.DataFrame, claim: Mapping, table1: pd.DataFrame, judgement: Judgement | str) -> dict:
    """Return a claim's row, its p-values not yet corrected; its verdict is that of a significant difference."""
    row = {name: claim[name] for name in ("id", "claim", "source", "metric", "a", "b", "direction", "pair")}
    row |= _of_the_paper(claim, table1)
    numbers = ("ours_a", "ours_b", "difference", "ci_low", "ci_high", "margin", "p_holm", "p_equal")
    row |= {"against": ""} | dict.fromkeys(numbers, np.nan)
    row |= {"n_concepts": 0, "n_runs": 0, "embedder": "", "verdict": UNDECIDED}
    if isinstance(judgement, str):
        n_failed = int((measured["status"] != "ok").sum())
        return row | {"note": judgement + (f"; {n_failed} rows of this metric failed" if n_failed else "")}
    comparison, interval, enough = judgement.comparison, judgement.interval, judgement.comparison.n >= MIN_CONCEPTS
    ok = measured["status"] == "ok"
    n_failed = _names(measured[~ok]).isin(comparison.members).sum()
    notes = [f"{n_failed} failed rows left out"] if n_failed else []
    if not enough:
        notes.append(f"{comparison.n} of the {MIN_CONCEPTS} concepts that a verdict needs")
    if comparison.against != claim["b"]:
        notes.append(f"{comparison.against} decides")
    row |= {"ours_a": comparison.ours_a, "ours_b": comparison.ours_b, "against": comparison.against}
    row |= {"difference": interval.value, "margin": comparison.margin, "note": "; ".join(notes)}
    row |= {"n_concepts": comparison.n, "n_runs": comparison.n_runs}
    row |= {"embedder": measured["embedder"][ok].iloc[0]}
    row |= {"verdict": REPRODUCED if judgement.supports else CONTRADICTED}
    if enough:
        row |= {"ci_low": interval.ci_low, "ci_high": interval.ci_high}
        row |= {"p_holm": judgement.p_value, "p_equal": judgement.p_equal}
    return row
