"""Figures of the listening study: what participants prefer, whether CLAP agrees, how many participants are needed.

Conventions: functions of the tables of `tmp_utils.survey.analysis`, `.models` and `.power`. Every figure of answers
of a simulated rater says so under its title.

preference_bars : shares with their intervals, Table 2 as bars; published shares beside them if given.
agreement_plot  : people's preference against a metric's difference, one point a question.
power_curves    : the chance of showing a difference, over the number of participants.
claims_plot     : a difference's interval, over the intraclass correlation of one participant's answers.
"""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tmp_utils.figures.look import BLUE, GREEN, GREY, ORANGE, PINK, faded, method_colour, styled

SIMULATED_NOTE = "<b>Answers of a simulated rater, not of people.</b>"
OUTCOME_COLOURS = {"None": GREY, "Cannot decide": "#C3C8D0"}


def with_source(note: str, table: pd.DataFrame) -> str:
    """Return the note; if any answers are simulated, it begins by saying so."""
    simulated = "source" in table and table["source"].astype(str).str.contains("simulated").any()
    return "<br>".join(part for part in (SIMULATED_NOTE if simulated else "", note) if part)


def _colour(outcome: str) -> str:
    return OUTCOME_COLOURS.get(outcome) or method_colour(outcome.rsplit("-", 1)[0])


def _labels(table: pd.DataFrame) -> pd.Series:
    return table["outcome"].str.replace("Cannot decide", "Cannot<br>decide")


def preference_bars(table: pd.DataFrame, published: pd.DataFrame | None = None, note: str = "") -> go.Figure:
    """Return one bar an outcome for each kind of question, with bootstrap intervals over participants.

    Parameters
    ----------
    table : from `analysis.preference_table`.
    published : kind, outcome and share of another study, drawn as diamonds.
    """
    kinds = list(dict.fromkeys(table["kind"]))
    fig = make_subplots(1, max(1, len(kinds)), subplot_titles=[kind.capitalize() for kind in kinds], shared_yaxes=True)
    for column, kind in enumerate(kinds, start=1):
        part = table[table["kind"] == kind]
        error = {
            "array": part["ci_high"] - part["share"],
            "arrayminus": part["share"] - part["ci_low"],
            "color": "#22262B",
            "thickness": 1.5,
        }
        fig.add_bar(
            x=_labels(part),
            y=part["share"],
            error_y=error,
            marker_color=[_colour(outcome) for outcome in part["outcome"]],
            customdata=part[["count", "n", "participants"]],
            hovertemplate="%{x}: %{y:.1%} (%{customdata[0]} of %{customdata[1]} answers, "
            "%{customdata[2]} participants)<extra></extra>",
            showlegend=False,
            row=1,
            col=column,
        )
        if published is not None:
            other = published[published["kind"] == kind]
            marker = {"symbol": "diamond-open", "size": 11, "color": "#22262B", "line": {"width": 2}}
            fig.add_scatter(
                x=_labels(other),
                y=other["share"],
                mode="markers",
                marker=marker,
                name="published",
                showlegend=column == 1,
                hovertemplate="published: %{y:.0%}<extra></extra>",
                row=1,
                col=column,
            )
    fig.update_yaxes(tickformat=".0%", rangemode="tozero")
    fig.update_yaxes(title="Share of answers", col=1)
    fig.update_layout(legend={"y": 1, "x": 1, "xanchor": "right"})
    return styled(fig, "Which clip do listeners prefer?", with_source(note, table), height=440, heads_px=30)


def agreement_plot(pairs: pd.DataFrame, note: str = "") -> go.Figure:
    """Return people's share for the first variant against the metric's difference, one point a question.

    Points in the two tinted quadrants are questions on which both prefer the same clip.
    """
    metrics = sorted(set(pairs["metric"]))
    fig = make_subplots(1, max(1, len(metrics)), subplot_titles=metrics, shared_yaxes=True)
    for column, metric in enumerate(metrics, start=1):
        part = pairs[pairs["metric"] == metric]
        reach = 1.1 * max(1e-3, float(part["score_difference"].abs().max()))
        for left, low in ((0, 0.5), (-reach, 0)):
            ends = {"x0": left, "x1": left + reach, "y0": low, "y1": low + 0.5}
            fig.add_shape(**ends, fillcolor=faded(GREEN, 0.1), line_width=0, layer="below", row=1, col=column)
        fig.add_scatter(
            x=part["score_difference"],
            y=part["share_first"],
            mode="markers",
            marker={"color": BLUE, "size": 10, "opacity": 0.8},
            text=part["question"],
            hovertemplate="%{text}: %{y:.0%} of listeners, %{x:+.3f}<extra></extra>",
            showlegend=False,
            row=1,
            col=column,
        )
        fig.update_xaxes(title=f"{metric}: first minus second", range=[-reach, reach], col=column)
    fig.update_yaxes(range=[-0.03, 1.03], tickformat=".0%")
    fig.update_yaxes(title="Listeners preferring the first", col=1)
    title = "Do listeners and CLAP prefer the same clip?"
    return styled(fig, title, with_source(note, pairs), height=440, heads_px=30)


def power_curves(table: pd.DataFrame, note: str = "") -> go.Figure:
    """Return power over the number of participants, one line a difference; from `power_table`."""
    fig = go.Figure()
    colours = [GREY, ORANGE, GREEN, BLUE, PINK]
    for k, (difference, part) in enumerate(table.groupby("difference", sort=True)):
        fig.add_scatter(
            x=part["participants"],
            y=part["power"],
            mode="lines",
            line={"width": 2.5, "color": colours[k % len(colours)]},
            name=f"{100 * difference:.0f} points",
            hovertemplate="%{x} participants: %{y:.0%}<extra></extra>",
        )
    fig.add_hline(y=0.8, line={"dash": "dot", "color": GREY}, annotation_text="80 %")
    fig.update_xaxes(title="Participants")
    fig.update_yaxes(title="Chance of showing the difference", range=[0, 1.02], tickformat=".0%")
    fig.update_layout(legend={"title": {"text": "Difference of shares"}})
    return styled(fig, "How many participants does a difference need?", with_source(note, table))


def claims_plot(table: pd.DataFrame, note: str = "") -> go.Figure:
    """Return the difference of two shares with its interval over the intraclass correlation; from `claims`."""
    fig = go.Figure()
    for kind, colour, shift in zip(dict.fromkeys(table["kind"]), (BLUE, ORANGE), (-0.002, 0.002), strict=False):
        part = table[table["kind"] == kind]
        fig.add_scatter(
            x=part["icc"] + shift,
            y=part["difference"],
            error_y={"array": part["ci_high"] - part["difference"], "thickness": 2},
            mode="markers",
            marker={"color": colour, "size": 10},
            name=kind,
            hovertemplate="difference %{y:+.0%}<extra></extra>",
        )
    fig.add_hline(y=0, line={"color": GREY})
    fig.update_xaxes(title="Intraclass correlation of one participant's answers")
    fig.update_yaxes(title="Difference of shares, first minus second", tickformat="+.0%")
    return styled(fig, "What can the published percentages claim?", with_source(note, table))
