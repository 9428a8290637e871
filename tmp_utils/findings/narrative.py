"""The findings in sentences, computed from a results table.

Conventions: plain text, to be escaped by whoever shows it. Numbers in brackets are 95 % intervals. A difference is
stated only where the verdict on it is decided; fewer than three concepts get their numbers and no general statement.
"""

import pandas as pd

from tmp_utils.figures.study import summary
from tmp_utils.findings.beyond import methods_in_words, other_methods, prior_in_words
from tmp_utils.findings.claims import by_origin, claims, embedders_in_words, in_counts
from tmp_utils.findings.comparisons import BASELINE, seeds_in_words
from tmp_utils.findings.gains import METHOD_NAMES, beside_untrained
from tmp_utils.findings.verdicts import (
    ALPHA,
    CONTRADICTED,
    MIN_CONCEPTS,
    NO_DIFFERENCE,
    REPRODUCED,
    UNDECIDED,
    UNIT,
    paper_table,
    verdicts,
)
from tmp_utils.findings.words import DIGITS, bracketed, concepts_in_words, plural
from tmp_utils.metrics.intervals import Interval, holm, paired_difference
from tmp_utils.metrics.names import SIMILARITIES, short_name
from tmp_utils.metrics.table import CODEC, whole_runs

CLAIMS = ("db_above_ti_audio", "db_above_ti_text")  # of data/paper/findings.csv
ASPECTS = {  # by the verdict on "DreamBooth's score is the higher one"
    "clap_a": {
        REPRODUCED: "DreamBooth comes closer to the concept than Textual Inversion",
        CONTRADICTED: "Textual Inversion comes closer to the concept than DreamBooth",
        NO_DIFFERENCE: "DreamBooth and Textual Inversion come equally close to the concept, within the margin",
        UNDECIDED: "we cannot tell whether DreamBooth or Textual Inversion comes closer to the concept",
    },
    "clap_t": {
        REPRODUCED: "DreamBooth follows prompts better than Textual Inversion",
        CONTRADICTED: "Textual Inversion follows prompts better than DreamBooth",
        NO_DIFFERENCE: "the two follow prompts equally well, within the margin",
        UNDECIDED: "we cannot tell which of the two follows prompts better",
    },
}
SMOKE = "smoke"
MODELS = {"pocket": "the pocket model", SMOKE: "the pocket model with almost no training"}
ONE_CONCEPT = "Results for one concept say nothing about the next one."


def answer(results: pd.DataFrame) -> str:
    """Return in one sentence whether the model learned the sound; empty without an untrained reference or a baseline.

    The answer is yes where some method's baseline has a higher CLAP-A than the untrained model: over three concepts or
    more by the paired difference (corrected for two methods), over fewer where each run's interval lies above that of
    its untrained reference. Failed rows take no part.

    Parameters
    ----------
    results : a results table (`metrics.RESULT_COLUMNS`) of one profile.
    """
    clap_a = whole_runs(results, "clap_a", references=True)
    untrained, sides = beside_untrained(clap_a)
    if not sides:
        return ""
    ceiling = whole_runs(results, "ceiling_a", references=True).merge(untrained[UNIT], on=UNIT)
    codec = clap_a[clap_a["setup"] == CODEC].merge(untrained[UNIT], on=UNIT)
    levels = " and ".join(f"{_level(side)} with {name}" for name, side in sides.items())
    of_clips = {"among themselves": ceiling, "after the model's codec": codec}
    reached = [f"{_level(rows)} {where}" for where, rows in of_clips.items() if len(rows)]
    among = f"; the concept's own clips reach {' and '.join(reached)}" if reached else ""
    profile = untrained["profile"].iloc[0]
    model = MODELS.get(profile, f"the model of the profile {profile}")
    alone = "" if profile == SMOKE else ", where the concept plays by itself"
    return (
        f"{_yes_or_no(untrained, list(sides.values()))}{alone}: asked for “a recording of” it, {model} makes clips "
        f"with a similarity to the concept (CLAP-A) of {_level(untrained)} untrained, {levels}{among}."
    )


