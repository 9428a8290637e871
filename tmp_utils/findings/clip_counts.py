"""What more clips bring, and what more steps: one, five and twenty clips compared at the profile's number of steps.

Conventions: a table is that of `runs.how_many`. `COMPARED` was decided before the first training: for each method, one
clip minus five, and twenty minus five. LoRA was added when the results of TI and DB were known. The primary score is
CLAP-A against the held-out clips, of the `MORE_CLIPS` that are judged at the profile's steps; CLAP-T is secondary.
Differences are paired by concept, after the mean over seeds; intervals are Student's over concepts. Verdicts are those
of `metrics.equivalence`, over the comparisons of a score: six, of three methods. MusiCNN's differences, a second
opinion on CLAP-A (beside the held-out clips themselves, not after the codec), stand beside them without a test.
"""

import numpy as np
import pandas as pd

from tmp_utils.findings.claims import by_origin
from tmp_utils.findings.comparisons import BASELINE
from tmp_utils.findings.verdicts import UNIT
from tmp_utils.findings.words import DASH, change_in_words, plural, signed
from tmp_utils.metrics.equivalence import MARGIN, difference_tests, mean_difference, with_verdicts
from tmp_utils.metrics.names import NAMES
from tmp_utils.metrics.table import whole_runs
from tmp_utils.runs.how_many import JUDGED_CLIPS, MORE

FEW_CLIPS = 5
COMPARED = ((1, FEW_CLIPS), (20, FEW_CLIPS))
SCORES = ("clap_a", "clap_t")  # the first is the primary one
SECOND = {"clap_a": "musicnn_a"}
BY_SECOND = "by MusiCNN"
FEWER = {"1-AC": 1, "3-AC": 3}  # the paper's setups with fewer clips than the baseline


