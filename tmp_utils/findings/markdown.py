"""The README's tables and lists as Markdown, made from tables of results.

Conventions: text is wrapped at `LINE_CHARS`; cells of numbers stand to the right.

answer_block            : the answer, and what learning changes.
setups_table, about     : Table 1 beside the paper's, and what the numbers are of.
claims_table            : the paper's claims, each with its verdict and numbers.
mixtures_block          : words learned from mixtures.
how_many_block          : more clips, more steps, and when to stop.
in_markdown, listed     : a table of text, and sentences as a list.
commits_in_words        : commits, each shortened.
"""

import textwrap
from collections.abc import Sequence
from functools import partial

import pandas as pd
from pandas.api.types import is_numeric_dtype

from tmp_utils.figures.look import setup_label, setups_in_order
from tmp_utils.findings import mixtures, narrative
from tmp_utils.findings.claims import claims, in_counts, with_numbers
from tmp_utils.findings.clip_counts import COMPARED, count_comparisons, counts_table, steps_in_words
from tmp_utils.findings.comparisons import comparable, has_values, setup_cells
from tmp_utils.findings.gains import gains
from tmp_utils.findings.published import AND
from tmp_utils.findings.stopping import stop_in_words
from tmp_utils.findings.verdicts import CONTRADICTED, NO_DIFFERENCE, REPRODUCED, UNDECIDED, verdicts
from tmp_utils.findings.words import DASH, plural
from tmp_utils.metrics.names import short_name, with_arrow

COLUMNS, DIGITS_OF_MEANS = ("clap_a", "clap_t", "fad"), 2
OF_MIXTURES = {
    "closeness": "closeness ↑",
    "leakage": "leakage ↓",
    "difference": "closeness − leakage ↑",
    "both": "both ↑",
}
COMMIT_CHARS, LINE_CHARS = 10, 120
NUMBER = r"[+−]?[\d.]+( \[.*)?$"  # a cell that stands to the right: a number, with or without an interval
WRAP = partial(textwrap.wrap, width=LINE_CHARS, break_on_hyphens=False)


def answer_block(results: pd.DataFrame) -> str:
    """Return the answer to the study's question, and the table of what learning changes."""
    answer, changes = narrative.answer(results), gains(results)
    told = "\n".join(WRAP(f"**{answer}**")) if answer else ""
    return "\n\n".join(filter(None, [told, in_markdown(changes) if len(changes) else ""]))


def setups_table(results: pd.DataFrame) -> str:
    """Return one row for each setup: our means with 95 % intervals, and the paper's numbers.

    Raises
    ------
    ValueError : no setup has a CLAP-A.
    """
    if not has_values(results, "clap_a"):
        raise ValueError("no setup has a clap_a in this table; run `make study` first.")
    cells = setup_cells(results, DIGITS_OF_MEANS)
    cells = cells[cells["clap_a"] != DASH].set_index(["method", "setup"])
    cells = cells.loc[setups_in_order(cells.index)]
    shown = pd.DataFrame({"Setup": [setup_label(*setup) for setup in cells.index]})
    for metric in COLUMNS:
        shown[with_arrow(metric)] = cells[metric].array
        shown[f"paper's {short_name(metric)}"] = cells[f"{metric}_paper"].array
    head = "The paper used another CLAP model and other clips: compare the order of setups, not the values."
    return f"{head}\n\n{in_markdown(shown)}"


def about(results: pd.DataFrame, facts: dict[str, str]) -> str:
    """Return the line under the table: profile, concepts, seeds, clips, commit and command."""
    rows = results[(results["metric"] == "clap_a") & (results["status"] == "ok")]
    rows = rows[~rows["method"].isin(["reference", "untrained"])]
    profile = ", ".join(sorted(results["profile"].unique()))
    common = comparable(rows)["concept"].nunique()
    size = [(common, "concept"), (rows["seed"].nunique(), "seed"), (int(rows["n"].min()), "clip")]
    counts = [plural(n, word) for n, word in size]
    if (n := rows["concept"].nunique()) > common:
        counts[0] = f"{common} of {n} concepts, those that have all of the paper's setups"
    made, command = commits_in_words(facts["commit"]), facts.get("command", "")
    if command:
        made += "; the table's first lines have the commands" if AND in command else f", `{command}`"
    failed = int((results["status"] == "failed").sum())
    left_out = f"; {failed} failed rows left out" if failed else ""
    return f"*Profile {profile}: {counts[0]}, {counts[1]}, {counts[2]} per run for CLAP-A{left_out}; {made}*"


