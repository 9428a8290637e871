"""The answers of a listening study: the paper's Table 2 with intervals, and how far CLAP agrees.

Conventions: a table of answers has one row an answer (`Answer`). A share is a fraction of
answers in [0, 1]. Wilson intervals (Wilson 1927) treat answers as independent; the clustered bootstrap draws
participants with all their answers, because one person's answers resemble each other. Every result carries `source`,
so that nobody takes a simulated rater for people.

read_answers     : CSV of answers -> table, checked.
exclude          : participants who failed or did not reach the catch trials, reported.
preference_table : Table 2 with both intervals.
sign_test        : whether one variant wins more decided answers than the other.
pair_scores      : CLAP-A or CLAP-T of both clips of each question.
agreement        : how far CLAP and people prefer the same clip.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, BeforeValidator, Field, ValidationInfo, field_validator

from tmp_utils.inputs.tables import NotNegative, read_rows, validate
from tmp_utils.metrics.intervals import LEVEL, wilson
from tmp_utils.metrics.names import key_of, short_name
from tmp_utils.survey.questions import CHOICES, CORRECT, KINDS, Questionnaire

N_RESAMPLES = 2000
ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)  # quantiles of an interval
UNDECIDED = ("None", "Cannot decide")
SIMULATED = "simulated rater"
Text = Annotated[str, Field(min_length=1)]
Number = Annotated[NotNegative | None, BeforeValidator(lambda text: None if text == "" else text)]


class Answer(BaseModel, extra="allow", str_strip_whitespace=True):
    """A row of a table of answers, as far as the analysis needs it; `store.COLUMNS` has them all."""

    participant: Text
    question: Text
    kind: Literal[KINDS]
    catch: bool
    first: Text
    second: Text
    side_a: Text
    side_b: Text
    choice: Literal[CHOICES]
    source: Text
    position: Number = None
    heard_reference_s: Number = None
    heard_a_s: Number = None
    heard_b_s: Number = None
    elapsed_s: Number = None

    @field_validator("side_b")
    @classmethod
    def _sides(cls, side_b: str, info: ValidationInfo) -> str:
        sides = [info.data.get(name) for name in ("first", "second", "side_a")]
        if None not in sides and {sides[2], side_b} != {*sides[:2]}:
            raise ValueError("expected side_a and side_b to be first and second, in either order")
        return side_b


def read_answers(path: str | Path) -> pd.DataFrame:
    """Read answers from a CSV, as `Store.export` writes it.

    Returns
    -------
    One row an answer: the fields of `Answer`, the CSV's other columns, and `preferred`: a variant, "None" or "Cannot
    decide".

    Raises
    ------
    FileNotFoundError : there is no such file.
    ValueError : it is not such a table: a field is missing or has a value that is not allowed, or a participant
        answers a question twice.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file. Export answers with `python -m tmp_utils survey --export answers.csv`."
        )
    rows = read_rows(path, ("participant", "question"))
    if not rows:
        raise ValueError(f"{path}: no answers in it. Wait for some, or look at the example answers.")
    rows = [validate(Answer, row, f"{path.name}, row {line}").model_dump() for line, row in enumerate(rows, 2)]
    table = pd.DataFrame(rows)
    numbers = [name for name in table.columns if name.endswith("_s") or name == "position"]
    return with_preferred(table.astype(dict.fromkeys(numbers, float)))


def with_preferred(answers: pd.DataFrame) -> pd.DataFrame:
    """Return answers with `preferred`: the variant behind the chosen side, "None" or "Cannot decide"."""
    sides = np.select([answers["choice"] == "A", answers["choice"] == "B"], [answers["side_a"], answers["side_b"]])
    return answers.assign(preferred=np.where(answers["choice"].isin(UNDECIDED), answers["choice"], sides))


def source_of(answers: pd.DataFrame) -> str:
    """The sources of answers, such as "web", or "simulated rater, web" for a mixture."""
    return ", ".join(sorted(set(answers["source"]))) or "none"