def at_usual_steps(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows at the profile's steps, with the scores of all clips judged there in place of those of a few."""
    of_all = table["metric"].str.endswith(MORE)
    usual = table[of_all].groupby("method")["step"].agg(["min", "max"])
    if (usual["min"] != usual["max"]).any():
        raise ValueError(f"trainings of several numbers of steps: {usual.to_dict('index')}. Compare one profile's.")
    there = table[table["step"] == table["method"].map(usual["max"])]
    few = there["metric"].isin(there["metric"][there["metric"].str.endswith(MORE)].str.removesuffix(MORE))
    return there[~few].assign(metric=there["metric"].str.removesuffix(MORE))


def count_comparisons(table: pd.DataFrame) -> pd.DataFrame:
    """Compare numbers of clips.

    Returns
    -------
    metric, method, a, b (numbers of clips), difference (a minus b), ci_low, ci_high, margin, p_holm, p_equal (of two
    one-sided tests that it is within the margin), n (concepts), verdict ("higher", "lower", "no difference" or
    "undecided"), difference_second, ci_low_second, ci_high_second (MusiCNN's). Comparisons of which a side was not
    measured are left out (the table may be empty); under three concepts there is neither an interval nor a test.
    """
    there, tables = at_usual_steps(table), []
    for metric in SCORES:
        rows = []
        for method in sorted(there["method"].unique()):
            for a, b in COMPARED:
                values = _differences(there, metric, method, a, b)
                if len(values):
                    second = mean_difference(_differences(there, SECOND.get(metric, ""), method, a, b), "_second")
                    names = {"metric": metric, "method": method, "a": a, "b": b}
                    rows.append(names | difference_tests(values, MARGIN) | second)
        if rows:
            tables.append(with_verdicts(pd.DataFrame(rows)))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _differences(there: pd.DataFrame, metric: str, method: str, a: int, b: int) -> np.ndarray:
    """Return a minus b of each concept that has both, (n,)."""
    rows = there[(there["metric"] == metric) & (there["method"] == method)]
    units = rows.pivot_table(index=["concept", "seed"], columns="n_clips", values="value").reindex(columns=[a, b])
    return (units[a] - units[b]).dropna().groupby(level="concept").mean().to_numpy()


def counts_table(comparisons: pd.DataFrame, results: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return as text what other numbers of clips bring in place of five.

    Parameters
    ----------
    comparisons : of `count_comparisons`.
    results : a table of runs (`metrics.RESULT_COLUMNS`) with the setups of `FEWER`, for rows on its recordings and on
        its stand-ins. Their scores are against all five training clips, and their differences are not tested here: some
        are claims of the paper, which `findings.verdicts` judges.

    Returns
    -------
    method, clips, on (how many of which concepts, and which clips judge), CLAP-A, "by MusiCNN" and CLAP-T: differences
    with their intervals, the tested ones with their verdicts. The table may be empty.
    """
    rows = []
    groups = comparisons.groupby(["method", "a"], sort=False) if len(comparisons) else ()
    for (method, a), of in groups:
        cells = {NAMES[row["metric"]]: change_in_words(row) for _, row in of.iterrows()}
        first = of.iloc[0]
        cells[BY_SECOND] = signed(first, "_second") if np.isfinite(first["difference_second"]) else DASH
        on = f"{plural(first['n'], 'concept')}, held-out clips"
        rows.append({"method": method, "clips": a, "on": on} | cells)
    for origin, table in by_origin(results).items() if results is not None else ():
        rows += _of_setups(origin, table)
    columns = ["method", "clips", "on", NAMES["clap_a"], BY_SECOND, NAMES["clap_t"]]
    return pd.DataFrame(rows, columns=columns).fillna(DASH)


def _of_setups(origin: str, table: pd.DataFrame) -> list[dict]:
    """Rows of `counts_table` from the setups with fewer clips, on the recordings or stand-ins of a table of runs."""
    rows, columns = [], {"clap_a": NAMES["clap_a"], "musicnn_a": BY_SECOND, "clap_t": NAMES["clap_t"]}
    whole = whole_runs(table, *columns)
    for method, of in whole[whole["setup"].isin([*FEWER, BASELINE])].groupby("method"):
        units = of.pivot_table(index=["metric", *UNIT], columns="setup", values="value")
        for setup, n in FEWER.items():
            if {setup, BASELINE} <= set(units.columns):
                changes = (units[setup] - units[BASELINE]).dropna().groupby(["metric", "concept"]).mean()
                cells = {columns[name]: signed(mean_difference(each)) for name, each in changes.groupby("metric")}
                on = f"{len(changes.loc[SCORES[0]])} {origin}, training clips"
                rows.append({"method": method, "clips": n, "on": on} | cells)
    return rows


def steps_in_words(table: pd.DataFrame) -> str:
    """Say what the longest training brings beside the usual steps, a line a method, and how many clips are copies.

    Of five training clips; the scores of the `JUDGED_CLIPS` generated clips that every look judges. Differences are not
    tested: they were not decided on beforehand.
    """
    steps = table[table["metric"].str.endswith(MORE)].groupby("method")["step"].max()
    lines = []
    for method, usual in steps.items():
        of = table[(table["method"] == method) & (table["n_clips"] == FEW_CLIPS) & table["metric"].isin(SCORES)]
        units, parts = of.pivot_table(index=["metric", "concept"], columns="step", values="value"), []
        if not len(units) or units.columns[-1] == usual:
            continue
        for metric, change in (units[units.columns[-1]] - units[usual]).groupby("metric"):
            parts.append(f"{NAMES[metric]} {signed(mean_difference(change.dropna()))}")
        longest = f"{FEW_CLIPS} clips, {units.columns[-1]} steps in place of {usual} ({JUDGED_CLIPS} generated clips)"
        lines.append(f"{method}, {longest}: {'; '.join(parts)}.")
    copied = at_usual_steps(table).query("metric == 'copied'")
    if len(copied):
        called = round((copied["value"] * copied["n"]).sum())
        lines.append(f"Of {copied['n'].sum():,.0f} clips, {called} are called copies of a training clip.")
    return "\n".join(lines)
