"""How close generated clips are to a concept's clips and to the prompts that asked for them.

Conventions: embeddings are float arrays (n, d), one unit-norm row a clip or prompt, all from one embedder.
Scores are cosines in [-1, 1], higher is closer. A results table has the columns `RESULT_COLUMNS`, one row a
metric and prompt; the row of a whole run has the prompt "all". ``status`` is "ok", or "failed" with the
reason in ``note``.

clap_audio_similarity : CLAP-A, generated clips against the concept's clips (paper, section 3).
clap_text_similarity  : CLAP-T, generated clips against the prompt that asked for them.
audio_ceiling         : the concept's clips against each other, what CLAP-A can reach.
nearest_training_clip : which training clip a generated one is closest to, and how close: is it a copy?
result_row            : one row of a results table.
is_share, share_rows  : metrics that are shares of clips, and the intervals of such rows.
check_one_embedder    : refuses a table in which scores of two embedders stand side by side.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tmp_utils.intervals import SHARE, Interval, bootstrap_mean, wilson, within

RESULT_COLUMNS = (
    *("profile", "concept", "method", "setup", "seed", "prompt", "metric"),
    *("value", "n", "ci_low", "ci_high", "embedder", "status", "note"),
)
IDENTITY = RESULT_COLUMNS[:5]
COSINE = (-1.0, 1.0)
COSINES = ("clap_a", "clap_t", "nearest_training", "nearest_within_training", "ceiling_a", "floor_t")
WHOLE_RUN = "all"
UNTRAINED = "untrained"  # method of a run of the plain model asked with the class noun: the CLAP-T ceiling
REFERENCE = "reference"  # method of rows about the training clips themselves
POOLED = "pooled"  # concept of rows about all concepts of a setup together


def _rows(embeddings: np.ndarray, what: str) -> np.ndarray:
    rows = np.asarray(embeddings, dtype=np.float64)
    if rows.ndim != 2 or len(rows) == 0:
        raise ValueError(f"{what}: shape {rows.shape} arrived; expected embeddings (n, d) with n > 0.")
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (np.isfinite(norms).all() and (norms > 0).all()):
        raise ValueError(f"{what}: an embedding is zero or not finite; leave failed clips out and count them.")
    return rows / norms


def similarity_matrix(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the cosines (n, m) between embeddings (n, d) and (m, d); their gain does not matter."""
    rows, others = _rows(rows, "first set"), _rows(others, "second set")
    if rows.shape[1] != others.shape[1]:
        raise ValueError(f"{rows.shape[1]} and {others.shape[1]} dimensions; use one embedder for both.")
    return rows @ others.T


def clap_audio_similarity(generated: np.ndarray, training: np.ndarray) -> float:
    """Return CLAP-A: the mean cosine over all pairs of a generated and a training clip."""
    return float(similarity_matrix(generated, training).mean())


def clap_text_similarity(generated: np.ndarray, prompts: np.ndarray) -> float:
    """Return CLAP-T: the mean cosine of clip i and prompt i, both (n, d); one prompt (1, d) serves all clips.

    In the prompt's text the class noun stands in the placeholder's place.
    """
    generated, prompts = _rows(generated, "clips"), _rows(prompts, "prompts")
    if len(prompts) not in (1, len(generated)):
        raise ValueError(f"{len(generated)} clips and {len(prompts)} prompts; expected one prompt a clip.")
    return float((generated * prompts).sum(1).mean())


def audio_ceiling(training: np.ndarray) -> float:
    """Return the mean cosine between distinct training clips; nan if there is only one."""
    n = len(training)
    if n < 2:
        return float("nan")
    return float((similarity_matrix(training, training).sum() - n) / (n * (n - 1)))


def text_floor(training: np.ndarray, prompts: np.ndarray) -> float:
    """Return the mean cosine of every training clip with every editability prompt."""
    return float(similarity_matrix(training, prompts).mean())


def nearest_training_clip(generated: np.ndarray, training: np.ndarray) -> pd.DataFrame:
    """Return, for each generated clip, the index of its nearest training clip and the cosine to it."""
    cosines = similarity_matrix(generated, training)
    return pd.DataFrame({"nearest": cosines.argmax(1), "similarity": cosines.max(1)})


