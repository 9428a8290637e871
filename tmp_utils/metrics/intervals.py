"""How sure a number is: intervals of means and shares, paired differences and the correction for many comparisons.

Conventions: a table has one row a value and one column a level (concept, seed, clip, ...); intervals are two-sided with
coverage ``level`` (0.95). Interval and p-value of a mean come from one model: the interval excludes 0 where p < 0.05.

The model is Student's t over the outermost units that vary: concepts; of one concept its seeds; of one run its clips
or prompts. A bootstrap over so few is too narrow: in simulations it covers the mean of 5 clips 87 times in 100. Units
with equal values show no spread: then the model is the sign test, and within bounds the binomial distribution with
every unit as one answer (Clopper and Pearson 1934).

A mean over pairs of clips is no mean of independent values, since the pairs share clips. Its interval is the
jackknife's, which leaves out one clip at a time (Efron and Stein 1981, https://doi.org/10.1214/aos/1176345462); between
two sets of clips, the variances of both sets add up. A share of clips has Wilson's interval.

mean_of             : mean of independent values with its interval and p-value.
p_above             : one-sided p-value that the mean of such values is above a number.
mean_between        : mean over all pairs of two sets, both sampled.
jackknife           : any statistic of one set.
mean_over_units     : mean over the outermost level's units.
paired_difference   : A minus B over the units that both have.
within              : an interval whose ends do not leave some bounds.
wilson, share_of    : interval of a count of n; share of values that are 1, with it.
holm                : p-values adjusted for testing a whole table.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

LEVEL = 0.95
MIN_UNITS = 3  # with fewer, an interval holds for these units only, not for others like them
NO_SPREAD = 1e-12  # values that differ by less are equal but for rounding
SHARE = (0.0, 1.0)
NAN = float("nan")
Bounds = tuple[float, float] | None  # the least and greatest possible mean: (0, 1) for a share


@dataclass(frozen=True)
class Interval:
    """A mean with its interval; ``n`` counts units, ``over`` says which (and how many), the p-value is against 0."""

    value: float
    ci_low: float
    ci_high: float
    n: int
    p_value: float = NAN
    over: str = ""


def _finite(values: Sequence[float]) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64).ravel()
    if not np.isfinite(values).all():
        raise ValueError(
            f"{(~np.isfinite(values)).sum()} of {len(values)} values are NaN or infinite; an interval over "
            "the rest would hide them. Leave failed rows out by name, and count them."
        )
    return values


def mean_of(
    values: Sequence[float], over: str = "", bounds: Bounds = None, level: float = LEVEL, least: int = 2
) -> Interval:
    """Return the mean of independent values with its interval and two-sided p-value against 0.

    Parameters
    ----------
    values : (n,)
    over : what a value is of, in the plural: "clips".
    bounds : the interval's ends do not leave them.
    least : of fewer values there is a mean, but neither an interval nor a p-value.

    Notes
    -----
    One value has a mean but no interval: its ends are nan, never the value itself. Neither have equal values without
    bounds where there are too few of them for a sign test at this level (fewer than six at 0.95).
    """
    values = np.sort(_finite(values))
    if len(values) == 0:
        raise ValueError("no values arrived; an interval needs at least two.")
    mean, n = float(values.mean()), len(values)
    if n < max(least, 2):
        return Interval(mean, NAN, NAN, n)
    p_value = min(1.0, 2 * min(p_above(values, 0.0, bounds, sign) for sign in (1, -1)))
    if np.ptp(values) < NO_SPREAD:
        low, high = _of_equals(mean, n, bounds, level)
    else:
        half = _t_quantile(n - 1, level) * values.std(ddof=1) / np.sqrt(n)
        low, high = mean - half, mean + half
    over = f"{n} {over}" if over and np.isfinite(low) else ""
    return within(Interval(mean, float(low), float(high), n, p_value, over), bounds)


def _t_quantile(freedom: float, level: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))


def p_above(values: Sequence[float], null: float = 0.0, bounds: Bounds = None, sign: int = 1) -> float:
    """Return the one-sided p-value that sign times the mean of independent values is above ``null``; nan of one value.

    It is Student's; of values without spread the sign test's, or within ``bounds`` the binomial distribution's.
    """
    from scipy.special import betainc, stdtr

    values, bounds = sign * _finite(values), bounds and tuple(sorted(sign * end for end in bounds))
    mean, n = values.mean(), len(values)
    if n < 2:
        return NAN
    if np.ptp(values) >= NO_SPREAD:
        return float(stdtr(n - 1, (null - mean) / values.std(ddof=1) * np.sqrt(n)))
    if mean <= null + NO_SPREAD:
        return 1.0
    if bounds is None:
        return 0.5**n
    of_mean, of_null = (_share_within(x, bounds) for x in (mean, null))
    return float(betainc(n * of_mean, n - n * of_mean + 1, of_null))  # P(X >= n of_mean), X binomial (n, of_null)


def _share_within(value: float, bounds: tuple[float, float]) -> float:
    return float(np.clip(round((value - bounds[0]) / (bounds[1] - bounds[0]), 12), 0.0, 1.0))


def _of_equals(mean: float, n: int, bounds: Bounds, level: float) -> tuple[float, float]:
    """Return the ends of the interval of n equal values: the sign test's, or within ``bounds`` Clopper-Pearson's."""
    from scipy.special import betaincinv

    if bounds is None:
        return (mean, mean) if 2 * 0.5**n <= 1 - level else (NAN, NAN)
    count, tail, span = n * _share_within(mean, bounds), (1 - level) / 2, bounds[1] - bounds[0]
    low = betaincinv(count, n - count + 1, tail) if count > 0 else 0.0
    high = betaincinv(count + 1, n - count, 1 - tail) if count < n else 1.0
    return bounds[0] + span * low, bounds[0] + span * high


def mean_between(pairs: np.ndarray, over: tuple[str, str]) -> Interval:
    """Return the mean of a measure over all pairs of two sets, with an interval for other such sets.

    Parameters
    ----------
    pairs : (n, m), the measure of item i of the first set and item j of the second.
    over : what the items are, in the plural: ("generated clips", "training clips").

    Notes
    -----
    The jackknife's variance of each set is the variance of its items' means; they add up, with the degrees of
    freedom of Satterthwaite (1946). A set of one item shows no spread: the interval is then over the other set.
    """
    pairs = np.asarray(pairs, dtype=np.float64)
    n, m = pairs.shape
    value = float(np.sort(_finite(pairs.mean(1))).mean())
    sizes = [(size, pairs.mean(axis)) for axis, size in ((1, n), (0, m)) if size > 1]
    words = " and ".join(f"{size} {name}" for size, name in zip((n, m), over, strict=True) if size > 1)
    variances = [means.var(ddof=1) / size for size, means in sizes]
    if (total := sum(variances)) < NO_SPREAD**2:
        return Interval(value, NAN, NAN, n)
    freedom = total**2 / sum(v**2 / (size - 1) for v, (size, _) in zip(variances, sizes, strict=True))
    half = _t_quantile(freedom, LEVEL) * np.sqrt(total)
    return Interval(value, value - half, value + half, n, over=words)


def jackknife(statistic: Callable[[np.ndarray], float], n: int, over: str) -> Interval:
    """Return a statistic of n items with its interval by leaving out one at a time; none of fewer than three.

    Parameters
    ----------
    statistic : of an array with the numbers of the chosen items, at least two.
    """
    every = np.arange(n)
    value = float(statistic(every))
    if n < MIN_UNITS:
        return Interval(value, NAN, NAN, n)
    without = np.array([statistic(np.delete(every, k)) for k in range(n)])
    spread = mean_of(n * value - (n - 1) * without, over)  # of Tukey's pseudo-values
    half = (spread.ci_high - spread.ci_low) / 2
    return Interval(value, value - half, value + half, n, over=spread.over)


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


def mean_over_units(
    table: pd.DataFrame,
    value: str = "value",
    levels: Sequence[str] = ("concept", "seed"),
    bounds: Bounds = None,
) -> Interval:
    """Return the mean over the outermost level's units, with an interval and p-value that hold for other such units.

    Parameters
    ----------
    table : one row a value (a run, say).
    levels : columns from the outermost in. The rows within the last are the innermost level.

    Notes
    -----
    The mean is the mean over concepts of means over seeds of means over clips; ``n`` counts concepts. The spread of
    the units' means already includes the seeds and clips below them: adding those would count them twice. Where there
    is a single unit, the interval is over the units within it, and holds for that one only.
    """
    groups, names = _nested_by(table, value, levels), [*levels, "row"]
    mean, n = _mean(groups), len(groups)
    while isinstance(groups, dict) and len(groups) == 1:
        groups, names = next(iter(groups.values())), names[1:]
    units = groups if isinstance(groups, np.ndarray) else [_mean(group) for group in groups.values()]
    return replace(mean_of(units, f"{names[0]}s", bounds), value=mean, n=n)


def within(interval: Interval, bounds: Bounds) -> Interval:
    """Return the interval with ends that do not leave ``bounds``; nan ends stay."""
    if bounds is None:
        return interval
    low, high = np.clip([interval.ci_low, interval.ci_high], *bounds)
    return replace(interval, ci_low=float(low), ci_high=float(high))


def wilson(count: float, n: float) -> tuple[float, float]:
    """Return Wilson's score interval (Wilson 1927) of `count` of `n`; (nan, nan) for n = 0."""
    from statsmodels.stats.proportion import proportion_confint

    if n == 0:
        return float("nan"), float("nan")
    low, high = proportion_confint(count, n, alpha=1 - LEVEL, method="wilson")
    # At none and all the ends are 0 and 1, but for rounding that would leave the share outside.
    return float(low) if count else 0.0, float(high) if count < n else 1.0