def _yes_or_no(untrained: pd.DataFrame, sides: list[pd.DataFrame]) -> str:
    names = untrained["concept"].unique()
    if untrained["profile"].iloc[0] == SMOKE:
        return f"A smoke test of {concepts_in_words(names)} cannot answer this"
    if len(names) >= MIN_CONCEPTS:
        decided = [difference.value > 0 for difference, p in _differences(untrained, sides) if p < ALPHA]
    else:
        pairs = [side.merge(untrained, on=UNIT, suffixes=("", "_before")) for side in sides]
        decided = [True for pair in pairs if (pair["ci_low"] > pair["ci_high_before"]).all()]
        decided += [False for pair in pairs if (pair["ci_high"] < pair["ci_low_before"]).all()]
    few = " alone" if len(names) < MIN_CONCEPTS else ""
    if not decided:
        return f"We cannot tell from {concepts_in_words(names)}"
    return f"{'Yes' if any(decided) else 'No'}, for {concepts_in_words(names)}{few}"


def _differences(untrained: pd.DataFrame, sides: list[pd.DataFrame]) -> list[tuple[Interval, float]]:
    """Return each side minus the untrained model, paired over concepts, and its p-value, corrected for all sides."""
    differences = [paired_difference(side, untrained, on=UNIT, levels=UNIT[:1]) for side in sides]
    return list(zip(differences, holm([difference.p_value for difference in differences]), strict=True))


def _level(rows: pd.DataFrame) -> str:
    """Return the mean over concepts with its interval; of one run its own."""
    row = summary(rows.assign(method="", metric="clap_a"), "clap_a").iloc[0]
    return bracketed(row["value"], row["ci_low"], row["ci_high"])


def comparisons(results: pd.DataFrame) -> list[str]:
    """Return sentences on how DreamBooth compares with Textual Inversion; none where one of them has no scores.

    Over three concepts or more it compares the means of each method's five setups, and the baselines where more
    concepts have them, by the verdict on the paired difference over concepts. Over fewer it gives the baselines'
    numbers of one concept and seed.
    """
    most, sentences = MIN_CONCEPTS - 1, []
    for setups, compared in (("*", "The means of five setups each"), ("BL", "The baselines")):
        judged = _judged(results, setups)
        if (n := judged["n_concepts"].min()) > most:
            sentences.append(f"{compared}, over {n} concepts: {'; '.join(map(_difference, judged.itertuples()))}.")
            most = n
    run = None if sentences else _one_run(results)
    if run is None:
        return sentences
    levels = "; ".join(_levels(run, metric) for metric in SIMILARITIES)
    db, ti = METHOD_NAMES.values()
    return [f"{db} against {ti}, baselines on this one concept: {levels}. {ONE_CONCEPT}"]


def _judged(results: pd.DataFrame, setups: str) -> pd.DataFrame:
    """Return the verdicts on DB above TI for these setups, corrected for all claims as in the findings table."""
    claims = paper_table("findings")
    chosen = claims["id"].isin(CLAIMS)
    claims.loc[chosen, ["a", "b"]] = claims.loc[chosen, ["a", "b"]].replace(r"\*", setups, regex=True)
    return verdicts(results, claims).set_index("id").loc[list(CLAIMS)]


def _difference(row) -> str:
    difference = bracketed(row.difference, row.ci_low, row.ci_high, DIGITS)
    numbers = f"{short_name(row.metric)} {row.ours_a:.2f} against {row.ours_b:.2f}, difference {difference}"
    if row.verdict == UNDECIDED and not row.ci_low <= 0 <= row.ci_high:
        numbers += f", p = {row.p_holm:.2g} after correction for all claims"
    return f"{ASPECTS[row.metric][row.verdict]} ({numbers})"


