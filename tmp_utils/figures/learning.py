"""Pictures of what changes during a training.

learning_path : CLAP-A and CLAP-T over steps, with intervals.
how_many      : the same for several numbers of clips, with a panel for each method.
strength_path : the way of an adapter's strength across the plane of CLAP-A and CLAP-T.
what_moves    : CLAP-A and the vector's drift over the loss, which hardly changes.
language_drift : CLAP-A of the bare class noun, before training and after.
"""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tmp_utils.figures.look import GREEN, GREY, METHOD_ORDER, ORANGE, PINK, band, faded, method_colour, styled
from tmp_utils.figures.study import error_bar, noted
from tmp_utils.metrics.intervals import MIN_UNITS, mean_over_units
from tmp_utils.metrics.names import NAMES

COLOURS = {"clap_a": GREEN, "clap_t": PINK}  # neither is a method's, since both lines are of one method
LEAST_SPAN = 0.4  # of an axis of a strength path: a few clips differ by chance, and should not look like a trend
FEW_POINTS = 12  # fewer are marked on their line
# From few clips to many: viridis from light to dark.
COUNT_COLOURS = ("#B8DE29", "#55C667", "#1F968B", "#2D708E", "#404788", "#440154")
DODGE = 0.008  # of the axis, between the error bars of neighbouring lines
PANELS = {"clap_a": (NAMES["clap_a"], GREEN), "drift": ("Drift (1 − cosine)", ORANGE), "loss": ("Loss", GREY)}


def learning_path(path: pd.DataFrame, title: str = "Learning and forgetting", note: str = "") -> go.Figure:
    """Return CLAP-A and CLAP-T over optimisation steps with 95 % bands.

    Parameters
    ----------
    path : from ``overfitting.learning_path``.
    """
    fig = go.Figure()
    for metric, colour in COLOURS.items():
        rows = path[path["metric"] == metric].sort_values("step")
        fig.add_trace(band(rows, "step", colour, 0.18))
        line = {"mode": "lines+markers", "name": NAMES[metric], "line": {"color": colour}}
        fig.add_scatter(x=rows["step"], y=rows["value"], **line)
    fig.update_xaxes(title="Optimisation step (0: untrained, with the class noun)")
    fig.update_yaxes(title="Cosine")
    clips = path.groupby("metric")["n"].max()
    counts = [f"{clips[metric]} clips for {NAMES[metric]}" for metric in COLOURS]
    return styled(fig, title, noted(note, f"{' and '.join(counts)} at each step; bands are 95 % intervals"))


def how_many(table: pd.DataFrame, note: str = "") -> go.Figure:
    """Return CLAP-A and CLAP-T over steps, a line for each number of clips, a row of panels for each method.

    Parameters
    ----------
    table : of `runs.how_many`: concept, method, n_clips, step, metric, value, seed. Values are means over concepts;
        with `MIN_UNITS` concepts or more, bars are 95 % intervals over them.
    """
    methods = [method for method in METHOD_ORDER if method in set(table["method"])]
    counts, n = sorted(table["n_clips"].unique()), table["concept"].nunique()
    apart = (len(COUNT_COLOURS) - 1) / max(len(counts) - 1, 1)
    colours = {count: COUNT_COLOURS[round(k * apart)] for k, count in enumerate(counts)}
    names = [f"{method}: {NAMES[metric]}" for method in methods for metric in COLOURS]
    gap = 0.26 / len(methods)
    spacing = {"vertical_spacing": gap, "horizontal_spacing": 0.12}
    fig = make_subplots(len(methods), 2, shared_yaxes="columns", subplot_titles=names, **spacing)
    for row, method in enumerate(methods, start=1):
        for column, metric in enumerate(COLOURS, start=1):
            panel = table[(table["method"] == method) & (table["metric"] == metric)]
            for k, (count, rows) in enumerate(panel.groupby("n_clips")):
                shift = (k - (len(counts) - 1) / 2) * DODGE * panel["step"].max()
                line = _line(rows, shift if n >= MIN_UNITS else 0, colours[count], f"{count} clip{'s' * (count > 1)}")
                fig.add_trace(line.update(showlegend=row == column == 1), row=row, col=column)
    fig.update_xaxes(title="Step", title_standoff=4, row=len(methods))
    seeds = table["seed"].nunique()
    about = f"{n} concept{'s' * (n > 1)}, {seeds} seed{'s' * (seeds > 1)}; CLAP-A to held-out clips"
    about += "<br>bars are 95 % intervals over concepts" if n >= MIN_UNITS else ""
    styled(fig, "How many clips, how many steps?", noted(note, about), height=150 + 240 * len(methods))
    legend = {"orientation": "h", "y": -0.3 / len(methods), "yanchor": "top", "x": 0, "font_size": 12}
    return fig.update_layout(legend=legend, margin={"l": 40, "r": 10, "b": 90, "t": fig.layout.margin.t + 24})


