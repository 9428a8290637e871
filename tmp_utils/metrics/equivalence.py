"""Whether two things differ, or are the same within a margin: an equivalence test, not a failed difference test.

Conventions: equivalence is two one-sided t-tests (TOST; Schuirmann 1987, https://doi.org/10.1007/BF01068419): at level
alpha, the (1 - 2 alpha) interval of the mean difference lies inside the margin on both sides. Differences are paired. A
margin is in the units of the score.

difference_tests, with_verdicts : a difference over units (concepts, mixtures) with both tests, and the verdicts of a
    table of such rows: "higher" or "lower" where the difference from 0 is significant; "no difference" where it is not,
    but lies within the margin; else "undecided". Holm's rule corrects each kind of test over the table.
paired_equivalence, distance_equivalence : of two samplers, over clips of the same prompts and noise.
    `commands.samplers` takes as margin a fifth of the standard deviation between clips of the 50-step DDIM (a small
    effect, Cohen 1988), but at most the claims' 0.05, and for FAD a twentieth of the DDIM's FAD.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tmp_utils.metrics.distances import frechet_audio_distance
from tmp_utils.metrics.intervals import MIN_UNITS, NAN, Bounds, Interval, holm, mean_of, p_above

ALPHA = 0.05
MARGIN = 0.05  # of a similarity: the smallest difference that matters, as in data/paper/findings.csv
HIGHER, LOWER, NO_DIFFERENCE, UNDECIDED = "higher", "lower", "no difference", "undecided"


def one_sided(differences: Sequence[float], margin: float, bounds: Bounds = None) -> tuple[float, float]:
    """Return the p-values that the mean is above -margin and below margin; the greater one is that it is between."""
    return p_above(differences, -margin, bounds), p_above(differences, -margin, bounds, -1)


def mean_difference(differences: Sequence[float], ending: str = "") -> dict[str, float]:
    """Return difference, ci_low and ci_high; no ends of fewer than `MIN_UNITS` differences, and NaN of none."""
    mean = mean_of(differences, least=MIN_UNITS) if len(differences) else Interval(NAN, NAN, NAN, 0)
    return {f"difference{ending}": mean.value, f"ci_low{ending}": mean.ci_low, f"ci_high{ending}": mean.ci_high}


def difference_tests(differences: Sequence[float], margin: float) -> dict:
    """Return a row for `with_verdicts`, of paired differences (n,), at least one.

    Returns
    -------
    difference, ci_low, ci_high, margin, p_holm and p_equal (not yet corrected), n, verdict (if the difference is
    significant). With fewer than `MIN_UNITS` differences there is neither an interval nor a p-value.
    """
    mean = mean_of(differences, least=MIN_UNITS)
    p_equal = max(one_sided(differences, margin)) if mean.n >= MIN_UNITS else NAN
    tests = {"margin": margin, "p_holm": mean.p_value, "p_equal": p_equal, "n": mean.n}
    return mean_difference(differences) | tests | {"verdict": HIGHER if mean.value > 0 else LOWER}


def with_verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with its p-values corrected by Holm's rule, and its verdicts.

    Parameters
    ----------
    table : p_holm and p_equal, not yet corrected, NaN where nothing was tested; verdict, of a significant difference.
    """
    p_value, p_equal = holm(table["p_holm"]), holm(table["p_equal"])
    significant = table["verdict"].to_numpy(object)
    verdict = np.select([p_value < ALPHA, p_equal < ALPHA], [significant, NO_DIFFERENCE], UNDECIDED)
    return table.assign(p_holm=p_value, p_equal=p_equal, verdict=verdict)


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
