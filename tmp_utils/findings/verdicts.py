"""Whether the paper's findings hold here: one verdict for each claim, computed from the results table.

Conventions: a claim is a row of ``data/paper/findings.csv``: the ``metric`` of side ``a`` is higher (lower, not lower)
than that of side ``b``. A side is "METHOD/SETUP", or "METHOD/*", the mean over that method's setups in Table 1, or a
number. "each METHOD/*" ("each */*" for both methods) compares with every other setup; the setup closest to refuting the
claim decides. Differences are A minus B, paired by concept and seed, with the intervals and p-values of `intervals`;
Holm's rule corrects the p-values over all claims. A claim is decided if its corrected p-value is below 0.05, its
interval excludes zero and there are at least three concepts: "reproduced" if the difference supports it, "not
reproduced" if the difference contradicts it. Otherwise it is "undecided at this n".

verdicts       : the findings table.
two_embedders  : the claims about closeness by both embedders.
paper_table    : a table of the paper.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.metrics.intervals import MIN_UNITS, SHARE, Interval, holm, paired_difference
from tmp_utils.metrics.names import key_of, metric_of
from tmp_utils.metrics.table import WHOLE_RUN, check_one_embedder, is_share

REPRODUCED, NOT_REPRODUCED, UNDECIDED = "reproduced", "not reproduced", "undecided at this n"
DIRECTIONS = ("higher", "lower", "not lower")
UNIT = ["concept", "seed"]
MIN_CONCEPTS = MIN_UNITS  # an interval over fewer says nothing about other concepts
ALPHA = 0.05
SECOND_EMBEDDER = "musicnn:"  # begins the second embedder's name


def paper_table(name: str) -> pd.DataFrame:
    """Return a table of the paper: "table1", "table2" or "findings"."""
    path = DATA_DIR / "paper" / f"{name}.csv"
    if not path.is_file():
        names = sorted(file.stem for file in path.parent.glob("*.csv"))
        raise ValueError(f"no table {name!r} of the paper; expected one of {names}.")
    return pd.read_csv(path, keep_default_na=False, dtype={"a": str, "b": str}, float_precision="round_trip")


@dataclass(frozen=True)
class Comparison:
    """One difference between two sides, ours and the paper's."""

    ours_a: float
    ours_b: float
    difference: Interval
    tested: Interval  # the difference that is tested against 0: for "not lower", A minus (1 - margin) B
    n_runs: int
    against: str
    n_failed: int


