"""Pictures of the results: similarities, distances and musical agreement.

Conventions: every function takes a results table (`metrics.RESULT_COLUMNS`). Failed rows and rows of single prompts are
left out; the others are averaged over concepts and seeds, with the interval over concepts.

summary         : mean and interval of one metric, one row for each method and setup.
setups_dots     : one metric over all setups, with intervals, single concepts and reference lines.
music_agreement : tempo, loudness, key and scale (Fig. 5).
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tmp_utils.figures.look import GREY, faded, in_order, method_colour, setup_label, setups_in_order, styled
from tmp_utils.metrics.intervals import MIN_UNITS, mean_over_units, wilson
from tmp_utils.metrics.names import AGREEMENTS, REFERENCES, TITLES
from tmp_utils.metrics.table import CODEC, OWN, REFERENCE, UNTRAINED, bounds_of, is_share, whole_runs

LABEL_SHARE, LABEL_PX = 0.3, 16  # width of a line's label, as a share of the axis on a phone; its height


def summary(results: pd.DataFrame, metric: str, with_references: bool = False) -> pd.DataFrame:
    """Return method, setup, value, ci_low, ci_high, n_concepts, n_runs of one metric, in the paper's order.

    With references, the concept's own clips, the codec and the untrained model follow the setups.
    The interval is over concepts; where a setup has only one run, it is over the clips of that run. The interval of a
    share stays in [0, 1]; for one or two concepts it is over all their clips.
    """
    rows = whole_runs(results, metric, references=True)
    own = (rows["method"] == REFERENCE) & rows["setup"].isin([CODEC, OWN])
    of_references = own | (rows["method"] == UNTRAINED)
    rows = rows[~rows["method"].isin([REFERENCE, UNTRAINED]) | (of_references & with_references)]
    if rows.empty:
        raise ValueError(f"no finished rows of {metric!r}; the table has {sorted(results['metric'].unique())}.")
    means = []
    for (method, setup), group in rows.groupby(["method", "setup"], sort=False):
        interval = mean_over_units(group, levels=["concept"], bounds=bounds_of(metric))
        ends = (interval.ci_low, interval.ci_high) if len(group) > 1 else tuple(group[["ci_low", "ci_high"]].iloc[0])
        if is_share(metric) and interval.n < MIN_UNITS:
            ends = wilson(interval.value * group["n"].sum(), group["n"].sum())
        means.append((method, setup, interval.value, *ends, interval.n, len(group)))
    means.sort(key=lambda row: in_order(row[0], row[1]))
    return pd.DataFrame(means, columns=["method", "setup", "value", "ci_low", "ci_high", "n_concepts", "n_runs"])


def error_bar(table: pd.DataFrame) -> dict:
    """Return plotly's error bars of value, ci_low and ci_high."""
    above, below = table["ci_high"] - table["value"], table["value"] - table["ci_low"]
    return {"type": "data", "array": above, "arrayminus": below, "thickness": 1.5, "width": 0}


def runs_and_bars(table: pd.DataFrame, of_shares: bool = False) -> str:
    """Return the number of concepts and runs in a figure, and what its bars are."""
    fewest, concepts, runs = table["n_concepts"].min(), table["n_concepts"].max(), table["n_runs"].sum()
    few = "over the clips of a run" if table["n_runs"].max() == 1 else "over the runs of one concept"
    over = "over concepts" if concepts > 1 else few
    if of_shares and concepts < MIN_UNITS:
        over = "over these clips alone"
    bars = f"bars are 95 % intervals {over}" if table["ci_low"].notna().any() else "too few runs for an interval"
    counts = f"{fewest} to {concepts}" if fewest < concepts else str(concepts)
    return f"{counts} concept{'s' * bool(concepts > 1)}{' a setup' * bool(fewest < concepts)}, {runs} runs; {bars}"


def noted(note: str, about: str) -> str:
    """Return the text under a title: the caller's note, and the counts."""
    return f"{note}<br>{about}" if note else about


def setups_dots(
    results: pd.DataFrame,
    metric: str = "clap_a",
    references: Mapping[str, float] | None = None,
    title: str = "",
    note: str = "",
) -> go.Figure:
    """Return one metric as dots with intervals, one line for each setup, methods in their colours.

    With several concepts, the small dots are the single concepts. ``references`` are vertical lines by name (of
    `metrics.references`); nan ones are left out.
    """
    table = summary(results, metric)
    fig = go.Figure()
    for method, group in table.groupby("method", sort=False):
        labels = [setup_label(method, setup) for setup in group["setup"]]
        marker = {"size": 11, "color": method_colour(method)}
        fig.add_scatter(
            x=group["value"], y=labels, error_x=error_bar(group), mode="markers", marker=marker, name=method
        )
    fig.update_traces(hovertemplate="%{y}: %{x:.3f}<extra></extra>")
    _single_concepts(fig, results, metric, table)
    rows = _reference_lines(fig, {name: x for name, x in (references or {}).items() if np.isfinite(x)}, table)
    fig.update_yaxes(autorange="reversed", showgrid=False)
    fig.update_xaxes(title=TITLES.get(metric, metric))
    about = runs_and_bars(table) + "; small dots are single concepts" * bool(table["n_concepts"].max() > 1)
    fig = styled(fig, title or TITLES.get(metric, metric).split(" (")[0], noted(note, about))
    top = fig.layout.margin.t + 14 * max(1, rows)
    return fig.update_layout(showlegend=False, height=top + 90 + 30 * len(table), margin_t=top)


