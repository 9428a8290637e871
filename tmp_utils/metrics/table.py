"""The results table: one row for each run, metric and prompt.

Conventions: the columns are `RESULT_COLUMNS`. The row of a whole run has the prompt "all". `status` is "ok", or
"failed" with the reason in `note`. `interval_over` says which values a row's interval is over: "10 generated clips and
5 training clips".

result_row, results_table : make rows and tables.
failed_rows               : rows without their values, and why.
read_table                : a table from its file, to the last digit.
is_share, bounds_of       : which metrics are shares of clips, and which values a metric can have.
check_one_embedder        : refuses a table that mixes the scores of two embedders.
score_references          : the rows about a concept's own clips.
whole_runs                : the finished rows of whole runs.
references                : the means of those rows over concepts.
readable                  : a table without agreement where the concept's own clips do not agree.
reference_values          : what the untrained model and the codec reach in a metric.
"""

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tmp_utils.metrics.intervals import SHARE, Interval, jackknife, mean_of, within
from tmp_utils.metrics.names import key_of, metric_of
from tmp_utils.metrics.similarity import nearest_within_training, similarity_matrix

RESULT_COLUMNS = (
    *("profile", "concept", "method", "setup", "seed", "prompt", "metric"),
    *("value", "n", "ci_low", "ci_high", "interval_over", "embedder", "status", "note"),
)
NUMBER_COLUMNS = ("value", "n", "ci_low", "ci_high")
TEXT_COLUMNS = tuple(name for name in RESULT_COLUMNS if name not in (*NUMBER_COLUMNS, "seed"))
IDENTITY = RESULT_COLUMNS[:5]
COSINE = (-1.0, 1.0)
COPIED = "copied"  # metric: the share of clips that `copies.CopyTest` calls copies
COSINES = ("clap_a", "clap_t", "clap_a_edits", "nearest_training", "nearest_within_training", "ceiling_a", "floor_t")
WHOLE_RUN = "all"
UNTRAINED = "untrained"  # method of a run of the plain model prompted with the class noun: the CLAP-T ceiling
REFERENCE = "reference"  # method of rows about the training clips themselves
CODEC = "codec"  # setup of those about the training clips after the codec (VAE and vocoder)
OWN = "own clips"  # setup of those about the agreement of the training clips with each other
READABLE = 0.8  # four of five: the least agreement of a concept's own clips with which others can be asked to agree
POOLED = "pooled"  # concept of rows about all concepts of a setup together


def result_row(
    identity: Mapping,
    metric: str,
    interval: Interval | None,
    embedder: str,
    prompt: str = WHOLE_RUN,
    note: str = "",
) -> dict:
    """Return one row of a results table; without an interval it is a failed one and ``note`` says why.

    An interval's ends do not leave what the metric can be (`bounds_of`).
    """
    if interval is None and not note:
        raise ValueError(f"{metric}: a failed row needs its reason in note.")
    blank = interval is None
    if not blank:
        interval = within(interval, bounds_of(metric))
    return {
        **{name: identity[name] for name in IDENTITY},
        "prompt": prompt,
        "metric": metric,
        "value": float("nan") if blank else interval.value,
        "n": 0 if blank else interval.n,
        "ci_low": float("nan") if blank else interval.ci_low,
        "ci_high": float("nan") if blank else interval.ci_high,
        "interval_over": "" if blank else interval.over,
        "embedder": embedder,
        "status": "failed" if blank else "ok",
        "note": note,
    }


def results_table(rows: Sequence[Mapping]) -> pd.DataFrame:
    """Return rows as a results table with its columns in their order."""
    return pd.DataFrame(list(rows), columns=list(RESULT_COLUMNS))


def failed_rows(rows: pd.DataFrame, note: str) -> pd.DataFrame:
    """Return rows as failed ones: without values, with the reason."""
    blank = {name: float("nan") for name in NUMBER_COLUMNS} | {"n": 0, "interval_over": ""}
    return rows.assign(**blank, status="failed", note=note)


def bounds_of(metric: str) -> tuple[float, float] | None:
    """Return the least and the greatest value that a metric can have; None where there is no end."""
    if is_share(metric):
        return SHARE
    return COSINE if metric_of(metric) in COSINES else None


def is_share(metric: str) -> bool:
    """Return whether a metric is a share of a run's clips, in [0, 1]: those that agree with the concept, or copies."""
    return metric.endswith("_agreement") or metric == COPIED


def check_one_embedder(results: pd.DataFrame) -> pd.DataFrame:
    """Return the table as it is, or refuse it.

    Raises
    ------
    ValueError : one metric was measured with two embedders: their scores do not compare.
    """
    of_embedders = results[results["embedder"].astype(str).str.len() > 0]
    for metric, group in of_embedders.groupby("metric"):
        if len(names := sorted(group["embedder"].unique())) > 1:
            raise ValueError(
                f"{metric} was measured with {len(names)} embedders, {names}; their scores do not compare. "
                "Keep the rows of one, or score the runs again with it."
            )
    return results


