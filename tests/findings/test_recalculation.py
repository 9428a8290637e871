"""The published verdicts, worked out once more from the table with scipy and none of the project's statistics."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tmp_utils.findings.claims import judged_both_ways
from tmp_utils.findings.published import read_published
from tmp_utils.findings.verdicts import verdicts

DATA = Path(__file__).parents[2] / "data"
OF_PAPER = {"DB": ["BL", "1-AC", "3-AC", "TE", "MIX"], "TI": ["BL", "1-AC", "3-AC", "MW", "MIX"]}
OTHER_FIFTHS = ["0.0-0.2", "0.2-0.4", "0.6-0.8", "0.8-1.0"]
BY_MUSICNN = {"clap_a": "musicnn_a_coded", "fad": "musicnn_fad_coded"}


def published(prior):
    """The whole runs that finished, without agreement of concepts whose own clips disagree."""
    table = pd.read_csv(DATA / "published" / "pocket.csv.gz", comment="#", keep_default_na=False)
    table = table[(table["prompt"] == "all") & (table["status"] == "ok")].astype({"value": float})
    if prior:
        table = table[(table["method"] != "DB") | table["setup"].str.endswith("-PP")]
        table["setup"] = table["setup"].str.removesuffix("-PP")
    own = table[(table["setup"] == "own clips") & (table["value"] < 0.8)]
    unclear = set(zip(own["concept"], own["metric"], strict=True))
    return table[[pair not in unclear for pair in zip(table["concept"], table["metric"], strict=True)]]


def side(table, metric, name):
    """The value of each concept; a mean over setups only where all were run."""
    if " - " in metric:
        first, second = metric.split(" - ")
        return side(table, first, name) - side(table, second, name)
    method, setup = name.split("/")
    setups = OF_PAPER[method] if setup == "*" else [setup]
    chosen = table[(table["metric"] == metric) & (table["method"] == method) & table["setup"].isin(setups)]
    runs = chosen.groupby(["concept", "seed"])["value"]
    return runs.mean()[runs.count() == len(setups)].groupby("concept").mean()


def p_value(values, null, alternative):
    return stats.ttest_1samp(values, null, alternative=alternative).pvalue if len(values) > 2 else np.nan


def of_claim(table, claim):
    """Return n, difference, ends of its interval, p, p of equivalence and the verdict if p is small."""
    each = claim["b"].startswith("each ")
    rivals = [f"TI/MW@{fifth}" for fifth in OTHER_FIFTHS] if each else [claim["b"]]
    up = claim["direction"] in ("higher", "not lower")
    more, less = ("greater", "less") if up else ("less", "greater")
    pairs = [
        pd.concat([side(table, claim["metric"], name) for name in (claim["a"], rival)], axis=1).dropna().to_numpy()
        for rival in rivals
    ]
    gaps, margin = [pair[:, 0] - pair[:, 1] for pair in pairs], claim["margin"]
    margins = [float(margin[:-1]) / 100 * pair[:, 1].mean() if "%" in margin else float(margin) for pair in pairs]
    at_margin, k = claim["direction"].startswith("not"), len(rivals)
    nulls = [(-size if up else size) * at_margin for size in margins]
    holds = all((gap.mean() > null) == up for gap, null in zip(gaps, nulls, strict=True))
    p_values = [p_value(gap, null, more if holds else less) for gap, null in zip(gaps, nulls, strict=True)]
    chosen = int(np.argmax(p_values) if holds else np.argmin(p_values))
    low, high = stats.t.interval(
        0.95 if holds else 1 - 0.05 / k, len(gaps[chosen]) - 1, gaps[chosen].mean(), stats.sem(gaps[chosen])
    )
    if claim["metric"].endswith("agreement") and " - " not in claim["metric"]:
        low, high = max(low, -1), min(high, 1)  # a difference of two shares
    edges = [(size if up else -size) for size in margins]
    worse = max(p_value(gap, -edge, more) for gap, edge in zip(gaps, edges, strict=True))
    better = k * min(p_value(gap, edge, less) for gap, edge in zip(gaps, edges, strict=True))
    return {
        "n": len(gaps[chosen]),
        "difference": gaps[chosen].mean(),
        "ci_low": low,
        "ci_high": high,
        "p": np.minimum(1, 2 * p_values[chosen] * (1 if holds else k)),
        "p_equal": np.nan if at_margin else np.minimum(1, max(worse, better)),
        "verdict": "reproduced" if holds else "contradicted",
    }


def holm(p_values):
    """Step down from the smallest; what was not tested does not count."""
    corrected, so_far, tested = p_values.copy(), 0.0, p_values.dropna().sort_values()
    for k, (name, p) in enumerate(tested.items()):
        so_far = max(so_far, min(1.0, p * (len(tested) - k)))
        corrected[name] = so_far
    return corrected


def recalculated(table, metrics=None, ids=None):
    claims = pd.read_csv(DATA / "paper" / "findings.csv", keep_default_na=False).set_index("id")
    claims = claims if ids is None else claims.loc[ids]
    if metrics:
        claims = claims[claims["metric"].isin(metrics)].assign(metric=claims["metric"].map(metrics))
    ours = pd.DataFrame({name: of_claim(table, claim) for name, claim in claims.iterrows()}).T.infer_objects()
    ours["p"], ours["p_equal"] = holm(ours["p"]), holm(ours["p_equal"])
    decided = [ours["p"] < 0.05, ours["p_equal"] < 0.05]
    return ours.assign(verdict=np.select(decided, [ours["verdict"], "no difference"], "undecided"))


@pytest.mark.parametrize("prior", [False, True])
def test_the_published_verdicts_are_those_of_a_recalculation_that_shares_no_code_with_them(prior):
    judged = list(judged_both_ways({"": read_published("pocket")}).values())[prior].set_index("id")
    ours = recalculated(published(prior), ids=judged.index)
    for name, column in (("n", "n_concepts"), ("difference",) * 2, ("p", "p_holm"), ("p_equal",) * 2):
        np.testing.assert_allclose(ours[name].astype(float), judged[column].astype(float), rtol=1e-9, atol=1e-12)
    enough = judged["n_concepts"] > 2
    for name in ("ci_low", "ci_high"):
        np.testing.assert_allclose(ours.loc[enough, name], judged.loc[enough, name], rtol=1e-9)
    assert ours.loc[enough, "verdict"].to_dict() == judged.loc[enough, "verdict"].to_dict()
    assert judged["verdict"].nunique() >= 3 and enough.sum() > 15


def test_so_are_those_by_musicnn():
    judged = verdicts(read_published("pocket")).set_index("id").query("verdict_second != ''")
    ours = recalculated(published(False), BY_MUSICNN)
    assert ours["verdict"].to_dict() == judged["verdict_second"].to_dict() and len(ours) == 8
    for name in ("difference", "ci_low", "ci_high"):
        np.testing.assert_allclose(ours[name].astype(float), judged[f"{name}_second"], rtol=1e-9)
