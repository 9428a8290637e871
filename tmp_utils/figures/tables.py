"""Tables as figures: Table 1, our numbers beside the paper's, and the verdicts on the findings.

Conventions: a missing number is an en dash, a failed one the word "failed"; intervals are at 95 %.

setup_cells    : Table 1 as text.
results_table  : Table 1, our means with intervals | the paper's.
findings_table : one row for each claim, with its verdict in colour.
"""

import textwrap

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from tmp_utils.figures.look import FAINT, INK, styled
from tmp_utils.figures.study import summary
from tmp_utils.metrics.names import TABLE_1, digits_of, short_name, with_arrow
from tmp_utils.metrics.table import CODEC, REFERENCE, UNTRAINED, WHOLE_RUN

COLUMNS = {metric: with_arrow(metric) for metric in TABLE_1}
VERDICT_COLOURS = {
    "reproduced": "#D7EFE6",
    "contradicted": "#FBE3D2",
    "no difference": "#DCE6F5",
    "undecided": "#F1F2F4",
}
CORRECTION = "Intervals are for single claims; verdicts are corrected for all claims (Holm)."
ROW_PX, LINE_PX = 30, 19
CLAIM_CHARS = 31  # of a claim on a line; plotly does not report the height of lines that it breaks itself
DASH = "–"


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else DASH


def _as_printed(value: float) -> str:
    """Return a number of the paper with two or three decimals, as many as it has."""
    return _number(value, 2 if np.isclose(value, round(value, 2)) else 3)


def _with_interval(value: float, low: float, high: float, digits: int) -> str:
    if not np.isfinite(low):
        return _number(value, digits)
    return f"{_number(value, digits)} [{_number(low, digits)}, {_number(high, digits)}]"


def _cells(results: pd.DataFrame, metric: str, setups: pd.DataFrame, digits: int) -> list[str]:
    """Return our cell of each setup: mean and interval, the number of failed runs, or a dash where there is none."""
    rows = results[(results["metric"] == metric) & (results["prompt"] == WHOLE_RUN)]
    good = None
    if (rows["status"] == "ok").any():
        good = summary(results, metric, with_references=True).set_index(["method", "setup"])
    cells = []
    for method, setup in setups.itertuples(index=False, name=None):
        runs = rows[(rows["method"] == method) & (rows["setup"] == setup)]
        failed = int((runs["status"] == "failed").sum())
        cell = DASH
        if good is not None and (method, setup) in good.index:
            cell = _with_interval(*good.loc[(method, setup), ["value", "ci_low", "ci_high"]], digits)
        if failed:
            cell = "failed" if failed == len(runs) else f"{cell} ({failed} failed)"
        cells.append(cell)
    return cells


def setup_cells(results: pd.DataFrame, table1: pd.DataFrame, digits: int | None = None) -> pd.DataFrame:
    """Return method and setup, and for each metric of `COLUMNS` our cell and the paper's ("<metric>_paper"), as text.

    Setups that the paper does not have come last, and then the untrained model and the codec, with a dash in its
    columns. ``digits`` are the decimals of our
    numbers; by default as many as are worth reading (`names.digits_of`).
    """
    of_setups = results["metric"].isin(list(COLUMNS)) & ~(
        (results["method"] == REFERENCE) & (results["setup"] != CODEC)
    )
    setups = results.loc[of_setups, ["method", "setup"]]
    setups = setups.sort_values("method", key=lambda names: names.isin([REFERENCE, UNTRAINED]), kind="stable")
    setups = pd.concat([table1[["method", "setup"]], setups]).drop_duplicates(ignore_index=True)
    paper = setups.merge(table1, on=["method", "setup"], how="left")
    cells = setups.copy()
    for metric in COLUMNS:
        cells[metric] = _cells(results, metric, setups, digits or digits_of(metric))
        cells[f"{metric}_paper"] = [_as_printed(value) for value in paper[metric]]
    return cells