def _reference_lines(fig: go.Figure, references: Mapping[str, float], table: pd.DataFrame) -> int:
    """Add vertical lines; labels of lines near each other stand in rows, whose number is returned."""
    shown = [*table[["value", "ci_low", "ci_high"]].to_numpy(float).ravel(), *references.values()]
    near, ends = LABEL_SHARE * (np.nanmax(shown) - np.nanmin(shown)), []
    for name, value in sorted(references.items(), key=lambda item: item[1]):
        row = next((k for k, end in enumerate(ends) if value - end > near), len(ends))
        ends[row : row + 1] = [value]
        fig.add_vline(value, line={"dash": "dot", "color": GREY})
        place = {"x": value, "y": 1, "yref": "paper", "yanchor": "bottom", "yshift": LABEL_PX * row}
        fig.add_annotation(text=REFERENCES.get(name, name), showarrow=False, **place)
    return len(ends)


def _single_concepts(fig: go.Figure, results: pd.DataFrame, metric: str, table: pd.DataFrame) -> None:
    """Add each concept's mean as a small dot, where there are several concepts."""
    rows = whole_runs(results, metric).merge(
        table.loc[table["n_concepts"] > 1, ["method", "setup"]], on=["method", "setup"]
    )
    if rows.empty:
        return
    means = rows.groupby(["method", "setup", "concept"], sort=False)["value"].mean().reset_index()
    labels = [setup_label(*setup) for setup in zip(means["method"], means["setup"], strict=True)]
    marker = {"size": 5, "opacity": 0.5, "color": means["method"].map(method_colour)}
    hover = {"text": means["concept"], "hovertemplate": "%{y}, %{text}: %{x:.3f}<extra></extra>"}
    fig.add_scatter(x=means["value"], y=labels, mode="markers", marker=marker, **hover)


def music_agreement(results: pd.DataFrame, title: str = "Which musical properties agree", note: str = "") -> go.Figure:
    """Return the share of clips that agree with the concept: one column for each property, one line for each setup.

    The concept's own clips (each beside the others), the codec and the untrained model come last, where the table has
    them: a copy of the concept reaches the codec's values, and the class noun alone the untrained model's.
    """
    present = [metric for metric in AGREEMENTS if ((results["metric"] == metric) & (results["status"] == "ok")).any()]
    if not present:
        raise ValueError("no music rows in the table: install essentia, and run notebook 05 to score the runs again.")
    tables = pd.concat([summary(results, metric, with_references=True).assign(metric=metric) for metric in present])
    setups = setups_in_order(zip(tables["method"], tables["setup"], strict=True))
    lines = [setup_label(*setup) for setup in setups]
    fig = make_subplots(1, len(present), shared_yaxes=True, horizontal_spacing=0.02)
    for column, metric in enumerate(present, start=1):
        name, tolerance = AGREEMENTS[metric]
        of_metric = tables[tables["metric"] == metric]
        for method, group in of_metric.groupby("method", sort=False):
            labels = [setup_label(method, setup) for setup in group["setup"]]
            percent = 100 * group[["value", "ci_low", "ci_high"]]
            fig.add_scatter(
                x=percent["value"],
                y=labels,
                error_x=error_bar(percent) | {"color": faded(method_colour(method), 0.5)},
                mode="markers",
                marker={"size": 9, "color": method_colour(method)},
                name=method,
                hovertemplate=f"%{{y}}: %{{x:.0f}} % of clips<extra>{name} {tolerance}</extra>",
                row=1,
                col=column,
            )
        ticks = {"tickvals": [0, 50, 100], "ticktext": ["", "50 %", ""]}  # 0 and 100 of two columns would collide
        words = "<br>".join([*name.split(), f"({tolerance})"] if tolerance else name.split())
        fig.update_xaxes(title=words, range=[-10, 110], **ticks, row=1, col=column)
    fig.update_yaxes(autorange=None, range=[len(lines) - 0.5, -0.5], categoryorder="array", categoryarray=lines)
    most = tables.sort_values("n_concepts", ascending=False, kind="stable")  # not all concepts have a tempo or a key
    about = runs_and_bars(most.drop_duplicates(["method", "setup"]), of_shares=True)
    fig = styled(fig, title, noted(note, f"% of clips that agree with the concept; {about}"))
    top = fig.layout.margin.t
    return fig.update_layout(showlegend=False, height=top + 120 + 24 * len(lines))
