"""What a study found, in sentences: computed from its results table, with what they are of.

Conventions: plain text, which whoever shows it escapes. Numbers in brackets are 95 % intervals. Something is said to
differ only where the verdict on it does; otherwise it is said not to be told apart, and of too few concepts nothing is
said but the numbers.

headline          : how DreamBooth and Textual Inversion compare, and what that is of.
findings_in_words : a line for each claim of the paper, by verdict.
FIGURES           : what one sees in each figure of the notebooks, by notebook.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from tmp_utils.findings.verdicts import MIN_CONCEPTS, NOT_REPRODUCED, REPRODUCED, UNDECIDED, paper_table, verdicts
from tmp_utils.inputs.concepts import are_stand_ins
from tmp_utils.metrics.names import short_name
from tmp_utils.metrics.table import REFERENCE, UNTRAINED, WHOLE_RUN

METHODS = {"DB": "DreamBooth", "TI": "Textual Inversion"}
CLAIMS = ("db_above_ti_audio", "db_above_ti_text")  # of data/paper/findings.csv
ASPECTS = {  # by what the verdict on "DreamBooth's score is the higher one" would be
    "clap_a": {
        REPRODUCED: "comes closer to the concept",
        NOT_REPRODUCED: "stays further from the concept",
        UNDECIDED: "is not told apart in closeness to the concept",
    },
    "clap_t": {
        REPRODUCED: "follows prompts better",
        NOT_REPRODUCED: "follows prompts less well",
        UNDECIDED: "is not told apart in following prompts",
    },
}
MODELS = {
    "pocket": "the pocket model, not the paper's AudioLDM-Medium",
    "smoke": "a smoke test with almost no training, whose numbers mean nothing",
}
AT_ONCE = "and told apart is what stays so when all claims are judged at once"
DECIDES_NOTHING = "One concept decides nothing about the next."
PLANE = "Each point is a setup: further right is closer to the concept, higher up follows prompts better."
FIGURES = {
    "What can be learned (notebook 01)": {
        "two_clips": "Two clips of the concept, frequency over time: what they share is what has to be learned.",
        "mix": "A clip alone and with rain mixed in: the rain fills the gaps between the notes.",
    },
    "Textual Inversion (notebook 02)": {
        "ti_curve": "The loss over training steps, and how far the new word's vector has moved.",
        "ti_before_after": "The same noise, asked for by the class noun and then by the learned word.",
        "ti_clap_a": "How close each setup comes to the concept's own clips; further right is closer.",
        "ti_clap_t": "How well each setup still follows a prompt; further right is better.",
    },
    "DreamBooth (notebook 03)": {
        "db_clap_plane": PLANE,
        "db_learning_path": "While one training goes on: closeness to the concept, and how prompts are still followed.",
    },
    "Style transfer (notebook 04)": {
        "transfer_round_trip": "A source, and what the model's codec alone leaves of it.",
        "transfer_half_way": "A source half way to the concept, and the end of the way, which began as noise alone.",
        "figure4_transfer": "Likeness to the source and to the concept, from none of the transfer to all of it.",
        "transfer_preservation": "How much of the source's melody and rhythm is left at each strength.",
        "transfer_methods": "Three ways to begin a transfer: solid is likeness to the source, dotted to the concept.",
        "transfer_trade_off": "Each way as a path: further right keeps more of the source, higher up gains more.",
    },
    "All runs together (notebook 05)": {
        "metrics_figure_3": PLANE,
        "metrics_memorisation": "Right of the dotted line, clips lie nearer to a training clip than other takes do.",
        "metrics_kad": "How far each setup's clips are, as a set, from the concept's; further left is closer.",
        "metrics_figure_5": "Which share of the clips has the concept's tempo, loudness, key and scale.",
    },
    "Listeners (notebook 06)": {
        "preference": "Which clips were preferred, with intervals; diamonds are the paper's percentages.",
        "agreement": "Each point is a question: in the tinted quadrants listeners and CLAP prefer the same clip.",
        "claims": "The paper's difference between the methods, by how alike one person's answers may be.",
        "power": "The chance that a listening study of so many people shows a true difference.",
    },
}


def headline(results: pd.DataFrame) -> tuple[str, str]:
    """Return in one sentence how DreamBooth compares with Textual Inversion, and what that is of.

    Over three concepts or more it compares the means of each method's five setups (or the baselines, where not all
    were run) by the verdict on the paired difference over concepts. Over fewer it gives the baselines' numbers of one
    concept and seed, and says that they decide nothing. Empty where a method has no scores.

    Parameters
    ----------
    results : pandas.DataFrame
        A results table (`metrics.RESULT_COLUMNS`) of one profile.
    """
    for setups, of_each in (("*", "the mean of five setups"), ("BL", "the baseline")):
        compared = _compared(results, setups)
        if (n := compared["n_concepts"].min()) >= MIN_CONCEPTS:
            over = f"of {of_each} of each method, over {n} concepts, {AT_ONCE}"
            return _sentence([_difference(row) for row in compared.itertuples()]), _of(results, over)
    run = _one_run(results)
    if run is None:
        return "", ""
    over = "of the baseline of each method, over the clips of this concept alone"
    levels = "; ".join(_levels(run, metric) for metric in ASPECTS)
    return f"{METHODS['DB']} against {METHODS['TI']} on this one concept: {levels}. {DECIDES_NOTHING}", _of(run, over)


def _sentence(clauses: list[str]) -> str:
    return f"Compared with {METHODS['TI']}, {METHODS['DB']} {' and '.join(clauses)}."


def _compared(results: pd.DataFrame, setups: str) -> pd.DataFrame:
    """Return the verdicts on DB above TI, of the setups asked for, judged among all claims as in the findings table."""
    claims = paper_table("findings")
    asked = claims["id"].isin(CLAIMS)
    claims.loc[asked, ["a", "b"]] = claims.loc[asked, ["a", "b"]].replace(r"\*", setups, regex=True)
    return verdicts(results, claims).set_index("id").loc[list(CLAIMS)]


def _difference(row) -> str:
    difference = _bracketed(row.difference, row.ci_low, row.ci_high)
    numbers = f"{short_name(row.metric)} {row.ours_a:.2f} against {row.ours_b:.2f}, difference {difference}"
    return f"{ASPECTS[row.metric][row.verdict]} ({numbers})"


def _whole_runs(results: pd.DataFrame) -> pd.DataFrame:
    rows = results[(results["prompt"] == WHOLE_RUN) & (results["status"] == "ok") & results["metric"].isin(ASPECTS)]
    return rows[~rows["method"].isin([REFERENCE, UNTRAINED])]


def _one_run(results: pd.DataFrame) -> pd.DataFrame | None:
    """Return both similarities of both baselines, of the first concept and seed that has them all."""
    rows = _whole_runs(results)
    rows = rows[rows["method"].isin(METHODS) & (rows["setup"] == "BL")]
    runs = (run for _, run in rows.groupby(["concept", "seed"]))
    return next((run for run in runs if len(run) == len(METHODS) * len(ASPECTS)), None)


def _levels(run: pd.DataFrame, metric: str) -> str:
    db, ti = (run[(run["metric"] == metric) & (run["method"] == method)].iloc[0] for method in METHODS)
    sides = [_bracketed(side["value"], side["ci_low"], side["ci_high"]) for side in (db, ti)]
    return f"{short_name(metric)} {sides[0]} against {sides[1]}"


def _of(results: pd.DataFrame, over: str) -> str:
    """Return what numbers are of: model, concepts, seeds, clips, judge and intervals."""
    rows = _whole_runs(results)
    rows = rows[rows["metric"] == "clap_a"]
    names, seeds = sorted(rows["concept"].unique()), sorted(rows["seed"].unique())
    profile, rendered = rows["profile"].iloc[0], are_stand_ins(names)
    concepts = f"{len(names)} {'rendered stand-in ' * rendered}concept{'s' * (len(names) > 1)} ({', '.join(names)})"
    return (
        f"Made with {MODELS.get(profile, f'the profile {profile}')}; {concepts}; seed{'s' * (len(seeds) > 1)} "
        f"{', '.join(map(str, seeds))}; {rows['n'].min():.0f} clips a run for CLAP-A; judged by "
        f"{rows['embedder'].iloc[0]}; in brackets 95 % intervals {over}."
    )


def findings_in_words(judged: pd.DataFrame) -> dict[str, list[str]]:
    """Return a line for each claim, by its verdict; `judged` is of `findings.verdicts`."""
    lines: dict[str, list[str]] = {REPRODUCED: [], NOT_REPRODUCED: [], UNDECIDED: []}
    for row in judged.itertuples():
        lines[row.verdict].append(f"{row.claim}: {_numbers(row)}.")
    return lines


def _numbers(row) -> str:
    paper = f"; the paper has {row.paper_a:.2f} against {row.paper_b:.2f}" if np.isfinite(row.paper_a) else ""
    paper += ", unlike its own text" if row.paper_agrees == "no" else ""
    if not np.isfinite(row.difference):
        return f"{row.note or 'nothing to compare'}{paper}"
    metric = short_name(row.metric)
    rival = ", the rival least in the claim's favour," if row.b.startswith("each ") else ""
    sides = f"{_side(row.a)} {row.ours_a:.2f} against {_side(row.against)}{rival} {row.ours_b:.2f}"
    return f"{metric} of {sides}, difference {_bracketed(row.difference, row.ci_low, row.ci_high)}{paper}"


def _side(side: str) -> str:
    return "the mark" if "/" not in side else side.replace("/*", " (all setups)").replace("/", " ")


def _bracketed(value: float, low: float, high: float) -> str:
    value, low, high = (f"{number + 0.0:.2f}".replace("-", "−") for number in np.round([value, low, high], 2))
    return value if low == "nan" else f"{value} [{low}, {high}]"
