"""Numbers, counts and what they are of, as text.

in_digits, bracketed    : a number, and a number with its interval.
signed, change_in_words : a difference with its interval, and with its verdict.
plural                  : a count.
concepts_in_words       : which concepts.
caption                 : what the numbers of a table are of.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from tmp_utils.inputs.concepts import are_stand_ins
from tmp_utils.metrics.table import whole_runs

SMOKE_WARNING = "a smoke test, whose numbers mean nothing"
DIGITS = 3  # of a difference: two do not tell which side of 0 an end lies on
DASH = "–"  # for a number that there is none of


def in_digits(value: float, digits: int = 2) -> str:
    """Return a number as text, with a minus sign and without a negative zero; a dash for one that is not finite."""
    return f"{np.round(value, digits) + 0.0:.{digits}f}".replace("-", "−") if np.isfinite(value) else DASH


def bracketed(value: float, low: float, high: float, digits: int = 2) -> str:
    """Return a number with its interval; without an interval the number alone."""
    value, low, high = (in_digits(number, digits) for number in (value, low, high))
    return value if low == DASH else f"{value} [{low}, {high}]"


def signed(row: Mapping[str, float], ending: str = "") -> str:
    """Return a difference with its sign, three decimals, and its interval where it has one.

    Parameters
    ----------
    row : difference, ci_low and ci_high, each followed by `ending`.
    """
    numbers = (row[name + ending] for name in ("difference", "ci_low", "ci_high"))
    value, low, high = (f"{number:+.3f}".replace("-", "−") for number in numbers)
    return f"{value} [{low}, {high}]" if np.isfinite(row["ci_low" + ending]) else value


def change_in_words(row: Mapping) -> str:
    """Return the verdict and the numbers of a row of `metrics.equivalence.with_verdicts`."""
    return f"{row['verdict']}, {signed(row)}"


def plural(n: int, noun: str) -> str:
    """Return "1 clip", "2 clips"."""
    return f"{n} {noun}{'s' * (n != 1)}"


def concepts_in_words(names: Iterable[str]) -> str:
    """Return how many concepts these are, or the one, and whether their clips are rendered or recorded."""
    names = list(dict.fromkeys(names))
    rendered = sum(are_stand_ins([name]) for name in names)
    kinds = [plural(rendered, "rendered stand-in"), plural(len(names) - rendered, "recording")]
    if 0 < rendered < len(names):
        return f"{len(names)} concepts ({', '.join(kinds)})"
    kind = kinds[not rendered].split(" ", 1)[1]
    return f"{names[0]} (a {kind})" if len(names) == 1 else f"{len(names)} concepts ({kind})"


def caption(results: pd.DataFrame, profile: str) -> str:
    """Return in one line what the numbers are of: profile, concepts, seeds and clips."""
    rows = whole_runs(results, "clap_a")
    size = f"{concepts_in_words(rows['concept'])}, {plural(rows['seed'].nunique(), 'seed')}"
    warning = f"; {SMOKE_WARNING}" * (profile == "smoke")
    return f"profile “{profile}”: {size}, {rows['n'].min():.0f} clips per run for CLAP-A{warning}"
