"""How close generated clips are to a concept's clips and to their prompts.

Conventions: embeddings are float arrays (n, d), one unit-norm row a clip or prompt, all from one embedder.
Scores are cosines in [-1, 1], higher is closer.

clap_audio_similarity   : CLAP-A, generated clips against the concept's clips (paper, section 3).
clap_text_similarity    : CLAP-T, generated clips against their prompts.
audio_ceiling           : the concept's clips against each other, what CLAP-A can reach.
nearest_within_training : how close each of the concept's clips is to the nearest other one.
"""

import numpy as np


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

    The prompts name the class noun instead of the placeholder.
    """
    generated, prompts = _rows(generated, "clips"), _rows(prompts, "prompts")
    if len(prompts) not in (1, len(generated)):
        raise ValueError(f"{len(generated)} clips and {len(prompts)} prompts; expected one prompt for each clip.")
    return float((generated * prompts).sum(1).mean())


def audio_ceiling(training: np.ndarray) -> float:
    """Return the mean cosine between distinct training clips; nan if there is only one."""
    n = len(training)
    if n < 2:
        return float("nan")
    return float((similarity_matrix(training, training).sum() - n) / (n * (n - 1)))


def nearest_within_training(training: np.ndarray) -> np.ndarray:
    """Return the cosine (n,) of each training clip to the nearest other one."""
    cosines = similarity_matrix(training, training)
    np.fill_diagonal(cosines, -np.inf)
    return cosines.max(1) if len(cosines) > 1 else np.full(1, np.nan)
