"""What lies beyond the paper's setups, beside its DreamBooth: prior preservation, and other methods.

Conventions: differences are paired by concept, after the mean over seeds; intervals are Student's over concepts. That
each method is compared with DreamBooth's baseline, in these two scores and with the claims' margin, was decided before
any of these runs' results was looked at; the search's scores, and runs of an earlier pocket model, had been seen.
Verdicts are those of `metrics.equivalence`, over all comparisons of the table. MusiCNN's differences, a second opinion
on CLAP-A, stand beside them without a test.
"""

import numpy as np
import pandas as pd

from tmp_utils.findings.claims import about_dreambooth, both_ways, claims, in_counts
from tmp_utils.findings.comparisons import BASELINE
from tmp_utils.findings.verdicts import MIN_CONCEPTS, UNIT, verdicts
from tmp_utils.findings.words import DIGITS, bracketed, signed
from tmp_utils.metrics.equivalence import MARGIN, difference_tests, mean_difference, with_verdicts
from tmp_utils.metrics.intervals import paired_difference
from tmp_utils.metrics.names import MUSICNN, SIMILARITIES, key_of, short_name
from tmp_utils.metrics.table import whole_runs

METHODS = {  # beyond the paper's two; each in its baseline
    "DB-LoRA": "LoRA",
    "DB-CD": "Custom Diffusion",
    "DB-SV": "SVDiff",
    "TI-DB": "Textual Inversion and then DreamBooth",
}
SECOND = {"clap_a": key_of("clap_a", MUSICNN, coded=True)}


def prior_in_words(results: pd.DataFrame) -> str:
    """Return what prior preservation changes in DreamBooth, paired by concept and setup, and the claims judged with it.

    Empty where fewer than three concepts have it.
    """
    tables = list(both_ways({"": results}).values())
    if len(tables) == 1:
        return ""
    without, with_prior = tables
    parts = []
    for metric in SIMILARITIES:
        after, before = (whole_runs(table, metric).query("method == 'DB'") for table in (with_prior, without))
        difference = paired_difference(after, before, on=[*UNIT, "setup"], levels=UNIT[:1])
        if difference.n < MIN_CONCEPTS:
            return ""
        numbers = bracketed(difference.value, difference.ci_low, difference.ci_high, DIGITS)
        parts.append(f"{short_name(metric)} {numbers}")
    judged = verdicts(with_prior, about_dreambooth())
    about = f"The {len(claims(judged))} claims about DreamBooth judged with it: {in_counts(judged)}"
    return (
        "DreamBooth here has no prior preservation; the paper's may have had it. With it, and its own learning rate "
        f"where the profile has one, over {difference.n} concepts: {' and '.join(parts)} in comparison. {about}."
    )


def other_methods(results: pd.DataFrame) -> pd.DataFrame:
    """Compare each of `METHODS` with DreamBooth, both in their baseline.

    Returns
    -------
    method, metric, difference (the method minus DreamBooth), ci_low, ci_high, margin, p_holm, p_equal (of two one-sided
    tests that it is within the margin), n (concepts), verdict ("higher", "lower", "no difference" or "undecided"),
    difference_second, ci_low_second, ci_high_second (MusiCNN's). A method that fewer than three concepts have beside
    DreamBooth is left out (the table may be empty).
    """
    rows = []
    for method in METHODS:
        for metric in SIMILARITIES:
            values = _differences(results, metric, method)
            if len(values) >= MIN_CONCEPTS:
                second = mean_difference(_differences(results, SECOND.get(metric, ""), method), "_second")
                rows.append({"method": method, "metric": metric} | difference_tests(values, MARGIN) | second)
    return with_verdicts(pd.DataFrame(rows)) if rows else pd.DataFrame()


def _differences(results: pd.DataFrame, metric: str, method: str) -> np.ndarray:
    """Return the method minus DreamBooth of each concept that has both baselines, (n,)."""
    rows = whole_runs(results, metric)
    rows = rows[(rows["setup"] == BASELINE) & rows["method"].isin([method, "DB"])]
    units = rows.pivot_table(index=UNIT, columns="method", values="value").reindex(columns=[method, "DB"])
    return (units[method] - units["DB"]).dropna().groupby(level="concept").mean().to_numpy()


def methods_in_words(comparisons: pd.DataFrame) -> str:
    """Return in one line how the methods of `other_methods` compare, by score and verdict; empty for an empty table."""
    if comparisons.empty:
        return ""
    told, texts = comparisons.assign(name=comparisons["method"].map(METHODS)), []
    if comparisons["n"].nunique() > 1:
        told["name"] += " (" + told["n"].astype(str) + ")"
    for metric, of_metric in told.groupby("metric", sort=False):
        kinds = []
        for verdict, rows in of_metric.groupby("verdict", sort=False):
            changes = [f"{row['name']} {signed(row)}" for _, row in rows.iterrows()]
            kinds.append(f"{verdict}: {', '.join(changes)}")
        texts.append(f"{short_name(metric)} {'; '.join(kinds)}")
    over = " to ".join(map(str, sorted({comparisons["n"].min(), comparisons["n"].max()})))
    return f"Other methods in place of DreamBooth, {over} concepts: {'. '.join(texts)}."
