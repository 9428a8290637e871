"""Pictures of style transfer over strength, with intervals over sources and seeds.

Conventions: strengths are in [0, 1]. Tables of curves have one row a point: curve, strength, value, ci_low,
ci_high, and possibly measure; `preservation.mean_curve` makes them.

strength_curves : one line for each curve with its band; colours are curves, dashes are measures.
mark_landmarks  : crossing point and sweet spot, ours and the paper's, onto such a figure.
trade_off       : similarity to the concept against similarity to the source, one path for each method.
"""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from tmp_utils.figures.look import BLUE, GREEN, GREY, INK, ORANGE, PINK, SKY, VERMILION, band, faded, styled

PALETTE = (GREEN, PINK, VERMILION, SKY, BLUE, ORANGE)  # the methods' colours come last, since curves are not methods
DASHES = ("solid", "dot", "dash")
LABELLED = (0.2, 0.5, 0.8)  # strengths whose points on a path are labelled
PAPERS_RANGE = (0.4, 0.6)  # paper, section 4, read off its Figure 4


def strength_curves(
    table: pd.DataFrame, title: str, note: str = "", y_title: str = "Audio similarity (cosine)"
) -> go.Figure:
    """Return curves over strength, with bands where there are intervals.

    Parameters
    ----------
    table : curve, strength, value, ci_low, ci_high; with a column measure, each pair of curve and measure is a line.
    """
    if missing := {"curve", "strength", "value", "ci_low", "ci_high"} - set(table.columns):
        raise ValueError(f"columns {sorted(missing)} are missing; the table has {list(table.columns)}.")
    keys = ["curve", "measure"] if "measure" in table else ["curve"]
    names = {key: list(dict.fromkeys(table[key])) for key in keys}
    fig = go.Figure()
    for key, points in table.groupby(keys, sort=False):
        colour = PALETTE[names["curve"].index(key[0]) % len(PALETTE)]
        dash = DASHES[names["measure"].index(key[1]) % len(DASHES)] if len(key) > 1 else "solid"
        points, label = points.sort_values("strength"), ", ".join(key)
        if np.isfinite(points["ci_low"]).all():
            fig.add_trace(band(points, "strength", colour, 0.15))
        fig.add_scatter(
            x=points["strength"],
            y=points["value"],
            name=label,
            mode="lines+markers",
            line={"color": colour, "width": 2.5, "dash": dash},
            hovertemplate=f"strength %{{x:.2f}}: %{{y:.3f}} {label}<extra></extra>",
        )
    fig.update_xaxes(title="Transfer strength", range=[-0.02, 1.02])
    fig.update_yaxes(title=y_title)
    return styled(fig, title, note, height=460).update_layout(legend={"x": 1.01, "y": 1}, margin_r=190)


def mark_landmarks(fig: go.Figure, landmarks: pd.DataFrame) -> go.Figure:
    """Shade the sweet spot, ours and the paper's, and draw the crossing point, where they are defined.

    Parameters
    ----------
    landmarks : of `preservation.landmarks`: index crossing, best, low, high; column value.
    """
    value = landmarks["value"]
    ranges = [
        (PAPERS_RANGE, "in the paper", GREY, "bottom", 0.12),
        ((value["low"], value["high"]), "here", GREEN, "top", 0.10),
    ]
    for (low, high), place_name, colour, side, alpha in ranges:
        if np.isnan(low):
            continue
        fig.add_vrect(low, high, fillcolor=faded(colour, alpha), line_width=0, layer="below")
        text = f"sweet spot {place_name}: {low:.2f}–{high:.2f}"
        place = {"yref": "paper", "y": float(side == "top"), "yanchor": side, "bgcolor": "rgba(255,255,255,0.8)"}
        fig.add_annotation(x=(low + high) / 2, text=text, showarrow=False, font={"size": 12}, **place)
    if not np.isnan(value["crossing"]):
        fig.add_vline(value["crossing"], line={"color": INK, "dash": "dash", "width": 1.5})
        text = f"crossing {value['crossing']:.2f}"
        side = {"xanchor": "right", "xshift": -5} if value["crossing"] > 0.5 else {"xanchor": "left", "xshift": 5}
        place = {"yref": "paper", "y": 0.92, **side}
        fig.add_annotation(x=value["crossing"], text=text, showarrow=False, font={"size": 12}, **place)
    return fig


def trade_off(curves: pd.DataFrame, title: str, note: str = "") -> go.Figure:
    """Return, for each transfer method, the path of its mean similarities from strength 0 to 1.

    Parameters
    ----------
    curves : transfer, strength, source_similarity, target_similarity; one row a clip. Further up and to the right is
        better: closer to the concept at equal similarity to the source.
    """
    means = curves.groupby(["transfer", "strength"], sort=False)[["source_similarity", "target_similarity"]].mean()
    fig = go.Figure()
    for k, name in enumerate(dict.fromkeys(curves["transfer"])):
        path = means.loc[name].sort_index()
        fig.add_scatter(
            x=path["source_similarity"],
            y=path["target_similarity"],
            name=name,
            mode="lines+markers+text",
            text=[f"{strength:g}" if round(strength, 6) in LABELLED else "" for strength in path.index],
            textposition="top right",
            textfont={"size": 11},
            line={"color": PALETTE[k % len(PALETTE)], "width": 2.5},
            customdata=path.index,
            hovertemplate=f"{name}, strength %{{customdata:.2f}}: %{{x:.3f}} to the source, %{{y:.3f}} to the concept"
            "<extra></extra>",
        )
    fig.update_xaxes(title="Audio similarity to the source (cosine)")
    fig.update_yaxes(title="Audio similarity to the concept (cosine)")
    return styled(fig, title, note, height=460).update_layout(legend={"x": 1.01, "y": 1}, margin_r=170)