def exclude(answers: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Leave out participants who failed a catch trial, or stopped before the last.

    Returns
    -------
    The other participants' answers without catch trials; and a report, one row a participant: participant,
    answers, catch_trials, failed, excluded, reason.
    """
    n_catch = answers.loc[answers["catch"], "question"].nunique()
    rows = []
    for participant, part in answers.groupby("participant", sort=True):
        catch = part[part["catch"]]
        failed = int((catch["preferred"] != CORRECT).sum())
        reason = f"failed {failed} of {len(catch)} catch trials" if failed else ""
        reason = reason or ("stopped before the last catch trial" if len(catch) < n_catch else "")
        rows.append([participant, len(part) - len(catch), len(catch), failed, bool(reason), reason])
    names = ["participant", "answers", "catch_trials", "failed", "excluded", "reason"]
    report = pd.DataFrame(rows, columns=names)
    careful = report.loc[~report["excluded"], "participant"]
    return answers[answers["participant"].isin(careful) & ~answers["catch"]], report


def preference_table(answers: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The paper's Table 2: shares of each variant, None and Cannot decide, of either kind of question.

    Returns
    -------
    One row a kind and outcome: kind, outcome, share, count, n, participants, wilson_low, wilson_high, ci_low,
    ci_high (bootstrap over participants), source. Of more than two variants, a variant's n is the answers to
    questions that showed it.
    """
    answers = answers[~answers["catch"]]
    variants = list(dict.fromkeys([*answers["first"], *answers["second"]]))
    rows = []
    for kind, part in answers.groupby("kind", sort=False):
        for outcome in (*variants, *UNDECIDED):
            shown = part[(part["first"] == outcome) | (part["second"] == outcome) | (outcome in UNDECIDED)]
            chosen = (shown["preferred"] == outcome).astype(float)
            share = chosen.mean() if len(chosen) else float("nan")
            low, high = clustered_interval(chosen, shown["participant"], seed)
            ends = [*wilson(chosen.sum(), len(shown)), low, high]
            counts = [int(chosen.sum()), len(shown), shown["participant"].nunique()]
            rows.append([kind, outcome, share, *counts, *ends, source_of(answers)])
    ends = ["wilson_low", "wilson_high", "ci_low", "ci_high"]
    names = ["kind", "outcome", "share", "count", "n", "participants", *ends, "source"]
    table = pd.DataFrame(rows, columns=names)
    return table.sort_values("kind", key=lambda kinds: kinds.map(KINDS.index), kind="stable", ignore_index=True)


def clustered_interval(values: pd.Series, clusters: pd.Series, seed: int = 0) -> tuple[float, float]:
    """Bootstrap interval of a share by drawing whole clusters; (nan, nan) with fewer than two clusters.

    Widened by sqrt(n / (n - 1)) about the mean, as in `tmp_utils.metrics.intervals`, and kept within the values'
    own range. Where all are 0 or all are 1 every resample is the same and would claim certainty; there it is
    Wilson's interval with each cluster as one answer.
    """
    sums = values.groupby(clusters.to_numpy(), sort=True).agg(["sum", "count"])
    n = len(sums)
    if n < 2:
        return float("nan"), float("nan")
    if values.nunique() == 1 and values.iloc[0] in (0, 1):
        return wilson(n * values.iloc[0], n)
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=N_RESAMPLES)
    means = (drawn @ sums["sum"].to_numpy()) / (drawn @ sums["count"].to_numpy())
    means = values.mean() + (means - values.mean()) * np.sqrt(n / (n - 1))
    low, high = np.quantile(means, ENDS)
    return float(max(low, values.min())), float(min(high, values.max()))


def decided(answers: pd.DataFrame) -> pd.DataFrame:
    """The answers that prefer a clip, without catch trials, with `won`: 1 if it is the first variant's."""
    wins = answers[~answers["catch"] & ~answers["preferred"].isin(UNDECIDED)]
    return wins.assign(won=(wins["preferred"] == wins["first"]).astype(int))