def score_references(
    training: np.ndarray,
    prompts: np.ndarray | None,
    identity: Mapping,
    embedder: str,
    *,
    coded: bool = False,
) -> pd.DataFrame:
    """Return the rows ceiling_a, floor_t and nearest_within_training of one concept, under the embedder's keys.

    Parameters
    ----------
    training : embeddings (n, d) of the concept's clips.
    prompts : embeddings (m, d) of the editability prompts with the class noun; None of an embedder that takes sound
        only, which has no floor_t.
    identity : profile, concept and seed; the method becomes "reference".
    coded : whether the clips have passed the codec: the ceiling of comparisons with such clips, whose keys end in
        "_coded".

    Notes
    -----
    Two more references need clips. The CLAP-T ceiling is ``clap_t`` of the plain model prompted with the class noun,
    a run like any other whose method is "untrained". What the codec leaves of a concept is in `scores.codec_rows`.
    """
    identity = {**identity, "method": REFERENCE, "setup": ""}
    rows = []
    if prompts is not None:
        floor = mean_of(similarity_matrix(training, prompts).mean(1), "training clips")
        rows.append(result_row(identity, key_of("floor_t", embedder, coded), floor, embedder))
    ceiling, nearest = (key_of(name, embedder, coded) for name in ("ceiling_a", "nearest_within_training"))
    if len(training) < 2:
        note = "one training clip has no other to compare with"
        return results_table(
            rows + [result_row(identity, name, None, embedder, note=note) for name in (ceiling, nearest)]
        )
    for key, each in ((ceiling, _to_others), (nearest, nearest_within_training)):
        interval = jackknife(lambda k, of=each: np.sort(of(training[k])).mean(), len(training), "training clips")
        rows.append(result_row(identity, key, interval, embedder))
    return results_table(rows)


def _to_others(training: np.ndarray) -> np.ndarray:
    """Return the mean cosine (n,) of each clip to the others."""
    return (similarity_matrix(training, training).sum(1) - 1) / (len(training) - 1)


def whole_runs(results: pd.DataFrame, *metrics: str, references: bool = False) -> pd.DataFrame:
    """Return the finished rows of whole runs; those of untrained models and training clips only with `references`."""
    whole = results[(results["prompt"] == WHOLE_RUN) & (results["status"] == "ok") & results["metric"].isin(metrics)]
    return whole if references else whole[~whole["method"].isin([REFERENCE, UNTRAINED])]


def references(results: pd.DataFrame) -> dict[str, float]:
    """Return the means over concepts of ceiling_a, codec_a, untrained_a, ceiling_t and floor_t; nan if absent."""
    whole = whole_runs(results, "ceiling_a", "floor_t", "clap_t", references=True)
    rows = {name: whole[whole["metric"] == name] for name in ("ceiling_a", "floor_t")}
    rows["ceiling_t"] = whole[(whole["metric"] == "clap_t") & (whole["method"] == UNTRAINED)]
    means = {name: float(of_name.groupby("concept")["value"].mean().mean()) for name, of_name in rows.items()}
    return means | {f"{name}_a": value for name, value in reference_values(results, "clap_a").items()}


def readable(results: pd.DataFrame) -> pd.DataFrame:
    """Return the table without the agreement of concepts whose own clips do not agree with each other.

    A tempo that is read at half or double in every other training clip, or a key that changes from clip to clip, is one
    that no clip can be asked to have. It is decided from the training clips alone: at least `READABLE` of them agree
    with the others. Tables without rows on that (setup `OWN`) stay as they are.
    """
    own = results[(results["method"] == REFERENCE) & (results["setup"] == OWN)]
    unclear = own.loc[own["value"] < READABLE, ["concept", "metric"]].drop_duplicates()
    left = results.merge(unclear, on=["concept", "metric"], how="left", indicator=True)["_merge"] == "left_only"
    return results[left.to_numpy()]


def reference_values(results: pd.DataFrame, metric: str) -> dict[str, float]:
    """Return what the untrained model and the codec reach in a metric: means over concepts, nan if absent."""
    whole = whole_runs(results, metric, references=True)
    rows = {
        "untrained": whole["method"] == UNTRAINED,
        "codec": (whole["method"] == REFERENCE) & (whole["setup"] == CODEC),
    }
    return {name: float(whole[chosen].groupby("concept")["value"].mean().mean()) for name, chosen in rows.items()}


def read_header(path: Path) -> dict[str, str]:
    """Return the lines "# key: value" that a published table begins with; of one in .csv.gz, too."""
    header: dict[str, str] = {}
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        while (line := file.readline()).startswith("# "):
            key, _, value = line[2:].partition(": ")
            header[key] = value.strip()
    return header


def read_table(path: Path) -> pd.DataFrame:
    """Return a results table exactly as it was written: empty text stays text, numbers keep every digit."""
    header = read_header(path)
    numbers = {name: [""] for name in NUMBER_COLUMNS}
    text = dict.fromkeys(TEXT_COLUMNS, str)
    table = pd.read_csv(
        path, skiprows=len(header), dtype=text, keep_default_na=False, na_values=numbers, float_precision="round_trip"
    )
    table.attrs = header
    return table
