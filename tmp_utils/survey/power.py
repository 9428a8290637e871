"""How many participants a difference needs, and what published percentages can claim.

Conventions: shares are fractions in [0, 1] of all answers, undecided ones included. Answers of one participant
resemble each other by an intraclass correlation `icc`; n answers in groups of m are worth n / (1 + (m - 1)
icc) independent ones (the design effect, Kish 1965). Tests are two-sided sign tests on decided answers, in
the normal approximation.

effective_n         : how many independent answers a study is worth.
power               : the chance that a study shows a difference.
participants_needed : how many participants a difference needs.
power_table         : power over a range of participants and differences, for a figure.
participant_icc     : the intraclass correlation of answers.
shown_by_shares     : what the paper's percentages can claim, with its number of people and questions.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tmp_utils.metrics.intervals import wilson
from tmp_utils.survey.analysis import ENDS, decided

POWER = 0.8
PAPER_PARTICIPANTS, PAPER_QUESTIONS = 34, 10  # section 4: 34 users; half of 20 questions are of one kind
ICCS = (0.0, 0.05, 0.1, 0.2)  # the paper states none, so claims are shown over a range


def effective_n(participants: float, questions: int, icc: float) -> float:
    """How many independent answers `participants` x `questions` are worth.

    Raises
    ------
    ValueError : icc is outside [0, 1], or there are no participants or no questions.
    """
    if not 0 <= icc <= 1 or participants <= 0 or questions < 1:
        raise ValueError(
            f"participants={participants}, questions={questions}, icc={icc}: expected at least one participant and one "
            "question, and icc from 0 to 1."
        )
    return participants * questions / (1 + (questions - 1) * icc)


def power(first: float, second: float, participants: float, questions: int, icc: float = 0.1) -> float:
    """The chance that a study shows a true difference between shares `first` and `second`."""
    from scipy.stats import norm

    n, share = effective_n(participants, questions, icc) * (first + second), _won(first, second)
    spread = np.sqrt(share * (1 - share))
    z = norm.ppf(ENDS[1])
    if spread == 0:
        return float(np.sqrt(n) > z)
    ends = [(side * (share - 0.5) * np.sqrt(n) - z / 2) / spread for side in (1, -1)]
    return float(norm.cdf(ends[0]) + norm.cdf(ends[1]))


def participants_needed(first: float, second: float, questions: int, icc: float = 0.1) -> int:
    """The smallest number of participants whose study shows the difference with chance `POWER`.

    Raises
    ------
    ValueError : the shares are equal, so that no number is enough.
    """
    if first == second:
        raise ValueError(f"both shares are {first}: there is no difference to show.")
    high = 1
    while power(first, second, high, questions, icc) < POWER:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        enough = power(first, second, middle, questions, icc) >= POWER
        low, high = (low, middle) if enough else (middle, high)
    return high


def _won(first: float, second: float) -> float:
    if min(first, second) < 0 or not 0 < first + second <= 1 + 1e-9:
        raise ValueError(
            f"shares {first} and {second}: expected fractions from 0 up whose sum is over 0 and at most 1. "
            "Divide percentages by 100."
        )
    return first / (first + second)


def power_table(
    participants: Sequence[int],
    differences: Sequence[float] = (0.05, 0.1, 0.2, 0.3),
    questions: int = PAPER_QUESTIONS,
    icc: float = 0.1,
    undecided: float = 0.2,
) -> pd.DataFrame:
    """Power over numbers of participants, for differences of share at a given share of undecided answers.

    Returns
    -------
    One row a number and difference: participants, difference, power, questions, icc, undecided.
    """
    both = 1 - undecided
    rows = [
        [n, d, power((both + d) / 2, (both - d) / 2, n, questions, icc), questions, icc, undecided]
        for d in differences
        for n in participants
    ]
    return pd.DataFrame(rows, columns=["participants", "difference", "power", "questions", "icc", "undecided"])


def participant_icc(answers: pd.DataFrame) -> float:
    """Intraclass correlation of decided answers within participants and kinds, by analysis of variance.

    At least 0; nan with fewer than two participants who decided, or no more answers than participants.
    """
    wins = decided(answers)
    wins = wins.assign(won=wins["won"] - wins.groupby("kind")["won"].transform("mean"))
    sizes = wins.groupby("participant")["won"].agg(["mean", "count"])
    k, n = len(sizes), len(wins)
    if k < 2 or n <= k:
        return float("nan")
    between = (sizes["count"] * (sizes["mean"] - wins["won"].mean()) ** 2).sum() / (k - 1)
    within = ((wins["won"] - wins.groupby("participant")["won"].transform("mean")) ** 2).sum() / (n - k)
    size = (n - (sizes["count"] ** 2).sum() / n) / (k - 1)
    total = between + (size - 1) * within
    return float(max(0.0, (between - within) / total)) if total > 0 else 0.0


def shown_by_shares(table: pd.DataFrame) -> pd.DataFrame:
    """What shares of the paper's participants can claim, by how much one participant's answers resemble each other.

    Parameters
    ----------
    table : one row a kind: kind, first, second (shares).

    Returns
    -------
    One row a kind and icc: kind, icc, effective_n, first, first_low, first_high, second, second_low,
    second_high (Wilson), difference, ci_low, ci_high (of the difference of two shares of the same answers),
    p_value (sign test on the decided), shown (whether the interval excludes 0), participants_for_80.
    """
    from scipy.stats import norm

    z, rows, questions = norm.ppf(ENDS[1]), [], PAPER_QUESTIONS
    for kind, first, second in table[["kind", "first", "second"]].itertuples(index=False):
        for icc in ICCS:
            n, share = effective_n(PAPER_PARTICIPANTS, questions, icc), _won(first, second)
            ends = [wilson(part * n, n) for part in (first, second)]
            difference = first - second
            half = z * np.sqrt((first + second - difference**2) / n)
            p_value = 2 * norm.sf(abs(share - 0.5) * 2 * np.sqrt(n * (first + second)))
            shown = bool(abs(difference) > half)
            needed = participants_needed(first, second, questions, icc) if difference else None
            row = [kind, icc, n, first, *ends[0], second, *ends[1], difference]
            rows.append([*row, difference - half, difference + half, p_value, shown, needed])
    sides = ["first", "first_low", "first_high", "second", "second_low", "second_high"]
    last = ["difference", "ci_low", "ci_high", "p_value", "shown", "participants_for_80"]
    return pd.DataFrame(rows, columns=["kind", "icc", "effective_n", *sides, *last])