def results_table(results: pd.DataFrame, table1: pd.DataFrame, title: str = "Table 1", note: str = "") -> go.Figure:
    """Return our numbers with intervals beside the paper's, one row for each method and setup.

    Parameters
    ----------
    results : pandas.DataFrame
        A results table. Setups that the paper does not have come last, with a dash in its columns.
    table1 : pandas.DataFrame
        The paper's: method, setup, clap_a, fad, clap_t.
    """
    cells = setup_cells(results, table1)
    header = ["<b>Method</b>", "<b>Setup</b>"]
    for name in COLUMNS.values():
        header += [f"<b>{name}</b> ours", "paper"]
    columns = [cells[column] for column in cells]
    return _table(header, columns, [75, 60, 235, 60, 215, 60, 235, 60], title, note, [1] * len(cells))


def _wrapped(texts: pd.Series, width: int) -> list[str]:
    return ["<br>".join(textwrap.wrap(str(text), width)) for text in texts]


def findings_table(verdicts: pd.DataFrame, title: str = "The paper's findings", note: str = "") -> go.Figure:
    """Return the claims with the paper's numbers, ours, the difference with its interval, and the verdict.

    ``verdicts`` is the table of `findings.verdicts`.
    """
    note = "<br>".join(filter(None, [note, CORRECTION]))
    digits = [digits_of(metric) for metric in verdicts["metric"]]

    def pair(a: str, b: str) -> list[str]:
        sides = zip(verdicts[a], verdicts[b], digits, strict=True)
        return [f"{_number(x, d)} | {_number(y, d)}" if np.isfinite(x) else DASH for x, y, d in sides]

    ends = zip(verdicts["difference"], verdicts["ci_low"], verdicts["ci_high"], digits, strict=True)
    differences = [_with_interval(*end).replace(" [", "<br>[") for end in ends]
    n = [f"{c} / {r}" for c, r in zip(verdicts["n_concepts"], verdicts["n_runs"], strict=True)]
    sides = zip(verdicts["b"], verdicts["against"], strict=True)
    others = [f"{one} of {b}" if one and one != b else b for b, one in sides]
    compared = [f"{a}<br>{b}" for a, b in zip(verdicts["a"], others, strict=True)]
    header = ["Claim", "A<br>B", "Metric", "Paper: A | B", "Ours: A | B", "A − B, 95 %", "Concepts / runs", "Verdict"]
    metric = _wrapped(verdicts["metric"].map(short_name), 11)
    claims = _wrapped(verdicts["claim"], CLAIM_CHARS)
    cells = [claims, compared, metric, pair("paper_a", "paper_b"), pair("ours_a", "ours_b"), differences, n]
    lines = [max(2, claim.count("<br>") + 1) for claim in claims]
    widths = [275, 170, 100, 125, 125, 135, 95, 110]
    fig = _table(
        [f"<b>{name}</b>" for name in header], [*cells, verdicts["verdict"].tolist()], widths, title, note, lines
    )
    colours = [VERDICT_COLOURS.get(verdict, "white") for verdict in verdicts["verdict"]]
    fig.update_traces(header_align="left", cells_align="left")
    fig.data[0].cells.fill.color = [*[["white"] * len(verdicts)] * 7, colours]
    return fig


def _table(header: list[str], cells: list, widths: list[int], title: str, note: str, lines: list[int]) -> go.Figure:
    align = ["left", "left", *["right"] * (len(header) - 2)]
    row_px = ROW_PX if max(lines) == 1 else 10 + 2 * LINE_PX  # plotly lets a row of three lines grow
    fig = go.Figure(
        go.Table(
            columnwidth=widths,
            header={"values": header, "align": align, "fill": {"color": FAINT}, "height": 44, "line": {"color": FAINT}},
            cells={
                "values": cells,
                "align": align,
                "height": row_px,
                "line": {"color": FAINT},
                "fill": {"color": "white"},
            },
        )
    )
    fig.update_traces(header_font={"size": 13, "color": INK}, cells_font={"size": 13, "color": INK})
    height = 100 + 44 + sum(max(row_px, 10 + LINE_PX * n) for n in lines if n > 1) + row_px * lines.count(1)
    return styled(fig, title, note, height=height).update_layout(margin={"l": 10, "r": 10, "b": 10})
