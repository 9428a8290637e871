"""The verdicts as a reader needs them: one for each sentence of the paper, and two tables of results beside each other.

Conventions: a verdicts table is of `findings.verdicts`. Numbers are text with their 95 % intervals in brackets.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tmp_utils.figures.look import setup_label
from tmp_utils.findings.verdicts import (
    CONTRADICTED,
    MIN_CONCEPTS,
    NO_DIFFERENCE,
    REPRODUCED,
    UNDECIDED,
    VERDICTS,
    paper_table,
    verdicts,
)
from tmp_utils.findings.words import DASH, DIGITS, bracketed, in_digits, plural
from tmp_utils.inputs.concepts import are_stand_ins, list_concepts
from tmp_utils.metrics.names import short_name

SECOND_NAME = "MusiCNN"
EQUAL = 0.005  # nearer to each other, two of the paper's printed numbers are equal but for rounding
NOT_MEASURED = "not measured"
PRIOR = "-PP"  # ends the names of setups with prior preservation
WITH_PRIOR = ", DB with prior"  # ends the names of tables whose DreamBooth has it


def both_ways(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return tables of results by name, each followed by one whose DreamBooth has prior preservation.

    That is where as many concepts have it as a verdict needs. The paper does not say whether its DreamBooth had it, so
    the claims are judged both ways. In the second table "DB/BL" is what "DB/BL-PP" is in the first, and the setups
    without prior preservation are left out.
    """
    judged = {}
    for name, table in tables.items():
        judged[name] = table
        with_prior = (table["method"] == "DB") & table["setup"].str.endswith(PRIOR)
        if table.loc[with_prior, "concept"].nunique() >= MIN_CONCEPTS:
            kept = table[with_prior | (table["method"] != "DB")]
            judged[name + WITH_PRIOR] = kept.assign(setup=kept["setup"].str.removesuffix(PRIOR))
    return judged


