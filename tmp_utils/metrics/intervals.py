"""How sure a number is: bootstrap intervals, paired differences and the correction for many comparisons.

Conventions: a table has one row a value and one column a level (concept, seed, clip, ...); intervals are
two-sided with coverage ``level`` (0.95). All randomness comes from ``seed``; the same table and seed give the
same interval, whatever the order of the rows.

Over concepts, interval and p-value are Student's one-sample t: at 3 to 6 concepts the spread itself is hardly known,
and a bootstrap that takes it as known reports an effect where there is none up to eighty times too often after Holm's
correction.
Over clips, seeds and prompts of one concept the interval is the percentile bootstrap, widened by sqrt(n / (n - 1))
about its mean at every resampled level: plain percentiles are too narrow by just that factor at the 4 to 32 units
of this study (Hesterberg 2015, "What teachers should know about the bootstrap", section 4). BCa corrects skewness
instead, needs a jackknife that is not defined over nested levels, and wants larger n; means of bounded scores are
hardly skewed. A share of clips has Wilson's interval, since resampling clips that all agree would claim certainty.

bootstrap_mean      : mean of independent values with its interval.
hierarchical_mean   : the same for nested values: concepts, then seeds, then clips.
mean_over_units     : mean over concepts, its interval and p-value honest for few of them.
paired_difference   : A minus B over the units that both have.
within              : an interval whose ends do not leave some bounds.
wilson, share_of    : interval of a count of n; share of values that are 1, with it.
holm                : p-values adjusted for testing a whole table.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

N_RESAMPLES = 2000
LEVEL = 0.95
MIN_UNITS = 3  # with fewer, an interval holds for these units only, not for others like them
NO_SPREAD = 1e-12  # values that differ by less are equal but for rounding
SHARE = (0.0, 1.0)


@dataclass(frozen=True)
class Interval:
    """A mean with its interval; ``n`` counts units of the outermost level, the p-value is against 0."""

    value: float
    ci_low: float
    ci_high: float
    n: int
    p_value: float = float("nan")

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval."""
        return bool(self.ci_low > 0 or self.ci_high < 0)


def _finite(values: Sequence[float]) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64).ravel()
    if not np.isfinite(values).all():
        raise ValueError(
            f"{(~np.isfinite(values)).sum()} of {len(values)} values are NaN or infinite; an interval over "
            "the rest would hide them. Leave failed rows out by name, and count them."
        )
    return values


def _interval(mean: float, means: np.ndarray, n: int, level: float) -> Interval:
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    below, above = (means <= 0).mean(), (means >= 0).mean()
    p_value = min(1.0, 2 * max(min(below, above), 1 / len(means)))
    return Interval(mean, float(low), float(high), n, float(p_value))


def bootstrap_mean(
    values: Sequence[float], seed: int = 0, level: float = LEVEL, n_resamples: int = N_RESAMPLES
) -> Interval:
    """Return the mean of independent values with its bootstrap interval.

    One value has a mean but no interval: its ends are nan, never the value itself.
    """
    values = np.sort(_finite(values))
    if len(values) == 0:
        raise ValueError("no values arrived; an interval needs at least two.")
    mean, n = float(values.mean()), len(values)
    if n == 1:
        return Interval(mean, float("nan"), float("nan"), 1)
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, n, size=(n_resamples, n))].mean(1)
    return _interval(mean, mean + (means - mean) * np.sqrt(n / (n - 1)), n, level)