def _one_run(results: pd.DataFrame) -> pd.DataFrame | None:
    """Return both similarities of both baselines, of the first concept and seed that has them all."""
    rows = whole_runs(results, *SIMILARITIES)
    rows = rows[rows["method"].isin(METHOD_NAMES) & (rows["setup"] == BASELINE)]
    runs = (run for _, run in rows.groupby(UNIT))
    return next((run for run in runs if len(run) == len(METHOD_NAMES) * len(SIMILARITIES)), None)


def _levels(run: pd.DataFrame, metric: str) -> str:
    db, ti = (run[(run["metric"] == metric) & (run["method"] == method)].iloc[0] for method in METHOD_NAMES)
    sides = [bracketed(side["value"], side["ci_low"], side["ci_high"]) for side in (db, ti)]
    return f"{short_name(metric)} {sides[0]} against {sides[1]}"


def conditions(results: pd.DataFrame) -> str:
    """Return what the numbers are of: model, concepts, seeds, clips, embedder and intervals; empty without scores."""
    rows = whole_runs(results, "clap_a")
    if rows.empty:
        return ""
    names, seeds = sorted(rows["concept"].unique()), sorted(map(str, rows["seed"].unique()))
    profile = rows["profile"].iloc[0]
    model = MODELS.get(profile, f"the profile {profile}") + ", not the paper's AudioLDM-Medium" * (profile in MODELS)
    parts = [
        f"Made with {model}",
        concepts_in_words(names) + f": {', '.join(names)}" * (len(names) > 1),
        f"seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}",
        f"{plural(int(rows['n'].min()), 'clip')} per run for CLAP-A",
        f"scored by {rows['embedder'].iloc[0]}",
    ]
    units = "concepts" if len(names) > 1 else "the clips of this concept"
    return (
        f"{'; '.join(parts)}. Brackets are 95 % intervals over {units}. Claims of the paper are decided after "
        "correction for all of them, the answer for two methods, and what learning changes for all rows of its table."
    )


def in_short(results: pd.DataFrame, second_seed: pd.DataFrame | None = None) -> list[str]:
    """Return lines on both methods, kinds of concepts, seeds, prior preservation, other methods, copies and claims.

    `answer` and `gains.gains` stand before them, `claims.with_numbers` has the claims one by one.

    Parameters
    ----------
    second_seed : runs of the baselines with another seed, of some of the concepts, for a line on seeds.
    """
    judged, lines = verdicts(results), [*comparisons(results), _apart(results)]
    if second_seed is not None:
        lines.append(seeds_in_words(pd.concat([results, second_seed], ignore_index=True)))
    lines += [prior_in_words(results), methods_in_words(other_methods(results)), _copies(results)]
    counts = f"Of {len(claims(judged))} claims of the paper: {in_counts(judged)}."
    lines.append(f"{counts} {embedders_in_words(judged)}".strip())
    return list(filter(None, lines))


def _apart(results: pd.DataFrame) -> str:
    """Return DreamBooth minus Textual Inversion in both similarities on recordings alone and on stand-ins alone."""
    texts = []
    for origin, table in by_origin(results).items():
        judged = verdicts(table)
        rows = judged.set_index("id").loc[list(CLAIMS)]
        if rows["n_concepts"].min() < MIN_CONCEPTS:
            return ""
        parts = [
            f"{short_name(row.metric)} {bracketed(row.difference, row.ci_low, row.ci_high, DIGITS)} ({row.verdict})"
            for row in rows.itertuples()
        ]
        counts = f"claims: {in_counts(judged)}"
        texts.append(f"on the {rows['n_concepts'].min()} {origin} {', '.join(parts)}; {counts}")
    db, ti = METHOD_NAMES.values()
    return f"{db} minus {ti}, judged apart: {'. And '.join(texts)}." if texts else ""


def _copies(results: pd.DataFrame) -> str:
    rows = whole_runs(results, "copied")
    called = round((rows["value"] * rows["n"]).sum())
    return f"Our copy test calls {called} of {rows['n'].sum():,} clips copies of a training clip." if len(rows) else ""