def judged_both_ways(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the verdicts on each table of `both_ways`; with prior preservation on the claims about DreamBooth alone.

    Claims about Textual Inversion alone have the same differences in both tables.
    """
    return {
        name: verdicts(table, about_dreambooth() if name.endswith(WITH_PRIOR) else None)
        for name, table in both_ways(tables).items()
    }


def about_dreambooth() -> pd.DataFrame:
    """Return the rows of ``data/paper/findings.csv`` of which DreamBooth is a side; of a pair, all parts."""
    findings = paper_table("findings")
    names = _names(findings)
    is_side = findings["a"].str.startswith("DB/") | findings["b"].str.startswith("DB/")
    return findings[names.isin(set(names[is_side]))].reset_index(drop=True)


def by_origin(results: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return a table of results as those of "recordings" and of "stand-ins", where it has both; otherwise {}.

    Rows of all concepts together and of concepts that are not in the catalogue are left out.
    """
    shipped = set(list_concepts())
    rendered = {name for name in set(results["concept"]) & shipped if are_stand_ins([name])}
    parts = {"recordings": shipped - rendered, "stand-ins": rendered}
    tables = {name: results[results["concept"].isin(concepts)] for name, concepts in parts.items()}
    return tables if all(len(table) for table in tables.values()) else {}


def claims(judged: pd.DataFrame) -> pd.DataFrame:
    """Return claim, verdict, parts (ids) and n_concepts (of the part with the fewest), a row a sentence of the paper.

    A pair is reproduced if all of its parts are, and contradicted if one is. Otherwise, if a part shows no difference,
    the contrast that the pair states is not there: "no difference".
    """
    rows = []
    for name, parts in judged.groupby(_names(judged), sort=False):
        kinds = set(parts["verdict"])
        first = (kind for kind in (CONTRADICTED, NO_DIFFERENCE, UNDECIDED) if kind in kinds)
        rows.append((name, next(first, REPRODUCED), tuple(parts["id"]), int(parts["n_concepts"].min())))
    return pd.DataFrame(rows, columns=["claim", "verdict", "parts", "n_concepts"])


def _names(judged: pd.DataFrame) -> pd.Series:
    """Return the sentence of the paper that each row is, or is a part of."""
    return judged["pair"].where(judged["pair"] != "", judged["claim"])


def in_counts(judged: pd.DataFrame, kinds: Sequence[str] = VERDICTS) -> str:
    """Return the number of claims with each of these verdicts, pairs as one claim, and of those not measured."""
    whole = claims(judged)
    counts = whole.loc[whole["n_concepts"] > 0, "verdict"].value_counts()
    texts = [f"{counts.get(verdict, 0)} {verdict}" for verdict in kinds]
    unmeasured = int((whole["n_concepts"] == 0).sum())
    return ", ".join(texts + [f"{unmeasured} {NOT_MEASURED}"] * (unmeasured > 0))


def beside(judged: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return claim and, for each table of verdicts by its name, the verdict; pairs are one claim.

    The first table has all claims; one that another lacks is a dash there. Where a table has too few concepts for a
    verdict, or none, its cell says so.
    """
    columns = {}
    for name, table in judged.items():
        whole = claims(table).set_index("claim")
        n = whole["n_concepts"]
        few = n.map(lambda n: f"{UNDECIDED} ({n} of {MIN_CONCEPTS} concepts)" if n else NOT_MEASURED)
        columns[name] = whole["verdict"].where((n >= MIN_CONCEPTS) | (whole["verdict"] != UNDECIDED), few)
    first = next(iter(columns.values()))
    return pd.DataFrame(columns).reindex(first.index).fillna(DASH).rename_axis("claim").reset_index()


def compared(judged: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return claim and metric, and for each table verdict, difference A minus B and margin; parts one by one.

    The first table has all claims; one that another lacks is a dash there.
    """
    tables = {name: table.set_index("id") for name, table in judged.items()}
    first = next(iter(tables.values()))
    shown = first[["claim", "metric"]].assign(metric=first["metric"].map(short_name))
    for name, table in tables.items():
        whole = {part: row.verdict for row in claims(judged[name]).itertuples() for part in row.parts}
        pairs = [f" (pair: {whole[part]})" if pair else "" for part, pair in table["pair"].items()]
        shown[f"{name}: verdict"] = table["verdict"] + pairs
        shown[f"{name}: A − B"] = pd.Series({row.Index: _difference(row) for row in table.itertuples()})
        shown[f"{name}: margin"] = table["margin"].map(lambda margin: in_digits(margin, 3))
    return shown.fillna(DASH).reset_index(drop=True)


def _difference(row) -> str:
    if not np.isfinite(row.difference):
        return DASH
    rival = f" against {row.against}" if row.b.startswith("each ") else ""
    return bracketed(row.difference, row.ci_low, row.ci_high, DIGITS) + rival + second_in_words(row)


def second_in_words(row) -> str:
    """Return the difference and the verdict by the second embedder, for behind those by the first; "" without one."""
    if not row.verdict_second:
        return ""
    if not np.isfinite(row.difference_second):
        return f"; not measured by {SECOND_NAME}"
    difference = bracketed(row.difference_second, row.ci_low_second, row.ci_high_second, DIGITS)
    return f"; by {SECOND_NAME} {difference}, {row.verdict_second}"


def embedders_in_words(judged: pd.DataFrame) -> str:
    """Say on how many of the comparisons that both can make the embedders give one verdict, and on which they differ.

    It is "" without a second embedder, or where no claim has the concepts that a verdict needs.
    """
    both = judged[(judged["verdict_second"] != "") & (judged["n_concepts"] >= MIN_CONCEPTS)]
    if both.empty:
        return ""
    other = both[both["verdict"] != both["verdict_second"]]
    named = [f"“{row.claim}” ({row.verdict}; by {SECOND_NAME} {row.verdict_second})" for row in other.itertuples()]
    counts = f"{len(both) - len(other)} of {len(both)} comparisons that both can make"
    same = f"CLAP and {SECOND_NAME} give one verdict on {counts}"
    return f"{same}, and different ones on {'; '.join(named)}." if named else f"{same}."


def with_numbers(judged: pd.DataFrame) -> pd.DataFrame:
    """Return claim, verdict and numbers (both sides, difference, interval, by both embedders, the paper's), as text.

    A row is a sentence of the paper, those with one verdict together; after a pair follow its parts, "(1) ..." and so
    on. `judged` is of `findings.verdicts`.
    """
    parts, rows = {row.id: row for row in judged.itertuples()}, []
    whole = claims(judged).sort_values("verdict", key=lambda of: of.map(VERDICTS.index), kind="stable")
    for claim in whole.itertuples():
        several = len(claim.parts) > 1
        rows.append((claim.claim, claim.verdict, "" if several else _numbers(parts[claim.parts[0]])))
        for k, part in enumerate([parts[name] for name in claim.parts] if several else [], 1):
            rows.append((f"({k}) {part.claim}", part.verdict, _numbers(part)))
    return pd.DataFrame(rows, columns=["claim", "verdict", "numbers"])


def _numbers(row) -> str:
    paper = f"; the paper has {row.paper_a:.2f} against {row.paper_b:.2f}" if np.isfinite(row.paper_a) else ""
    if row.paper_agrees == "no":
        equal = abs(row.paper_a - row.paper_b) < EQUAL
        paper += ", which does not show it" if equal else ", which contradicts its text"
    if not np.isfinite(row.difference):
        return f"{row.note or 'nothing to compare'}{paper}"
    difference = bracketed(row.difference, row.ci_low, row.ci_high, DIGITS)
    over = f" over {plural(row.n_concepts, 'concept')}"
    margin = f", within the margin of {row.margin:.2f}" * (row.verdict == NO_DIFFERENCE)
    return f"{_sides(row)}, difference {difference}{over}{margin}{second_in_words(row)}{paper}"


def _sides(row) -> str:
    rival = ", the rival that decides," if row.b.startswith("each ") else ""
    ours = in_digits(row.ours_a), in_digits(row.ours_b)
    sides = f"{_side(row.a)} {ours[0]} against {_side(row.against)}{rival} {ours[1]}"
    return f"{short_name(row.metric)} of {sides}"


def _side(side: str) -> str:
    method, _, setup = side.partition("/")
    return setup_label(method, "(all setups)" if setup == "*" else setup)
