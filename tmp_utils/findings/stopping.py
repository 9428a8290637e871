"""When to stop a training: rules that use only what anybody can see, beside fixed numbers of steps.

Conventions: a table of curves is that of `runs.how_many`. A curve is one training: its index are steps, from 0 (the
untrained model), its columns metrics. A rule looks at the steps that were measured, and at no other.

A step's score is CLAP-A against held-out clips over 0.70 plus CLAP-T over 0.66. These numbers are the spans of the
scores in `data/published/pocket.csv.gz`, means over its 41 concepts: from the untrained model (0.19) to the concept's
clips (0.89), and from prompts of other clips (0.15) to the untrained model (0.81). So 0.03 of a score is 3 % of either.

Two-fold cross-fit: `data/how_many.csv` parts the concepts in two halves. What is chosen on one half, by its mean score,
is tested on the other, so each concept tests once: a rule for each method, and a fixed number of steps for each method
and number of clips. A rule's gain is its score minus that of the fixed steps. Rules are offered if the gain's interval
over concepts lies above 0; or above -`MARGIN`, with at least `LEAST_SAVED` of the steps saved.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tmp_utils.findings.words import in_digits
from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.inputs.tables import read_rows
from tmp_utils.metrics.intervals import MIN_UNITS, Interval, mean_over_units

KEYS = ("concept", "method", "n_clips", "seed")
SPANS = {"clap_a": 0.70, "clap_t": 0.66}
HALVES = ("first", "second")
MARGIN, LEAST_SAVED = 0.03, 0.25
FIXED = "steps"
SIGNALS = ("drift", "validation_loss", "clap_a_training")
LOSS_SHARES, CLAP_GAINS = (0.0, 0.01), (0.0, 0.02)
DRIFT_QUANTILES = (0.2, 0.4, 0.6, 0.8)  # of the drifts that occur


def halves() -> dict[str, str]:
    """Return the half, "first" or "second", of each concept of `data/how_many.csv`; ValueError for another word."""
    path = DATA_DIR / "how_many.csv"
    half_of = {row["concept"]: row["half"] for row in read_rows(path, "concept")}
    if unknown := sorted(set(half_of.values()) - set(HALVES)):
        raise ValueError(f"{path}: column half has {unknown}; expected {' or '.join(HALVES)}.")
    return half_of


@dataclass(frozen=True)
class StopRule:
    """When a training ends, and which of its steps is taken.

    Attributes
    ----------
    signal : one of
        "validation_loss": ends at the first look at which it has not fallen by the share `x`, and takes the look before
        (early stopping; Prechelt 1998, https://doi.org/10.1007/3-540-49430-8_3);
        "clap_a_training": the same, where it has not risen by `x`;
        "drift": ends at the first look at which it is `x` or more, which is taken;
        "steps": ends at step `x`, whatever is seen.
    x : threshold.
    """

    signal: str
    x: float

    def ends(self, curve: pd.DataFrame) -> tuple[int, int]:
        """Return the step that is taken, after step 0, and that at which the training ends; else both are the last."""
        if self.signal == FIXED:
            return int(self.x), int(self.x)
        steps, values = curve.index.tolist(), curve[self.signal].tolist()
        for k in range(1, len(steps)):
            if self.signal == "drift":
                if values[k] >= self.x:
                    return steps[k], steps[k]
            elif not self._better(values[k], values[k - 1]):
                return steps[max(k - 1, 1)], steps[k]
        return steps[-1], steps[-1]

    def _better(self, value: float, before: float) -> bool:
        return value < before * (1 - self.x) if self.signal == "validation_loss" else value > before + self.x

    def __str__(self) -> str:
        return {
            FIXED: f"{self.x:.0f} steps",
            "drift": f"drift is {self.x:.3g} or more",
            "validation_loss": f"validation loss has not fallen{f' by {self.x:.0%}' * (self.x > 0)} (on one more clip "
            "than the fixed steps use)",
            "clap_a_training": f"CLAP-A to the training clips has not risen{f' by {self.x:.2f}' * (self.x > 0)}",
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
        lacking = {*SPANS, *SIGNALS} - set(curve.columns[curve.notna().all()])
        if lacking:
            raise ValueError(
                f"{key}: no {sorted(lacking)[0]} at some step. Delete the rows of this training; make it again."
            )
        curves[key] = curve
    return curves


def scores(curve: pd.DataFrame) -> pd.Series:
    """Return the score of each step of a curve."""
    return sum(curve[metric] / span for metric, span in SPANS.items())


def fitted(signals: Sequence[str], curves: Sequence[pd.DataFrame]) -> StopRule:
    """Return the rule of these signals with the greatest mean score on the curves; of equals the first."""
    rules = [rule for signal in signals for rule in _candidates(signal, curves)]
    of_curves = [(curve, scores(curve).to_dict()) for curve in curves]
    return max(rules, key=lambda rule: sum(score[rule.ends(curve)[0]] for curve, score in of_curves))


def _candidates(signal: str, curves: Sequence[pd.DataFrame]) -> list[StopRule]:
    if signal == FIXED:
        return [StopRule(FIXED, step) for step in sorted(set.intersection(*(set(c.index) for c in curves)) - {0})]
    if signal == "drift":
        drifts = np.concatenate([curve.loc[curve.index > 0, "drift"] for curve in curves])
        return [StopRule("drift", float(x)) for x in np.quantile(drifts, DRIFT_QUANTILES)]
    return [StopRule(signal, x) for x in (LOSS_SHARES if signal == "validation_loss" else CLAP_GAINS)]


def _of(curves: Mapping[tuple, pd.DataFrame], method: str, n_clips: int | None = None) -> list[pd.DataFrame]:
    return [curve for key, curve in curves.items() if key[1] == method and n_clips in (None, key[2])]


def whole_curves(table: pd.DataFrame) -> dict[str, dict[tuple, pd.DataFrame]]:
    """Return the curves of each half, of the concepts of `data/how_many.csv` that have every training of the table."""
    curves, half_of = curves_of(table), halves()
    trainings = {key[1:] for key in curves}
    whole = {key[0] for key in curves if all((key[0], *training) in curves for training in trainings)}
    return {
        half: {key: curve for key, curve in curves.items() if key[0] in whole and half_of.get(key[0]) == half}
        for half in HALVES
    }


def cross_fit(parts: Mapping[str, Mapping[tuple, pd.DataFrame]], signals: Sequence[str] = SIGNALS) -> pd.DataFrame:
    """Test on each half of the curves what is chosen on the other.

    Returns
    -------
    concept, method, n_clips, seed, rule and fixed in words, gain, steps and fixed_steps (at which the training ends); a
    row a curve.
    """
    rows = []
    for fit, test in (HALVES, HALVES[::-1]):
        chosen, fixed = {}, {}
        for key, curve in parts[test].items():
            _, method, n_clips, _ = key
            if method not in chosen:
                chosen[method] = fitted(signals, _of(parts[fit], method))
            if (method, n_clips) not in fixed:
                fixed[method, n_clips] = fitted([FIXED], _of(parts[fit], method, n_clips))
            rule, rival, score = chosen[method], fixed[method, n_clips], scores(curve)
            (taken, ended), (step, _) = rule.ends(curve), rival.ends(curve)
            found = {"rule": str(rule), "fixed": str(rival), "gain": score[taken] - score[step]}
            rows.append(dict(zip(KEYS, key, strict=True)) | found | {"steps": ended, "fixed_steps": step})
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class StopVerdict:
    """Rules against fixed numbers of steps: the mean gain over concepts, and the share of all steps that is saved."""

    gain: Interval
    saved: float

    @classmethod
    def of(cls, tested: pd.DataFrame) -> "StopVerdict":
        """From the rows of `cross_fit`."""
        saved = 1 - tested["steps"].sum() / tested["fixed_steps"].sum()
        return cls(mean_over_units(tested, "gain", ["concept"]), float(saved))

    @property
    def offered(self) -> bool:
        """Whether the rules are better than fixed steps, or not worse by `MARGIN` and much shorter."""
        return self.gain.ci_low > 0 or (self.gain.ci_low > -MARGIN and self.saved >= LEAST_SAVED)


def stop_rules(table: pd.DataFrame) -> pd.DataFrame:
    """Return what each signal alone brings to each method, to read beside the verdict, which is on the best signals.

    Returns
    -------
    method, signal, rules (chosen on either half), gain, ci_low, ci_high, steps_saved (share), n (concepts). Empty where
    a half has too few concepts.
    """
    parts, rows = whole_curves(table), []
    if not _enough(parts):
        return pd.DataFrame()
    for signal in SIGNALS:
        for method, tested in cross_fit(parts, [signal]).groupby("method"):
            verdict, rules = StopVerdict.of(tested), " | ".join(dict.fromkeys(tested["rule"]))
            ends = {name: getattr(verdict.gain, name) for name in ("ci_low", "ci_high")}
            row = {"method": method, "signal": signal, "rules": rules, "gain": verdict.gain.value} | ends
            rows.append(row | {"steps_saved": verdict.saved, "n": verdict.gain.n})
    return pd.DataFrame(rows).sort_values("method", kind="stable", ignore_index=True)


def _enough(parts: Mapping[str, Mapping[tuple, pd.DataFrame]]) -> bool:
    return all(len({key[0] for key in curves}) >= MIN_UNITS for curves in parts.values())


def stop_in_words(table: pd.DataFrame) -> str:
    """Say whether rules that anybody can use are better than fixed numbers of steps."""
    parts = whole_curves(table)
    if not _enough(parts):
        n = len({key[0] for curves in parts.values() for key in curves})
        return (
            f"Stop rules need {2 * MIN_UNITS} whole concepts of data/how_many.csv, {MIN_UNITS} of each half; this "
            f"table has {n}."
        )
    verdict = StopVerdict.of(cross_fit(parts))
    gain = verdict.gain
    value, low, high = (in_digits(number, 3) for number in (gain.value, gain.ci_low, gain.ci_high))
    saves = f"save {verdict.saved:.0%} of the" if verdict.saved >= 0 else f"take {-verdict.saved:.0%} more"
    found = "A stop rule is better than" if verdict.offered else "We found no stop rule that is better than"
    return (
        f"{found} a fixed number of steps. On {gain.n} concepts, each with what was best on the other half, "
        f"the rules' score differs from that of fixed steps by {value} [{low}, {high}] (notebook 03 defines it), and "
        f"they {saves} steps. We call rules better if that interval lies above 0, or above −{MARGIN} with "
        f"{LEAST_SAVED:.0%} or more of the steps saved."
    )