def _members(side: str, table1: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the (method, setup) pairs of a side."""
    method, _, setup = side.removeprefix("each ").partition("/")
    if not setup:
        raise ValueError(f"side {side!r} of a claim: expected 'METHOD/SETUP', 'METHOD/*' or a number.")
    if setup != "*":
        return [(method, setup)]
    rows = table1 if method == "*" else table1[table1["method"] == method]
    return list(rows[["method", "setup"]].itertuples(index=False, name=None))


def _constant(side: str) -> float | None:
    try:
        return float(side)
    except ValueError:
        return None


def _values(results: pd.DataFrame, members: list[tuple[str, str]]) -> pd.DataFrame:
    """Return the mean over the members for each concept and seed that has them all."""
    keys = pd.MultiIndex.from_frame(results[["method", "setup"]])
    chosen = results[keys.isin(members)]
    units = chosen.groupby(UNIT, sort=True)["value"].agg(["mean", "size"])
    return units[units["size"] == len(members)]["mean"].rename("value").reset_index()


def _missing(results: pd.DataFrame, members: list[tuple[str, str]]) -> list[str]:
    available = set(results[["method", "setup"]].itertuples(index=False, name=None))
    return [f"{method}/{setup}" for method, setup in members if (method, setup) not in available]


def _compare(measured: pd.DataFrame, claim: pd.Series, b: str, table1: pd.DataFrame, seed: int) -> Comparison | str:
    """Return the comparison of a claim's side A with ``b``, or the reason why there is none."""
    a, margin, ours = claim["a"], float(claim["margin"]), measured[measured["status"] == "ok"]
    members_a, constant = _members(a, table1), _constant(b)
    members_b = [] if constant is not None else _members(b, table1)
    if missing := _missing(ours, members_a + members_b):
        return f"no results for {', '.join(missing)}"
    side_a = _values(ours, members_a)
    side_b = _values(ours, members_b) if members_b else side_a.assign(value=constant)
    pairs = side_a.merge(side_b, on=UNIT, suffixes=("_a", "_b"))
    if pairs.empty:
        return "no concept and seed has results for both sides"
    how = {"on": UNIT, "levels": UNIT[:1], "seed": seed}
    if is_share(claim["metric"]):
        how["bounds"] = (-1.0, 1.0) if constant is None else (SHARE[0] - constant, SHARE[1] - constant)
    difference = paired_difference(side_a, side_b, **how)
    within = side_b.assign(value=(1 - margin) * side_b["value"])
    tested = paired_difference(side_a, within, **how) if margin else difference
    means = pairs.groupby("concept")[["value_a", "value_b"]].mean().mean()
    keys = pd.MultiIndex.from_frame(measured[["method", "setup"]])
    n_failed = int((keys.isin(members_a + members_b) & (measured["status"] != "ok")).sum())
    return Comparison(float(means["value_a"]), float(means["value_b"]), difference, tested, len(pairs), b, n_failed)


def _judge(measured: pd.DataFrame, claim: pd.Series, table1: pd.DataFrame, seed: int) -> Comparison | str:
    """Return the comparison that decides a claim: for "each", the one with the weakest support.

    A claim about all other setups is only as certain as its weakest comparison, so its p-value is the largest of them.
    A refutation is the best of many comparisons, so its p-value is multiplied by their number (Bonferroni).
    """
    if not claim["b"].startswith("each "):
        return _compare(measured, claim, claim["b"], table1, seed)
    others = [m for m in _members(claim["b"], table1) if m != tuple(claim["a"].split("/"))]
    comparisons = [_compare(measured, claim, "/".join(other), table1, seed) for other in others]
    if reasons := [reason for reason in comparisons if isinstance(reason, str)]:
        return reasons[0]
    favours = [_favour(comparison.tested, claim["direction"]) for comparison in comparisons]
    few = min(favour.n for favour in favours) < MIN_CONCEPTS  # then there are no intervals to rank by
    if against := [k for k, favour in enumerate(favours) if favour.value < 0]:
        k = min(against, key=lambda k: favours[k].value if few else favours[k].ci_high)
        p_value = min(1.0, len(comparisons) * favours[k].p_value)
    else:
        k = min(range(len(comparisons)), key=lambda k: favours[k].value if few else favours[k].ci_low)
        p_value = max(favour.p_value for favour in favours)
    return replace(comparisons[k], tested=replace(comparisons[k].tested, p_value=p_value))


def _favour(tested: Interval, direction: str) -> Interval:
    """Return the interval with its sign such that values above 0 support the claim."""
    if direction != "lower":
        return tested
    return replace(tested, value=-tested.value, ci_low=-tested.ci_high, ci_high=-tested.ci_low)


def _verdict(favour: Interval, p_value: float) -> str:
    if favour.n < MIN_CONCEPTS or not (p_value < ALPHA and favour.excludes_zero):
        return UNDECIDED
    return REPRODUCED if favour.value > 0 else NOT_REPRODUCED


def _of_the_paper(claim: pd.Series, table1: pd.DataFrame) -> dict:
    """Return the paper's two numbers from its Table 1, and whether they agree with its text."""
    metric = metric_of(claim["metric"])
    if metric not in table1.columns:
        return {"paper_a": np.nan, "paper_b": np.nan, "paper_agrees": "no numbers published"}
    means = table1.set_index(["method", "setup"])[metric].astype(float)
    members_a, members_b = (_members(claim[side], table1) for side in "ab")
    paper_a = means[members_a].mean()
    others = means[[member for member in members_b if member not in members_a]]
    closest = others.max() if claim["direction"] == "higher" else others.min()
    paper_b = closest if claim["b"].startswith("each ") else others.mean()
    slack = float(claim["margin"]) * abs(paper_b)
    holds = {"higher": paper_a > paper_b, "lower": paper_a < paper_b, "not lower": paper_a >= paper_b - slack}
    return {"paper_a": paper_a, "paper_b": paper_b, "paper_agrees": "yes" if holds[claim["direction"]] else "no"}


def verdicts(
    results: pd.DataFrame,
    findings: pd.DataFrame | None = None,
    table1: pd.DataFrame | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the findings table: for each claim the paper's numbers, ours, the difference and the verdict.

    Parameters
    ----------
    results : pandas.DataFrame
        A results table (`metrics.RESULT_COLUMNS`) of one profile.
    findings, table1 : pandas.DataFrame, optional
        The claims and the paper's Table 1; by default those under ``data/paper``.

    Returns
    -------
    pandas.DataFrame
        id, claim, source, metric, a, b, direction, paper_a, paper_b, paper_agrees, against, ours_a, ours_b,
        difference, ci_low, ci_high, p_holm, n_concepts, n_runs, embedder, verdict, note. Failed rows are left out
        and counted in the note. ``paper_agrees``: whether the paper's Table 1 agrees with its text; ``against``: the
        setup of "each" that decided. With fewer than ``MIN_CONCEPTS`` concepts there is a difference, but neither an
        interval nor a p-value.

    Raises
    ------
    ValueError
        If the table mixes embedders or profiles, or a claim has an unknown direction.
    """
    findings = paper_table("findings") if findings is None else findings
    table1 = paper_table("table1") if table1 is None else table1
    check_one_embedder(results)
    if len(profiles := sorted(results["profile"].unique())) > 1:
        raise ValueError(f"results of the profiles {profiles} arrived; pass the rows of one profile at a time.")
    if unknown := sorted(set(findings["direction"]) - set(DIRECTIONS)):
        raise ValueError(f"findings: column direction has {unknown}; expected one of {DIRECTIONS}.")
    whole = results[results["prompt"] == WHOLE_RUN]
    rows = [_row(whole, claim, table1, seed) for _, claim in findings.iterrows()]
    table = pd.DataFrame(rows)
    table["p_holm"] = holm(table["p_holm"])
    favours, table = table["favour"], table.drop(columns="favour")
    table["verdict"] = [
        UNDECIDED if favour is None else _verdict(favour, p) for favour, p in zip(favours, table["p_holm"], strict=True)
    ]
    return table[[*[name for name in table.columns if name != "note"], "note"]]


def _row(whole: pd.DataFrame, claim: pd.Series, table1: pd.DataFrame, seed: int) -> dict:
    """Return a claim's row, its p-value not yet corrected and its verdict not yet given."""
    measured = whole[whole["metric"] == claim["metric"]]
    comparison = _judge(measured, claim, table1, seed)
    row = {name: claim[name] for name in ("id", "claim", "source", "metric", "a", "b", "direction")}
    row |= _of_the_paper(claim, table1)
    blank = dict.fromkeys(("ours_a", "ours_b", "difference", "ci_low", "ci_high", "p_holm"), np.nan)
    row |= {"against": ""} | blank | {"n_concepts": 0, "n_runs": 0, "embedder": "", "favour": None}
    if isinstance(comparison, str):
        n_failed = int((measured["status"] != "ok").sum())
        return row | {"note": comparison + (f"; {n_failed} rows of this metric failed" if n_failed else "")}
    difference, enough = comparison.difference, comparison.difference.n >= MIN_CONCEPTS
    notes = [f"{comparison.n_failed} failed rows left out"] if comparison.n_failed else []
    if not enough:
        notes.append(f"{difference.n} of the {MIN_CONCEPTS} concepts that a verdict needs")
    if comparison.against != claim["b"]:
        notes.append(f"weakest against {comparison.against}")
    return row | {
        "ours_a": comparison.ours_a,
        "ours_b": comparison.ours_b,
        "against": comparison.against,
        "difference": difference.value,
        "ci_low": difference.ci_low if enough else np.nan,
        "ci_high": difference.ci_high if enough else np.nan,
        "p_holm": comparison.tested.p_value if enough else np.nan,
        "n_concepts": difference.n,
        "n_runs": comparison.n_runs,
        "embedder": measured.loc[measured["status"] == "ok", "embedder"].iloc[0],
        "favour": _favour(comparison.tested, claim["direction"]),
        "note": "; ".join(notes),
    }


def two_embedders(
    results: pd.DataFrame, findings: pd.DataFrame | None = None, table1: pd.DataFrame | None = None, seed: int = 0
) -> pd.DataFrame:
    """Return each claim that both embedders measure, judged by either, and whether they agree.

    Returns
    -------
    pandas.DataFrame
        id, claim, metric, then difference, verdict and n_concepts of CLAP and (with the ending "_second") of MusiCNN,
        which compares with the concept's clips after the codec, since it hears the codec more than the concept;
        embedders: "agree", "disagree" (the differences have opposite signs), or "one decides" (only one verdict is
        decided). Holm's rule corrects over the claims of this table, for each embedder. Empty where the second
        embedder measured nothing.
    """
    findings = paper_table("findings") if findings is None else findings
    seconds = findings["metric"].map(lambda metric: key_of(metric, SECOND_EMBEDDER, coded=True))
    both = seconds.isin(set(results["metric"])) & findings["metric"].isin(set(results["metric"]))
    if not both.any():
        return pd.DataFrame()
    first = verdicts(results, findings[both], table1, seed)
    second = verdicts(results, findings[both].assign(metric=seconds[both]), table1, seed)
    columns = ["difference", "verdict", "n_concepts"]
    table = first[["id", "claim", "metric", *columns]].join(second[columns].add_suffix("_second"))
    opposite = np.sign(table["difference"]) * np.sign(table["difference_second"]) < 0
    same = table["verdict"] == table["verdict_second"]
    return table.assign(embedders=np.select([opposite, same], ["disagree", "agree"], "one decides"))