def sign_test(answers: pd.DataFrame) -> pd.DataFrame:
    """Exact sign tests of first against second, by answers and, which is safe, by participants.

    Returns
    -------
    One row a kind, pair of variants and unit: kind, first, second, unit, wins_first, wins_second, p_value
    (two-sided; nan where nothing was decided), source. A participant wins for the variant they prefer more
    often; ties do not count.
    """
    from scipy.stats import binomtest

    rows = []
    for names, part in answers[~answers["catch"]].groupby(["kind", "first", "second"], sort=False):
        won = decided(part)["won"]
        net = np.sign((2 * won - 1).groupby(decided(part)["participant"]).sum())
        for unit, wins in (("answers", won == 1), ("participants", net[net != 0] > 0)):
            first, n = int(wins.sum()), len(wins)
            p_value = binomtest(first, n).pvalue if n else float("nan")
            rows.append([*names, unit, first, n - first, p_value, source_of(part)])
    names = ["kind", "first", "second", "unit", "wins_first", "wins_second", "p_value", "source"]
    return pd.DataFrame(rows, columns=names)


def pair_scores(questionnaire: Questionnaire, embedder, concepts: dict | None = None) -> pd.DataFrame:
    """CLAP-A (reconstruction, to the concept's clips) or CLAP-T (editability, to the prompt) of both clips.

    Measured on the clips as participants hear them.

    Returns
    -------
    One row a question: question, metric, score_first, score_second, embedder.
    """
    from tmp_utils.inputs.audio import load_clip
    from tmp_utils.inputs.concepts import load_clips, load_concept

    rows = []
    for question in (question for question in questionnaire.questions if not question.catch):
        sides = [load_clip(questionnaire.clip(question.files[role])) for role in ("first", "second")]
        if question.kind == "reconstruction":
            concept = (concepts or {}).get(question.concept) or load_concept(question.concept)
            target, metric = embedder.embed_clips(load_clips(concept)), "clap_a"
        else:
            target, metric = embedder.embed_prompts([question.prompt]), "clap_t"
        scores = (np.asarray(embedder.embed_clips(sides)) @ np.asarray(target).T).mean(axis=1)
        name = short_name(key_of(metric, embedder.name))
        rows.append([question.id, name, *map(float, scores), embedder.name])
    return pd.DataFrame(rows, columns=["question", "metric", "score_first", "score_second", "embedder"])


def agreement(answers: pd.DataFrame, scores: pd.DataFrame, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How often people's majority and a metric prefer the same clip, and how their strengths go together.

    Returns
    -------
    A summary, one row a metric: metric, agree (share of questions), n, wilson_low, wilson_high, spearman,
    spearman_low, spearman_high (bootstrap over questions), source; and one row a question: question, metric,
    share_first (of decided answers), score_difference (first minus second), source. Questions that nobody
    decided, or that people or the metric leave at a tie, do not count as agreeing or not.
    """
    people = decided(answers).groupby("question")["won"].mean().rename("share_first")
    pairs = scores.merge(people, left_on="question", right_index=True)
    pairs["score_difference"] = pairs["score_first"] - pairs["score_second"]
    pairs["source"] = source_of(answers)
    rows = []
    for metric, part in pairs.groupby("metric", sort=True):
        sided = part[(part["share_first"] != 0.5) & (part["score_difference"] != 0)]
        same = (sided["share_first"] > 0.5) == (sided["score_difference"] > 0)
        share = same.mean() if len(same) else float("nan")
        ranks = _spearman_interval(part[["share_first", "score_difference"]].to_numpy(), seed)
        rows.append([metric, share, len(same), *wilson(same.sum(), len(same)), *ranks, source_of(answers)])
    ends = ["wilson_low", "wilson_high", "spearman", "spearman_low", "spearman_high"]
    columns = ["question", "metric", "share_first", "score_difference", "source"]
    return pd.DataFrame(rows, columns=["metric", "agree", "n", *ends, "source"]), pairs[columns]


def _spearman_interval(pairs: np.ndarray, seed: int) -> Iterable[float]:
    """Spearman's rank correlation of (n, 2) with a bootstrap interval over rows; nan where undefined."""

    def spearman(rows: np.ndarray) -> float:
        ranks = pd.DataFrame(rows).rank()
        return float("nan") if (ranks.nunique() < 2).any() else float(np.corrcoef(ranks.T)[0, 1])

    if len(pairs) < 3:
        return spearman(pairs), float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    drawn = [spearman(pairs[rng.integers(0, len(pairs), len(pairs))]) for _ in range(N_RESAMPLES // 4)]
    return spearman(pairs), *(np.nanquantile(drawn, ENDS) if np.isfinite(drawn).any() else (np.nan, np.nan))
