"""What separation does for words that are learned from a mixture: means, paired differences and verdicts over mixtures.

Conventions: tables have the columns of `runs.mixtures.COLUMNS`. A mixture is a unit: its seeds and sounds are averaged
first. Differences are paired by mixture, A minus B, with Student's interval over mixtures (`metrics.intervals`); some
concepts are in two mixtures, which the interval does not know. Verdicts are those of `metrics.equivalence`, over all
comparisons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tmp_utils.figures.look import setup_label
from tmp_utils.findings.published import PUBLISHED_DIR, write_published
from tmp_utils.findings.words import DASH, bracketed, plural
from tmp_utils.metrics.equivalence import (
    HIGHER,
    LOWER,
    MARGIN,
    NO_DIFFERENCE,
    UNDECIDED,
    difference_tests,
    mean_difference,
    with_verdicts,
)
from tmp_utils.metrics.intervals import MIN_UNITS, mean_of
from tmp_utils.metrics.names import MUSICNN
from tmp_utils.metrics.table import read_header
from tmp_utils.runs.mixtures import COLUMNS, method_and_setup, run_names

MARGINS = {"closeness": MARGIN, "difference": 2 * MARGIN, "both": MARGIN, "si_sdr": 1.0}  # "difference": of two cosines
OUTSIDE = ("si_sdr", "mel_l1")  # metrics that no embedder measures
IN_WORDS = {"si_sdr": "SI-SDR in dB", "difference": "closeness minus leakage", "both": "how much of both is heard"}
METRICS = ("closeness", "leakage", "difference", "both", "clap_t", *OUTSIDE)
JUDGED = [
    *("a", "b", "metric", "what", "value_a", "value_b", "difference", "ci_low", "ci_high", "margin"),
    *("p_holm", "p_equal", "n_mixtures", "verdict", "difference_second", "ci_low_second", "ci_high_second"),
]
NOUNS, MIXTURE = ("untrained", "class-noun"), ("reference", "mixture")
COMPARISONS = (  # run A, run B, the metric, and what A has that B lacks
    (NOUNS, MIXTURE, "si_sdr", "separating by masks of the frozen model"),
    (("TI", "PRIOR"), NOUNS, "closeness", "learning a word from masked parts, in place of the class noun"),
    (("TI", "PRIOR"), NOUNS, "difference", "learning a word from masked parts, in place of the class noun"),
    (("TI", "STEMS"), NOUNS, "difference", "learning a word from the stems, in place of the class noun"),
    (("TI", "PRIOR"), ("TI", "ALONE"), "difference", "separating by masks of the frozen model"),
    (("TI", "STEMS"), ("TI", "PRIOR"), "difference", "having the stems in place of masked ones"),
    (("TI", "JOINT"), ("TI", "PROMPT"), "difference", "separation by the words as a regulariser"),
    (("TI", "JOINT"), ("TI", "RISING"), "difference", "making masks again from the words"),
    (("TI", "ANCHOR"), ("TI", "RISING"), "difference", "making masks again from words and class nouns"),
    (("DB", "PRIOR"), NOUNS, "difference", "learning weights from masked parts, in place of the class noun"),
    (("DB", "PRIOR"), ("DB", "ALONE"), "difference", "separating by masks of the frozen model for DreamBooth"),
    (("DB", "JOINT"), ("DB", "PROMPT"), "difference", "separation as a regulariser for DreamBooth"),
    (("TI+TI", "apart"), MIXTURE, "both", "putting two words into one prompt, beside the mixture itself"),
    (("LoRA+LoRA", "apart"), ("TI+TI", "apart"), "both", "using low-rank updates in place of words"),
)


def by_mixture(table: pd.DataFrame, metric: str, second: bool = False) -> pd.DataFrame:
    """Return a metric's values: a row a mixture, a column a (method, setup); means over sounds and seeds.

    Parameters
    ----------
    second : by the second embedder, of what an embedder measures.
    """
    rows = table[table["metric"] == metric]
    if metric not in OUTSIDE:
        rows = rows[rows["embedder"].str.startswith(MUSICNN) == second]
    of_seeds = rows.groupby(["mixture", "method", "setup", "seed"])["value"].mean()
    return of_seeds.groupby(["mixture", "method", "setup"]).mean().unstack(["method", "setup"])


def mixture_means(table: pd.DataFrame, metrics: Sequence[str] = METRICS, second: bool = False) -> pd.DataFrame:
    """Return method, setup, metric, value, ci_low, ci_high, n_mixtures; no interval of fewer than three mixtures."""
    rows = []
    for metric in metrics:
        values = by_mixture(table, metric, second)
        for method, setup in values.columns:
            of_setup = values[method, setup].dropna()
            interval = mean_of(of_setup, least=MIN_UNITS)
            ends = {"value": interval.value, "ci_low": interval.ci_low, "ci_high": interval.ci_high}
            rows.append({"method": method, "setup": setup, "metric": metric, **ends, "n_mixtures": len(of_setup)})
    return pd.DataFrame(rows, columns=["method", "setup", "metric", "value", "ci_low", "ci_high", "n_mixtures"])


def means_in_words(table: pd.DataFrame, metrics: Sequence[str] = METRICS, second: bool = False) -> pd.DataFrame:
    """Return the means as text, "0.46 [0.30, 0.61]": a row a setup, a column a metric; references come last."""
    means = mixture_means(table, metrics, second)
    means["text"] = [bracketed(row.value, row.ci_low, row.ci_high) for row in means.itertuples()]
    cells = means[means["n_mixtures"] > 0].pivot(index=["method", "setup"], columns="metric", values="text")
    order = [method_and_setup(name) for name in run_names()]
    cells = cells.loc[sorted(cells.index, key=order.index)].reindex(columns=list(metrics)).fillna(DASH)
    cells.insert(0, "words", [setup_label(*setup) for setup in cells.index])
    return cells.reset_index(drop=True).rename_axis(columns=None)


def mixture_verdicts(table: pd.DataFrame, margins: Mapping[str, float] = MARGINS) -> pd.DataFrame:
    """Judge every comparison whose runs are both there on a mixture; no rows where none is.

    Returns
    -------
    pandas.DataFrame
        The columns `JUDGED`; those in "_second" are by the second embedder, NaN where no embedder measures.
    """
    by_first = {metric: by_mixture(table, metric) for metric in margins}
    by_second = {metric: by_mixture(table, metric, second=True) for metric in margins if metric not in OUTSIDE}
    rows = []
    for a, b, metric, what in COMPARISONS:
        value_a, value_b = _paired(by_first[metric], a, b)
        if len(value_a):
            names = {"a": setup_label(*a), "b": setup_label(*b), "metric": metric, "what": what}
            names |= {"value_a": value_a.mean(), "value_b": value_b.mean(), "n_mixtures": len(value_a)}
            second_a, second_b = _paired(by_second.get(metric, pd.DataFrame()), a, b)
            second = mean_difference(second_a - second_b, "_second")
            rows.append(names | difference_tests(value_a - value_b, margins[metric]) | second)
    return with_verdicts(pd.DataFrame(rows, columns=JUDGED))


def _paired(values: pd.DataFrame, a: tuple[str, str], b: tuple[str, str]) -> tuple[pd.Series, pd.Series]:
    """Return A and B of the mixtures that have both."""
    both = values.reindex(columns=pd.MultiIndex.from_tuples([a, b])).dropna()
    return both[a], both[b]


def in_words(verdicts: pd.DataFrame) -> list[str]:
    """Return a sentence for each comparison, with MusiCNN's difference beside CLAP's."""
    effects = {
        HIGHER: "raises {metric}",
        LOWER: "lowers {metric}",
        NO_DIFFERENCE: "makes no difference to {metric}",
        UNDECIDED: "we cannot tell what it does to {metric}",
    }
    sentences = []
    for row in verdicts.itertuples():
        effect = effects[row.verdict].format(metric=IN_WORDS.get(row.metric, row.metric))
        difference = bracketed(row.difference, row.ci_low, row.ci_high)
        numbers = f"{row.a} {row.value_a:.2f}, {row.b} {row.value_b:.2f}; difference {difference}"
        if row.verdict == UNDECIDED and not row.ci_low <= 0 <= row.ci_high and np.isfinite(row.p_holm):
            numbers += f", p = {row.p_holm:.2g} after correction for all comparisons"
        if np.isfinite(row.difference_second):
            second = bracketed(row.difference_second, row.ci_low_second, row.ci_high_second)
            numbers += f"; by MusiCNN {second}"
        what, over = row.what[0].upper() + row.what[1:], plural(row.n_mixtures, "mixture")
        sentences.append(f"{what}: {effect} ({numbers}; {over}).")
    return sentences


def read_published_mixtures(profile: str) -> pd.DataFrame | None:
    """Return the published table of a profile's mixtures, with its head in ``attrs``; None where there is none."""
    path = published_mixtures_path(profile)
    if not path.is_file():
        return None
    head = read_header(path)
    table = pd.read_csv(path, skiprows=len(head), float_precision="round_trip", keep_default_na=False)
    table.attrs = head
    return table


def published_mixtures_path(profile: str) -> Path:
    """Return where a profile's table is: ``data/published/mixtures.csv`` of the pocket profile."""
    return PUBLISHED_DIR / ("mixtures.csv" if profile == "pocket" else f"mixtures-{profile}.csv")


def publish_mixtures(table: pd.DataFrame, path: Path, facts: dict[str, str]) -> Path:
    """Write a table with lines "# key: value" at its head; ValueError where it has no rows."""
    if table.empty:
        raise ValueError("no finished runs of mixtures, so there is nothing to publish.")
    order = {method_and_setup(name): place for place, name in enumerate(run_names())}
    ranks = [order[pair] for pair in zip(table["method"], table["setup"], strict=True)]
    ordered = table[COLUMNS].assign(rank=ranks).sort_values(["mixture", "rank", "seed", "metric", "embedder", "sound"])
    return write_published(path, ordered[COLUMNS], facts)