def claims_table(results: pd.DataFrame) -> str:
    """Return the paper's claims with verdict and numbers; those that are neither reproduced nor contradicted folded."""
    judged = verdicts(results).set_index("id", drop=False)
    whole = claims(judged)
    decided = whole["verdict"].isin([REPRODUCED, CONTRADICTED])
    first, rest = (
        in_markdown(with_numbers(judged.loc[[part for parts in of["parts"] for part in parts]])) if len(of) else ""
        for of in (whole[decided], whole[~decided])
    )
    head = "The paper's claims; a difference is the first number minus the second:"
    counts = f"{(~decided).sum()} more claims: {in_counts(judged, [NO_DIFFERENCE, UNDECIDED])}"
    folded = f"<details><summary>{counts}</summary>\n\n{rest}\n\n</details>" if rest else ""
    return "\n\n".join(filter(None, [head, first, folded]))


def mixtures_block(table: pd.DataFrame) -> str:
    """Return the means of the words learned from mixtures, what made them, and the comparisons that are decided."""
    means = mixtures.means_in_words(table, list(OF_MIXTURES))
    second = mixtures.means_in_words(table, ["difference"], second=True).rename(columns={"difference": "second"})
    means = means.merge(second, on="words", how="left").fillna(DASH)
    means.columns = ["words", *OF_MIXTURES.values(), "the same, MusiCNN ↑"]
    size = f"{plural(table['mixture'].nunique(), 'mixture')}, {plural(table['seed'].nunique(), 'seed')}"
    lines = [
        in_markdown(means),
        "",
        f"*Profile {table.attrs['profile']}: {size}; {commits_in_words(table.attrs['commit'])}.*",
        "",
    ]
    judged = mixtures.mixture_verdicts(table)
    undecided = judged["verdict"] == UNDECIDED
    sentences = mixtures.in_words(judged[~undecided])
    sentences.append(f"Undecided: {undecided.sum()} of {plural(len(judged), 'comparison')}; notebook 07 lists them.")
    return "\n".join([*lines, listed(sentences)])


def how_many_block(table: pd.DataFrame, profile: str, results: pd.DataFrame) -> str:
    """Return what more clips bring, also in the table of results, whether a stop rule is offered, and what made it."""
    counts = counts_table(count_comparisons(table), results)
    told = in_markdown(counts) if len(counts) else f"No method was trained on both numbers of clips of: {COMPARED}."
    sentences = [*steps_in_words(table).splitlines(), stop_in_words(table)]
    size = f"{plural(table['concept'].nunique(), 'concept')}, {plural(table['seed'].nunique(), 'seed')}"
    made = f"*Profile {profile}: {size}; {commits_in_words(', '.join(sorted(table['commit'].unique())))}.*"
    return f"{told}\n\n{listed(sentences)}\n\n{made}"


def in_markdown(frame: pd.DataFrame) -> str:
    """Return a table of text as Markdown, numbers to the right."""
    right = [is_numeric_dtype(frame[name]) or frame[name].str.match(NUMBER).any() for name in frame]
    sides = ["---:" if to_the_right else "---" for to_the_right in right]
    lines = [list(map(str, row)) for row in frame.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(row)} |" for row in ([*frame.columns], sides, *lines))


def listed(sentences: Sequence[str]) -> str:
    """Return sentences as a list, wrapped."""
    return "\n".join(line for text in sentences for line in WRAP(f"- {text}", subsequent_indent="  "))


def commits_in_words(joined: str) -> str:
    """Return commits, joined by commas, as text: the first `COMMIT_CHARS` of each."""
    shown = [commit[:COMMIT_CHARS] for commit in joined.split(", ")]
    return f"commit{'s' * (len(shown) > 1)} {', '.join(shown)}"
