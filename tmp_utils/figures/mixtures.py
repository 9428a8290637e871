"""Pictures of mixtures: which sound each bin belongs to, and which sounds the words are close to.

Conventions: masks are (frames, 64) in [0, 1], 10 ms a frame; tables have the columns of `runs.mixtures.COLUMNS`, of one
embedder.

mask_pictures : a mixture's mel, and masks of one of its sounds under it.
mixture_dots  : one metric over setups, with intervals over mixtures and a dot a mixture.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tmp_utils.figures.look import GREY, INK, faded, method_colour, setup_label, styled
from tmp_utils.figures.sound import mel_axes
from tmp_utils.metrics.intervals import MIN_UNITS, mean_of

MAX_COLUMNS, ROW_PX = 256, 150  # fewer than of one mel, since there are several
MASK_COLOURS = [[0.0, "#0072B2"], [0.5, "#FFFFFF"], [1.0, "#E69F00"]]


def mask_pictures(mel: np.ndarray, masks: Mapping[str, np.ndarray], title: str, note: str = "") -> go.Figure:
    """Return the log-mel (frames, 64) of a mixture and, under it, masks of one sound: orange is its own, blue others'.

    Parameters
    ----------
    masks : a name for each, such as "class nouns" and "ideal".
    """
    names = ["mixture", *masks]
    fig = make_subplots(len(names), 1, shared_xaxes=True, vertical_spacing=0.16 / len(names), subplot_titles=names)
    step = max(1, -(-len(mel) // MAX_COLUMNS))
    time_s = (np.arange(0, len(mel), step) * 0.01).round(2)
    level_db = _thinned(mel, step) * 20 / np.log(10)
    top = float(level_db.max())
    hover = "%{x:.2f} s, mel bin %{y}: %{z:.2f}<extra></extra>"
    look = {"x": time_s, "showscale": False, "hovertemplate": hover}
    fig.add_heatmap(z=level_db.T.round().astype(int), zmin=top - 80, zmax=top, colorscale="Magma", row=1, col=1, **look)
    for row, mask in enumerate(masks.values(), 2):
        shown = _thinned(mask, step).T.round(2)
        fig.add_heatmap(z=shown, zmin=0, zmax=1, colorscale=MASK_COLOURS, row=row, col=1, **look)
    mel_axes(fig)
    for row in range(1, len(names)):
        fig.update_xaxes(title=None, row=row, col=1)
    fig.update_annotations(font_size=13, x=0, xanchor="left")
    return styled(fig, title, note, height=110 + ROW_PX * len(names))


def _thinned(rows: np.ndarray, step: int) -> np.ndarray:
    rows = np.asarray(rows, dtype=np.float64)
    return np.stack([rows[k : k + step].mean(0) for k in range(0, len(rows), step)])


def mixture_dots(table: pd.DataFrame, metric: str, title: str, note: str = "", x_title: str = "") -> go.Figure:
    """Return one row a setup, in the table's order: a dot a mixture, and their mean with its interval.

    The interval is Student's over mixtures; of fewer than three there is none. Sounds and seeds are averaged first.
    """
    rows = table[table["metric"] == metric]
    if rows.empty:
        raise ValueError(f"no rows of {metric!r}; the table has {sorted(table['metric'].unique())}.")
    fig, labels = go.Figure(), []
    for (method, setup), group in rows.groupby(["method", "setup"], sort=False):
        values = group.groupby(["mixture", "seed"])["value"].mean().groupby("mixture").mean()
        label = setup_label(method, setup)
        colour = method_colour(method)
        fig.add_scatter(
            x=values,
            y=[label] * len(values),
            mode="markers",
            marker={"color": faded(colour, 0.35), "size": 7},
            text=values.index,
            hovertemplate=f"%{{text}}: %{{x:.2f}} {label}<extra></extra>",
        )
        mean, bar = mean_of(values), {}
        if len(values) >= MIN_UNITS:
            bar = {"array": [mean.ci_high - mean.value], "arrayminus": [mean.value - mean.ci_low], "thickness": 2}
        fig.add_scatter(
            x=[mean.value],
            y=[label],
            error_x=bar or None,
            mode="markers",
            marker={"color": colour if colour != GREY else INK, "size": 11, "symbol": "diamond"},
            hovertemplate=f"mean %{{x:.2f}} of {len(values)} {label}<extra></extra>",
        )
        labels.append(label)
    fig.update_yaxes(categoryorder="array", categoryarray=labels[::-1])
    fig.update_xaxes(title=x_title or metric)
    return styled(fig, title, note, height=150 + 38 * len(labels)).update_layout(showlegend=False)
