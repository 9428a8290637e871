"""What learning changes: the baselines of both methods beside the untrained model, in one table.

Conventions: differences from the untrained model are paired by concept and seed; all means are of concepts, and
intervals are Student's over them. Verdicts are those of `metrics.equivalence`, over the whole table; the margin is
`MARGIN` for similarities and `SHARE_MARGIN` for shares of clips. Agreement in tempo and key counts for concepts whose
own clips agree (`metrics.table.readable`).
"""

import pandas as pd

from tmp_utils.findings.comparisons import BASELINE
from tmp_utils.findings.verdicts import MIN_CONCEPTS, UNIT
from tmp_utils.findings.words import DIGITS, bracketed, in_digits
from tmp_utils.metrics.equivalence import MARGIN, NO_DIFFERENCE, UNDECIDED, difference_tests, with_verdicts
from tmp_utils.metrics.table import CODEC, UNTRAINED, is_share, readable, whole_runs

METHOD_NAMES = {"DB": "DreamBooth", "TI": "Textual Inversion"}
SHARE_MARGIN = 0.1  # one of a run's ten clips, as for the claims about agreement
SCORES = {  # alone: clips of "a recording of" the concept
    "clap_a": "alone: like the concept (CLAP-A)",
    "musicnn_a_coded": "alone: like the concept (MusiCNN)",
    "clap_a_edits": "in edits: like the concept (CLAP-A)",
    "musicnn_a_edits_coded": "in edits: like the concept (MusiCNN)",
    "clap_t": "in edits: follows the prompt (CLAP-T)",
    "tempo_agreement": "alone: the concept's tempo (share of clips)",
    "key_agreement": "alone: the concept's key (share of clips)",
}


def beside_untrained(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Return the rows of the untrained model and, by method, those of the baselines; of units that have both.

    Parameters
    ----------
    rows : whole runs and references of one metric.
    """
    untrained = rows[rows["method"] == UNTRAINED]
    baselines = rows[rows["method"].isin(METHOD_NAMES) & (rows["setup"] == BASELINE)].merge(untrained[UNIT], on=UNIT)
    sides = {METHOD_NAMES[method]: baselines[baselines["method"] == method] for method in reversed(METHOD_NAMES)}
    untrained = untrained.merge(baselines[UNIT].drop_duplicates(), on=UNIT)
    return untrained, {name: side for name, side in sides.items() if len(side)}


def gains(results: pd.DataFrame) -> pd.DataFrame:
    """Compare each baseline with the untrained model.

    Returns
    -------
    Text, a row a score: score, concepts (their number), untrained, a column a method and codec (what a perfect copy
    would have; a dash where that is not measured), means over the concepts that all of them have; then "<method> −
    untrained" with its interval, and the verdict where the difference is not significant. Scores that fewer than
    `MIN_CONCEPTS` concepts have are left out.
    """
    results, means, tests = readable(results), {}, []
    for metric, about in SCORES.items():
        whole = whole_runs(results, metric, references=True)
        untrained, sides = beside_untrained(whole)
        for side in sides.values():
            untrained = untrained.merge(side[UNIT], on=UNIT)
        if (n := untrained["concept"].nunique()) < MIN_CONCEPTS:
            continue
        columns = {"untrained": untrained, **sides, "codec": whole[whole["setup"] == CODEC]}
        values = {name: _values(rows.merge(untrained[UNIT], on=UNIT)) for name, rows in columns.items()}
        means[about] = {"concepts": n} | {name: in_digits(_mean(of)) for name, of in values.items()}
        for name in sides:
            change = (values[name] - values["untrained"]).groupby("concept").mean().to_numpy()
            margin = SHARE_MARGIN if is_share(metric) else MARGIN
            tests.append({"score": about, "method": name} | difference_tests(change, margin))
    if not tests:
        return pd.DataFrame()
    judged = with_verdicts(pd.DataFrame(tests))
    judged["text"] = [_change(row) for row in judged.itertuples()]
    changes = judged.pivot(index="score", columns="method", values="text").add_suffix(" − untrained")
    return pd.DataFrame(means).T.astype({"concepts": int}).join(changes).rename_axis("score").reset_index()


def _values(rows: pd.DataFrame) -> pd.Series:
    return rows.set_index(UNIT)["value"]


def _mean(values: pd.Series) -> float:
    """Mean over concepts of the means over seeds; NaN of no values."""
    return values.groupby("concept").mean().mean()


def _change(row) -> str:
    verdict = f", {row.verdict}" * (row.verdict in (NO_DIFFERENCE, UNDECIDED))
    return bracketed(row.difference, row.ci_low, row.ci_high, DIGITS) + verdict