def _line(rows: pd.DataFrame, shift: float, colour: str, name: str) -> go.Scatter:
    """Means over concepts by step, `shift` steps aside, with intervals where there are concepts enough."""
    means = {step: mean_over_units(of_step, levels=["concept"]) for step, of_step in rows.groupby("step")}
    values = pd.DataFrame([vars(mean) for mean in means.values()])
    bars = (
        error_bar(values) | {"color": faded(colour, 0.5), "width": 0}
        if rows["concept"].nunique() >= MIN_UNITS
        else None
    )
    return go.Scatter(
        x=[step + shift for step in means],
        y=values["value"],
        error_y=bars,
        mode="lines+markers",
        name=name,
        legendgroup=name,
        line={"color": colour},
        marker={"size": 5},
        customdata=list(means),
        hovertemplate=f"{name}, step %{{customdata}}: %{{y:.3f}}<extra></extra>",
    )


def strength_path(path: pd.DataFrame, note: str = "") -> go.Figure:
    """Return CLAP-T against CLAP-A, a point for each strength of an adapter, in their order.

    Parameters
    ----------
    path : from ``strengths.strength_path``.
    """
    wide = path.pivot(index="strength", columns="metric", values="value").sort_index()
    fig = go.Figure()
    fig.add_scatter(
        x=wide["clap_a"],
        y=wide["clap_t"],
        mode="lines+markers+text",
        text=[f"{strength:g}" for strength in wide.index],
        textposition=[("top center", "bottom center")[k % 2] for k in range(len(wide))],
        line={"color": ORANGE, "width": 2.5},
        marker={"size": 11},
        showlegend=False,
        hovertemplate="strength %{text}: CLAP-A %{x:.3f}, CLAP-T %{y:.3f}<extra></extra>",
    )
    axes = {"clap_a": (fig.update_xaxes, "the concept's clips"), "clap_t": (fig.update_yaxes, "the prompt")}
    for metric, (update, compared) in axes.items():
        low, high = wide[metric].min(), wide[metric].max()
        room = max(0.15 * (high - low), (LEAST_SPAN - (high - low)) / 2)
        update(title=f"{NAMES[metric]}: to {compared} (cosine)", range=[low - room, high + room])
    clips = path.groupby("metric")["n"].max()
    counts = ", ".join(f"{clips[metric]} clips for {NAMES[metric]}" for metric in axes)
    return styled(fig, "From the class noun to the concept", noted(note, f"numbers are strengths; {counts}"))


def what_moves(moves: pd.DataFrame, note: str = "") -> go.Figure:
    """Return CLAP-A, the drift of the learned vector and the loss over optimisation steps, one below the other.

    Parameters
    ----------
    moves : step; clap_a (cosine), drift (1 - cosine between the vector and where it started) and loss, each nan at
        steps where it was not measured.
    """
    if missing := {"step", *PANELS} - set(moves.columns):
        raise ValueError(f"columns {list(moves.columns)} arrived; {sorted(missing)} missing.")
    fig = make_subplots(len(PANELS), 1, shared_xaxes=True, vertical_spacing=0.07)
    for row, (column, (name, colour)) in enumerate(PANELS.items(), start=1):
        points = moves.dropna(subset=column)
        mode = "lines+markers" if len(points) < FEW_POINTS else "lines"
        line = {"name": name, "mode": mode, "line": {"color": colour}, "showlegend": False}
        fig.add_scatter(x=points["step"], y=points[column], **line, row=row, col=1)
        fig.update_yaxes(title=name, rangemode="tozero", row=row, col=1)
    fig.update_xaxes(title="Optimisation step", row=len(PANELS), col=1)
    return styled(fig, "CLAP-A and drift move; the loss of a step is mostly noise", note, height=520)


def language_drift(drift: pd.DataFrame, class_noun: str, note: str = "") -> go.Figure:
    """Return CLAP-A of clips of the bare class noun as dots with intervals, one line for each adapter.

    Parameters
    ----------
    drift : from ``overfitting.language_drift``: value, ci_low, ci_high, n. The first row is the untrained model; its
        value is a dotted line.
    """
    colours = [GREY if name == drift.index[0] else method_colour(name.rsplit("-", 1)[0]) for name in drift.index]
    dots = {"mode": "markers", "marker": {"size": 11, "color": colours}, "showlegend": False}
    fig = go.Figure()
    fig.add_scatter(x=drift["value"], y=drift.index, error_x=error_bar(drift) | {"color": GREY}, **dots)
    fig.update_traces(hovertemplate="%{y}: %{x:.3f}<extra></extra>")
    fig.add_vline(drift["value"].iloc[0], line={"dash": "dot", "color": GREY})
    fig.update_xaxes(title=f"{NAMES['clap_a']} of “{class_noun}” (cosine)")
    fig.update_yaxes(autorange="reversed", showgrid=False)
    about = f"{drift['n'].iloc[0]:.0f} clips each; bars are 95 % intervals over these clips"
    title = "Does the class noun still mean the class?"
    return styled(fig, title, noted(note, about), height=200 + 34 * len(drift))
