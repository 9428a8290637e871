"""Distances between two sets of audio embeddings: Frechet (FAD) and kernel (KAD) audio distance.

Conventions: embeddings are float arrays (n, d), one row a clip or window, all from one embedder; the first
set is the reference (a concept's clips), the second what was generated. Lower is closer. Both depend on the
embedder, and FAD on n too: with true distance 0 in 128 dimensions, 20 rows a side read about 187 and 2000
read 4.3. So compare equal n only (`equal_n`), and read `Distance.note`.

frechet_audio_distance : FAD (Kilgour et al., Interspeech 2019) with n and, where n is small, a warning.
frechet_distance       : the same between two Gaussians given by mean and covariance.
kernel_audio_distance  : KAD (Chung et al., arXiv 2502.15602), unbiased at any n, so it may be negative.
median_distance        : the width of KAD's kernel.
equal_n                : as many rows of either set, drawn with a seed.
"""

from typing import NamedTuple

import numpy as np

KAD_SCALE = 100.0  # kadtk reports 100 times the squared discrepancy


class Distance(NamedTuple):
    """A distance, with the rows of the smaller set and a note where they are too few."""

    value: float
    n: int
    note: str = ""


def _two_sets(reference: np.ndarray, generated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sets = [np.asarray(rows, dtype=np.float64) for rows in (reference, generated)]
    shapes = [rows.shape for rows in sets]
    if any(rows.ndim != 2 for rows in sets) or shapes[0][1] != shapes[1][1]:
        raise ValueError(f"shapes {shapes} arrived; expected (n, d) and (m, d) from one embedder.")
    if min(len(rows) for rows in sets) < 2:
        raise ValueError(f"shapes {shapes} arrived; a distance between sets needs two rows a side at least.")
    if not all(np.isfinite(rows).all() for rows in sets):
        raise ValueError("an embedding holds NaN or infinite numbers; leave failed clips out before comparing sets.")
    return sets[0], sets[1]


def _root(covariance: np.ndarray) -> np.ndarray:
    """Return the symmetric square root of a covariance; eigenvalues below 0 are rounding and count as 0."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(0.0))) @ vectors.T


def frechet_distance(mean_1: np.ndarray, cov_1: np.ndarray, mean_2: np.ndarray, cov_2: np.ndarray) -> float:
    """Return the squared Frechet distance of two Gaussians, |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    The trace of the root is the sum of the roots of the eigenvalues of C1^(1/2) C2 C1^(1/2), which is
    symmetric: no complex numbers, no failure on singular covariances.
    """
    cov_1, cov_2 = np.atleast_2d(cov_1), np.atleast_2d(cov_2)
    root = _root(cov_1)
    overlap = np.sqrt(np.linalg.eigvalsh(root @ cov_2 @ root).clip(0.0)).sum()
    shift = np.atleast_1d(mean_1) - np.atleast_1d(mean_2)
    return float(shift @ shift + np.trace(cov_1) + np.trace(cov_2) - 2.0 * overlap)


def frechet_audio_distance(reference: np.ndarray, generated: np.ndarray) -> Distance:
    """Return FAD between embeddings (n, d) and (m, d), with unbiased covariances as in every public toolkit.

    Fewer rows than d + 1 make a covariance singular, and unequal n biases the two sides differently: the note of the
    result then says so.
    """
    reference, generated = _two_sets(reference, generated)
    statistics = [part for rows in (reference, generated) for part in (rows.mean(0), np.cov(rows, rowvar=False))]
    n, m, size = len(reference), len(generated), reference.shape[1]
    notes = []
    if min(n, m) <= size:
        notes.append(f"n = {min(n, m)} is too small for a covariance of {size} dimensions: compare equal n only")
    if n != m:
        notes.append(f"unequal n: {n} reference and {m} generated rows")
    return Distance(frechet_distance(*statistics), min(n, m), "; ".join(notes))


def _squared_distances(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    squares = (rows**2).sum(1)[:, None] + (others**2).sum(1)[None] - 2 * rows @ others.T
    return squares.clip(0.0)


def median_distance(rows: np.ndarray) -> float:
    """Return the median Euclidean distance between distinct rows (of two middle ones the lower, as in kadtk).

    Raises
    ------
    ValueError : it is 0: most rows are copies of each other and the kernel has no width.
    """
    rows = np.asarray(rows, dtype=np.float64)
    squares = _squared_distances(rows, rows)[np.triu_indices(len(rows), 1)]
    median = float(np.sqrt(np.quantile(squares, 0.5, method="lower")))
    if not median > 0:
        raise ValueError("more than half of the embeddings' distances are 0: the set holds copies. Remove them.")
    return median


def kernel_audio_distance(reference: np.ndarray, generated: np.ndarray) -> Distance:
    """Return KAD: 100 times the unbiased squared maximum mean discrepancy with a Gaussian kernel.

    Embeddings are (n, d) and (m, d). The kernel is exp(-|x - y|^2 / (2 width^2)), where the width is the median
    distance within the reference, so that all setups of a concept share one. (The toolkit kadtk takes the median of
    its second set.)
    """
    reference, generated = _two_sets(reference, generated)
    width = median_distance(reference)

    def kernel(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        return np.exp(-_squared_distances(rows, others) / (2.0 * width**2))

    def mean_of_distinct(rows: np.ndarray) -> float:
        n = len(rows)
        return (kernel(rows, rows).sum() - n) / (n * (n - 1))

    across = kernel(reference, generated).mean()
    value = mean_of_distinct(reference) + mean_of_distinct(generated) - 2.0 * across
    return Distance(float(KAD_SCALE * value), min(len(reference), len(generated)))


def equal_n(
    reference: np.ndarray, generated: np.ndarray, seed: int = 0, n: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return n rows of either set, drawn without replacement; by default as many as the smaller one has.

    Give ``n`` to compare several setups with each other: the smallest n of all of them.
    """
    available = min(len(reference), len(generated))
    n = available if n is None else n
    if not 0 < n <= available:
        raise ValueError(
            f"n = {n} rows; the sets have {len(reference)} and {len(generated)}. Give an n of at most {available}."
        )
    rng = np.random.default_rng(seed)
    drawn = [np.sort(rng.choice(len(rows), n, replace=False)) for rows in (reference, generated)]
    return np.asarray(reference)[drawn[0]], np.asarray(generated)[drawn[1]]