def share_of(values: Sequence[float]) -> Interval:
    """Return the share of independent clips (values 0 or 1) that are 1, with Wilson's interval."""
    values = _finite(values)
    if len(values) == 0 or not np.isin(values, SHARE).all():
        raise ValueError(f"{len(values)} values {np.unique(values)[:5]} arrived; a share is of zeros and ones.")
    ends = wilson(values.sum(), len(values))
    return Interval(float(values.mean()), *ends, len(values), over=f"{len(values)} clips")


def paired_difference(
    a: pd.DataFrame,
    b: pd.DataFrame,
    on: Sequence[str],
    value: str = "value",
    levels: Sequence[str] = ("concept", "seed"),
    **kwargs,
) -> Interval:
    """Return the mean of A minus B over the units both have, with its interval and p-value.

    Parameters
    ----------
    on : columns that make a unit (concept, seed, prompt, ...); rows of a unit are averaged before pairing.
    levels : the nesting of the differences, as in `mean_over_units`; columns that are not in ``on`` are left out.

    Raises
    ------
    ValueError : A and B share no unit, or a value is not finite.
    """
    for table in (a, b):
        _finite(table[value])
    means = [table.groupby(list(on), sort=True, observed=True)[value].mean() for table in (a, b)]
    difference = (means[0] - means[1]).dropna().rename("difference").reset_index()
    if difference.empty:
        raise ValueError(f"the two sides share no unit of {list(on)}; run both on the same concepts and seeds.")
    levels = [name for name in levels if name in on]
    return mean_over_units(difference, "difference", levels, **kwargs)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Return p-values adjusted by Holm's step-down rule (Holm 1979); nan stays nan and does not count."""
    p_values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p_values)[: np.isfinite(p_values).sum()]  # nan comes last
    adjusted = np.full(p_values.shape, np.nan)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1)))
    return adjusted