def _resampled(groups: dict | np.ndarray, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Return resampled means (n_resamples,) of nested dicts with value arrays at the leaves."""
    if isinstance(groups, np.ndarray):
        children = np.broadcast_to(groups, (n_resamples, len(groups)))
    else:
        children = np.stack([_resampled(group, n_resamples, rng) for group in groups.values()], axis=1)
    n = children.shape[1]
    if n == 1:
        return children[:, 0]
    # Each resample draws the levels below anew, so that all levels vary together.
    drawn = np.take_along_axis(children, rng.integers(0, n, size=(n_resamples, n)), axis=1).mean(1)
    centre = children.mean(1)
    return centre + (drawn - centre) * np.sqrt(n / (n - 1))


def _nested(table: pd.DataFrame, value: str, levels: Sequence[str]) -> dict | np.ndarray:
    if not levels:
        return np.sort(_finite(table[value]))
    groups = table.groupby(levels[0], sort=True, observed=True)
    return {name: _nested(group, value, levels[1:]) for name, group in groups}


def _nested_by(table: pd.DataFrame, value: str, levels: Sequence[str]) -> dict | np.ndarray:
    if missing := {value, *levels} - set(table.columns):
        raise ValueError(f"columns {sorted(missing)} are not in the table, which has {list(table.columns)}.")
    if table.empty:
        raise ValueError("no rows arrived; an interval needs at least two.")
    return _nested(table, value, list(levels))


def _mean(groups: dict | np.ndarray) -> float:
    if isinstance(groups, np.ndarray):
        return float(groups.mean())
    return float(np.mean([_mean(group) for group in groups.values()]))


def hierarchical_mean(
    table: pd.DataFrame,
    value: str = "value",
    levels: Sequence[str] = ("concept", "seed"),
    seed: int = 0,
    level: float = LEVEL,
    n_resamples: int = N_RESAMPLES,
) -> Interval:
    """Return the mean of nested values with its interval, every level resampled within the one above.

    Parameters
    ----------
    table : pandas.DataFrame
        One row a value (a clip, say).
    levels : sequence of str
        Columns from the outermost in. The rows within the last are the innermost level.

    Notes
    -----
    The mean is the mean over concepts of means over seeds of means over clips, so that a concept with more
    clips does not count for more. A level with one unit adds no spread: with a single concept (``n`` = 1) the interval
    holds for that concept only.
    """
    groups = _nested_by(table, value, levels)
    mean, n = _mean(groups), len(groups)
    if len(table) == 1:
        return Interval(mean, float("nan"), float("nan"), n)
    means = _resampled(groups, n_resamples, np.random.default_rng(seed))
    return _interval(mean, means, n, level)


def mean_over_units(
    table: pd.DataFrame,
    value: str = "value",
    levels: Sequence[str] = ("concept", "seed"),
    seed: int = 0,
    level: float = LEVEL,
    n_resamples: int = N_RESAMPLES,
    bounds: tuple[float, float] | None = None,
) -> Interval:
    """Return the mean over the outermost level's units, with an interval and p-value that hold for other such units.

    Parameters
    ----------
    table, value, levels
        As in `hierarchical_mean`, whose interval it is under ``MIN_UNITS`` units.
    bounds : (float, float), optional
        The least and greatest possible mean: (0, 1) for a share.

    Notes
    -----
    Interval and p-value are both Student's one-sample t over the units' means, so that they always agree. The spread of
    the units' means already includes the seeds and clips below them: resampling those too would count them twice (Ren
    et al. 2010, "Nonparametric bootstrapping for hierarchical data"). Units that all have the same value, as shares of
    few clips often have, show no spread: the p-value is then that of the sign test, and within ``bounds`` the interval
    is Wilson's, with every unit as one answer.
    """
    from scipy.stats import ttest_1samp

    units = np.array([_mean(group) for group in _nested_by(table, value, levels).values()])
    mean, n = float(units.mean()), len(units)
    if n < MIN_UNITS:
        return within(hierarchical_mean(table, value, levels, seed, level, n_resamples), bounds)
    if np.ptp(units) < NO_SPREAD:
        p_value = 1.0 if abs(mean) < NO_SPREAD else min(1.0, 2 * 0.5**n)
        return Interval(mean, *_of_equals(mean, n, bounds, level), n, p_value)
    test = ttest_1samp(units, 0.0)
    low, high = test.confidence_interval(level)
    return within(Interval(mean, float(low), float(high), n, float(test.pvalue)), bounds)


def within(interval: Interval, bounds: tuple[float, float] | None) -> Interval:
    """Return the interval with ends that do not leave ``bounds``; nan ends stay."""
    if bounds is None:
        return interval
    low, high = np.clip([interval.ci_low, interval.ci_high], *bounds)
    return replace(interval, ci_low=float(low), ci_high=float(high))


def _of_equals(mean: float, n: int, bounds: tuple[float, float] | None, level: float) -> tuple[float, float]:
    """Return the ends of the interval of n equal values: Wilson's within ``bounds``."""
    if bounds is None:
        return mean, mean
    span = bounds[1] - bounds[0]
    share = np.clip((mean - bounds[0]) / span, 0.0, 1.0)
    share = float(np.round(share)) if abs(share - np.round(share)) < NO_SPREAD else float(share)
    low, high = wilson(n * share, n, level)
    return bounds[0] + span * low, bounds[0] + span * high


def wilson(count: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Return Wilson's score interval (Wilson 1927) of `count` of `n`; (nan, nan) for n = 0."""
    from statsmodels.stats.proportion import proportion_confint

    if n == 0:
        return float("nan"), float("nan")
    low, high = proportion_confint(count, n, alpha=1 - level, method="wilson")
    # At none and all the ends are 0 and 1, but for rounding that would leave the share outside.
    return float(low) if count else 0.0, float(high) if count < n else 1.0


def share_of(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Return the share of independent values (each 0 or 1) that are 1, with Wilson's interval."""
    values = _finite(values)
    if len(values) == 0 or not np.isin(values, SHARE).all():
        raise ValueError(f"{len(values)} values {np.unique(values)[:5]} arrived; a share is of zeros and ones.")
    return Interval(float(values.mean()), *wilson(values.sum(), len(values), level), len(values))


def paired_difference(
    a: pd.DataFrame,
    b: pd.DataFrame,
    on: Sequence[str],
    value: str = "value",
    levels: Sequence[str] = ("concept", "seed"),
    seed: int = 0,
    **kwargs,
) -> Interval:
    """Return the mean of A minus B over the units both have, with its interval and p-value.

    Parameters
    ----------
    on : sequence of str
        Columns that make a unit (concept, seed, prompt, ...); rows of a unit are averaged before pairing.
    levels : sequence of str
        The nesting of the differences, as in `mean_over_units`; columns that are not in ``on`` are left out.

    Raises
    ------
    ValueError
        If A and B share no unit.
    """
    means = [table.groupby(list(on), sort=True, observed=True)[value].mean() for table in (a, b)]
    difference = (means[0] - means[1]).dropna().rename("difference").reset_index()
    if difference.empty:
        raise ValueError(f"the two sides share no unit of {list(on)}; run both on the same concepts and seeds.")
    levels = [name for name in levels if name in on]
    return mean_over_units(difference, "difference", levels, seed=seed, **kwargs)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Return p-values adjusted by Holm's step-down rule (Holm 1979); nan stays nan and does not count."""
    from statsmodels.stats.multitest import multipletests

    p_values = np.asarray(p_values, dtype=np.float64)
    known = ~np.isnan(p_values)
    adjusted = np.full(p_values.shape, np.nan)
    if known.any():
        adjusted[known] = multipletests(p_values[known], method="holm")[1]
    return adjusted
