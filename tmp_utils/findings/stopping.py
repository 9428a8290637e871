"""When to stop a training: rules that use only what anybody can see, fitted on some concepts and tested on others.

Conventions: a table of curves is that of `runs.how_many`. A curve is one training: its index are steps, from 0 (the
untrained model), its columns metrics. The best step is the one after 0 with the greatest CLAP-A plus CLAP-T, against
held-out clips; the regret of a rule is how much less its step has. The best of several noisy looks is too good by
chance, so every regret is too great by about as much: compare regrets.

Half of the concepts (every other one by name) choose for each method the rule of the least mean regret, and the fixed
number of steps of the least. The other half tests them: a rule is worth offering only if its regret is less than that
of the fixed number, with an interval over these concepts that excludes 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tmp_utils.metrics.intervals import MIN_UNITS, Interval, mean_over_units, paired_difference

KEYS = ("concept", "method", "n_clips", "seed")
SCORE = ("clap_a", "clap_t")  # their sum is what a step is judged by
FIXED = "steps"
SIGNALS = ("validation_loss", "drift", "clap_a_training")
PATIENCES = (1, 2, 3)
LOSS_SHARES, CLAP_GAINS = (0.0, 0.002, 0.005, 0.01, 0.02), (0.0, 0.01, 0.02, 0.05)
N_DRIFTS = 10  # thresholds that are tried, evenly spread over the drifts that occur


@dataclass(frozen=True)
class StopRule:
    """When a training ends, and which of its steps is taken.

    Attributes
    ----------
    signal : one of
        "validation_loss": ends once it has not fallen by the share `x` for `looks` looks; the step where it last did is
        taken (early stopping with patience; Prechelt 1998, https://doi.org/10.1007/3-540-49430-8_3);
        "clap_a_training": the same, once it has not risen by `x`;
        "drift": the first step at which it is `x` or more;
        "steps": the last step that is not above `x`, whatever is seen.
    x : threshold.
    looks : patience.
    """

    signal: str
    x: float
    looks: int = 1

    def step(self, curve: pd.DataFrame) -> int:
        """Return the step whose adapter is taken, after step 0; the last where the rule does not end the training."""
        steps = [step for step in curve.index.tolist() if step > 0]
        if self.signal == FIXED:
            return max([step for step in steps if step <= self.x], default=steps[0])
        first, *seen = curve[self.signal].tolist()
        if self.signal == "drift":
            return next((step for step, value in zip(steps, seen, strict=True) if value >= self.x), steps[-1])
        taken, best = 0, first
        for k, value in enumerate(seen, start=1):
            if value < best * (1 - self.x) if self.signal == "validation_loss" else value > best + self.x:
                taken, best = k, value
            elif k - taken >= self.looks:
                break
        return steps[max(taken - 1, 0)]

    def __str__(self) -> str:
        return {
            FIXED: f"{self.x:.0f} steps",
            "drift": f"drift of {self.x:.3g}",
            "validation_loss": f"validation loss not {self.x:.1%} lower for {self.looks} looks",
            "clap_a_training": f"CLAP-A to the training clips not {self.x:.2f} higher for {self.looks} looks",
        }[self.signal]


def curves_of(table: pd.DataFrame) -> dict[tuple, pd.DataFrame]:
    """Return the curves of a table by (concept, method, n_clips, seed).

    Raises
    ------
    ValueError : a curve has not every metric at every step.
    """
    curves = {}
    for key, rows in table.groupby(list(KEYS), sort=True):
        curve = rows.pivot(index="step", columns="metric", values="value").sort_index()
        lacking = {*SCORE, *SIGNALS} - set(curve.columns[curve.notna().all()])
        if lacking:
            raise ValueError(
                f"{key}: no {sorted(lacking)[0]} at some step. Delete the rows of this training; make it again."
            )
        curves[key] = curve
    return curves


def regrets(rules: Mapping[str, StopRule], curves: Mapping[tuple, pd.DataFrame]) -> pd.DataFrame:
    """Return concept, method, n_clips, seed and regret of each curve; `rules` has one for each method."""
    rows = [(*key, _regret(rules[key[KEYS.index("method")]], curve)) for key, curve in curves.items()]
    return pd.DataFrame(rows, columns=[*KEYS, "regret"])


def _regret(rule: StopRule, curve: pd.DataFrame) -> float:
    parts = (curve[name].tolist() for name in SCORE)
    score = dict(zip(curve.index.tolist(), map(sum, zip(*parts, strict=True)), strict=True))
    return max(value for step, value in score.items() if step > 0) - score[rule.step(curve)]


def fitted(signals: Sequence[str], method: str, curves: Mapping[tuple, pd.DataFrame]) -> tuple[StopRule, float]:
    """Return the rule of these signals with the least mean regret on the curves of a method, and that regret."""
    of_method = [curve for key, curve in curves.items() if key[KEYS.index("method")] == method]
    rules = [rule for signal in signals for rule in _candidates(signal, of_method)]
    means = [sum(_regret(rule, curve) for curve in of_method) / len(of_method) for rule in rules]
    least = min(range(len(rules)), key=means.__getitem__)
    return rules[least], means[least]


def _candidates(signal: str, curves: Sequence[pd.DataFrame]) -> list[StopRule]:
    if signal == FIXED:
        return [
            StopRule(FIXED, step) for step in sorted({step for curve in curves for step in curve.index if step > 0})
        ]
    if signal == "drift":
        drifts = np.concatenate([curve.loc[curve.index > 0, "drift"] for curve in curves])
        return [StopRule("drift", float(x)) for x in np.quantile(drifts, (np.arange(N_DRIFTS) + 0.5) / N_DRIFTS)]
    thresholds = LOSS_SHARES if signal == "validation_loss" else CLAP_GAINS
    return [StopRule(signal, x, looks) for looks in PATIENCES for x in thresholds]


def _halves(table: pd.DataFrame) -> list[dict[tuple, pd.DataFrame]]:
    """Return the curves that fit and those that test."""
    names, curves = sorted(table["concept"].unique()), curves_of(table)
    return [{key: curve for key, curve in curves.items() if key[0] in names[k::2]} for k in (0, 1)]


def stop_rules(table: pd.DataFrame) -> pd.DataFrame:
    """Fit rules on half of the concepts and test them on the other half.

    Returns
    -------
    method, signal ("steps" is the fixed number), rule in words, regret_fit, regret, ci_low, ci_high, n (test concepts);
    a row a method and signal. Empty where there are fewer than two concepts.
    """
    fit, test = _halves(table)
    rows = []
    for method in sorted(table["method"].unique()) if test else []:
        of_method = {key: curve for key, curve in test.items() if key[KEYS.index("method")] == method}
        for signal in (FIXED, *SIGNALS) if of_method else ():
            rule, regret_fit = fitted([signal], method, fit)
            tested = mean_over_units(regrets({method: rule}, of_method), "regret", ["concept"])
            ends = {name: getattr(tested, name) for name in ("ci_low", "ci_high", "n")}
            names = {"method": method, "signal": signal, "rule": str(rule)}
            rows.append(names | {"regret_fit": regret_fit, "regret": tested.value} | ends)
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class StopVerdict:
    """Rules against fixed numbers of steps.

    Attributes
    ----------
    rules, fixed : by method, chosen on half of the concepts.
    regret : the rules' mean on the other half.
    gain : how much less it is than that of the fixed numbers, paired over trainings, with its interval over concepts.
    """

    rules: dict[str, StopRule]
    fixed: dict[str, StopRule]
    regret: Interval
    gain: Interval

    @property
    def holds(self) -> bool:
        """Whether the rules are better than fixed numbers of steps."""
        return self.gain.n >= MIN_UNITS and self.gain.ci_low > 0


def stop_verdict(table: pd.DataFrame) -> StopVerdict | None:
    """Return the verdict on the rules of a table; None of fewer than six concepts, three in each half."""
    fit, test = _halves(table)
    if len({key[0] for key in test}) < MIN_UNITS:
        return None
    methods = sorted(table["method"].unique())
    rules = {method: fitted(SIGNALS, method, fit)[0] for method in methods}
    fixed = {method: fitted([FIXED], method, fit)[0] for method in methods}
    by_rule, by_fixed = regrets(rules, test), regrets(fixed, test)
    regret = mean_over_units(by_rule, "regret", ["concept"])
    return StopVerdict(rules, fixed, regret, paired_difference(by_fixed, by_rule, KEYS, "regret", ["concept"]))


def stop_in_words(table: pd.DataFrame) -> str:
    """Say whether a rule that anybody can use is better than a fixed number of steps."""
    verdict, n = stop_verdict(table), table["concept"].nunique()
    if verdict is None:
        return (
            f"A stop rule needs {2 * MIN_UNITS} concepts, three to choose it and three to test it; this table has {n}."
        )
    rules = "; ".join(f"{method}: {rule}, against {verdict.fixed[method]}" for method, rule in verdict.rules.items())
    gain, regret = verdict.gain, verdict.regret
    worse = gain.ci_high < 0
    said = "is better than" if verdict.holds else "is worse than" if worse else "cannot be distinguished from"
    return (
        f"Chosen on half of the {n} concepts ({rules}), the stop rule {said} a fixed number of steps on the other half:"
        f" CLAP-A + CLAP-T is {gain.value:+.3f} [{gain.ci_low:+.3f}, {gain.ci_high:+.3f}] higher, and "
        f"{regret.value:.3f} [{regret.ci_low:.3f}, {regret.ci_high:.3f}] below that of the best step."
    )
