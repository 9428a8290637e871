"""Whether a faster way of generating gives the same scores: equivalence tests, not failed difference tests.

Conventions: two one-sided t-tests (TOST; Schuirmann 1987, https://doi.org/10.1007/BF01068419): two ways are equivalent
at level alpha when the (1 - 2 alpha) interval of their mean difference lies inside the margin on both sides. Values are
paired: the same prompt from the same noise. A margin is in the units of the score. `commands.samplers` takes a fifth of
the standard deviation between clips of the 50-step DDIM (a small effect, Cohen 1988), but at most the claims' 0.05, and
for FAD a twentieth of the DDIM's FAD.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tmp_utils.metrics.distances import frechet_audio_distance

ALPHA = 0.05


@dataclass(frozen=True)
class Equivalence:
    """A mean paired difference with its (1 - 2 alpha) interval, over n pairs, and its margin."""

    difference: float
    ci_low: float
    ci_high: float
    margin: float
    n: int

    @property
    def equivalent(self) -> bool:
        """Whether the whole interval lies inside the margin."""
        return bool(-self.margin < self.ci_low and self.ci_high < self.margin)


def _check_margin(margin: float) -> None:
    if not (np.isfinite(margin) and margin > 0):
        raise ValueError(f"margin {margin}: expected a positive number in the units of the score.")


def paired_equivalence(a: Sequence[float], b: Sequence[float], margin: float) -> Equivalence:
    """Test whether mean(a - b) lies within the margin, by two one-sided paired t-tests.

    Parameters
    ----------
    a, b : (n,), value i of both from the same prompt and noise.
    margin : in the units of the values; decide it before looking.

    Raises
    ------
    ValueError : fewer than two pairs, values that are not finite, or a margin that is not positive.
    """
    from statsmodels.stats.weightstats import DescrStatsW

    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise ValueError(f"shapes {a.shape} and {b.shape}; pairs need two columns of one length, 2 or more.")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a value is NaN or infinite; leave the pairs of failed clips out by name, and count them.")
    _check_margin(margin)
    differences = a - b
    low, high = DescrStatsW(differences).tconfint_mean(2 * ALPHA)
    return Equivalence(float(differences.mean()), float(low), float(high), float(margin), len(differences))


def distance_equivalence(
    reference: np.ndarray, a: np.ndarray, b: np.ndarray, margin: float, n_resamples: int, seed: int = 0
) -> Equivalence:
    """Test whether FAD(reference, a) - FAD(reference, b) lies within the margin, by a bootstrap over pairs.

    Parameters
    ----------
    reference, a, b : embeddings (m, d), (n, d), (n, d); row i of a and b from the same prompt and noise.
    n_resamples : of the pairs; each takes two matrix roots.

    Notes
    -----
    A resample repeats rows and so has a smaller covariance than the set it comes from, which biases its FAD; both
    sides are resampled alike, so the bias hardly changes the difference. Centring the resampled differences on the
    measured one removes the rest.
    """
    _check_margin(margin)
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"shapes {a.shape} and {b.shape}; expected embeddings (n, d) of the same prompts and noise.")

    def difference(rows: np.ndarray) -> float:
        return frechet_audio_distance(reference, a[rows]).value - frechet_audio_distance(reference, b[rows]).value

    n, rng = len(a), np.random.default_rng(seed)
    value = difference(np.arange(n))
    drawn = np.array([difference(rng.integers(0, n, n)) for _ in range(n_resamples)])
    low, high = np.quantile(value + (drawn - drawn.mean()) * np.sqrt(n / (n - 1)), [ALPHA, 1 - ALPHA])
    return Equivalence(value, float(low), float(high), float(margin), n)


def fewest_steps(table: pd.DataFrame) -> dict[str, int | None]:
    """Return for each scheduler the fewest steps from which on all tested numbers pass in every metric, or None.

    A number of steps that passes while a greater one fails has passed by chance.

    Parameters
    ----------
    table : scheduler, steps, metric, equivalent.
    """
    fewest: dict[str, int | None] = {}
    for scheduler, rows in table.groupby("scheduler", sort=False):
        passed = rows.groupby("steps")["equivalent"].all().sort_index(ascending=False)
        good = [int(steps) for steps, so_far in passed.astype(int).cummin().items() if so_far]
        fewest[str(scheduler)] = min(good, default=None)
    return fewest