def nearest_within_training(training: np.ndarray) -> np.ndarray:
    """Return the cosine (n,) of each training clip to the nearest other one."""
    cosines = similarity_matrix(training, training)
    np.fill_diagonal(cosines, -np.inf)
    return cosines.max(1) if len(cosines) > 1 else np.full(1, np.nan)


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
        "embedder": embedder,
        "status": "failed" if blank else "ok",
        "note": note,
    }


def results_table(rows: Sequence[Mapping]) -> pd.DataFrame:
    """Return rows as a results table with its columns in their order."""
    return pd.DataFrame(list(rows), columns=list(RESULT_COLUMNS))


def bounds_of(metric: str) -> tuple[float, float] | None:
    """Return the least and the greatest value that a metric can have; None where there is no end."""
    if is_share(metric):
        return SHARE
    return COSINE if metric in COSINES else None


def is_share(metric: str) -> bool:
    """Return whether a metric is the share of a run's clips that agree with the concept, in [0, 1]."""
    return metric.endswith("_agreement")


def share_rows(results: pd.DataFrame) -> pd.DataFrame:
    """Return the table with Wilson's interval in every finished row of a share.

    It follows from the row's value and n, so tables that were made with other intervals are read like new ones.
    """
    results = results.copy()
    for i in results.index[results["metric"].map(is_share).astype(bool) & (results["status"] == "ok")]:
        n = int(results.at[i, "n"])
        results.loc[i, ["ci_low", "ci_high"]] = wilson(round(results.at[i, "value"] * n), n)
    return results


def check_one_embedder(results: pd.DataFrame) -> pd.DataFrame:
    """Return the table as it is, or refuse it.

    Raises
    ------
    ValueError
        If one metric was measured with two embedders: their scores do not compare.
    """
    named = results[results["embedder"].astype(str).str.len() > 0]
    for metric, group in named.groupby("metric"):
        if len(names := sorted(group["embedder"].unique())) > 1:
            raise ValueError(
                f"{metric} was measured with {len(names)} embedders, {names}; their scores do not compare. "
                "Keep the rows of one, or score the runs again with it."
            )
    return results


def score_references(
    training: np.ndarray, prompts: np.ndarray, identity: Mapping, embedder: str, seed: int = 0
) -> pd.DataFrame:
    """Return the rows ceiling_a, floor_t and nearest_within_training of one concept.

    Parameters
    ----------
    training : numpy.ndarray
        Embeddings (n, d) of the concept's clips.
    prompts : numpy.ndarray
        Embeddings (m, d) of the editability prompts with the class noun.
    identity : mapping
        Profile, concept and seed; the method becomes "reference".

    Notes
    -----
    The third reference, the CLAP-T ceiling, needs clips: it is ``clap_t`` of the plain model asked with the
    class noun, a run like any other whose method is "untrained".
    """
    identity = {**identity, "method": REFERENCE, "setup": ""}
    floor = bootstrap_mean(similarity_matrix(training, prompts).mean(1), seed)
    rows = [result_row(identity, "floor_t", floor, embedder)]
    if len(training) < 2:
        note = "one training clip has no other to compare with"
        names = ("ceiling_a", "nearest_within_training")
        return results_table(rows + [result_row(identity, name, None, embedder, note=note) for name in names])
    n = len(training)
    to_others = (similarity_matrix(training, training).sum(1) - 1) / (n - 1)
    rows.append(result_row(identity, "ceiling_a", bootstrap_mean(to_others, seed), embedder))
    nearest = bootstrap_mean(nearest_within_training(training), seed)
    return results_table([*rows, result_row(identity, "nearest_within_training", nearest, embedder)])


def references(results: pd.DataFrame) -> dict[str, float]:
    """Return the means over concepts of ceiling_a, ceiling_t and floor_t; nan if absent."""
    whole = results[(results["prompt"] == WHOLE_RUN) & (results["status"] == "ok")]
    chosen = {name: whole[whole["metric"] == name] for name in ("ceiling_a", "floor_t")}
    chosen["ceiling_t"] = whole[(whole["metric"] == "clap_t") & (whole["method"] == UNTRAINED)]
    return {name: float(rows.groupby("concept")["value"].mean().mean()) for name, rows in chosen.items()}
