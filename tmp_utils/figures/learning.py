"""Pictures of learning: what a training gains and loses on its way."""

import pandas as pd
import plotly.graph_objects as go

from tmp_utils.figures.look import GREEN, PINK, faded, styled
from tmp_utils.figures.study import noted

# Neither is a method's, since both are of one method.
LINES = {"clap_a": ("CLAP-A: like the concept", GREEN), "clap_t": ("CLAP-T: like the prompt", PINK)}


def learning_path(path: pd.DataFrame, title: str = "Learning and forgetting", note: str = "") -> go.Figure:
    """Return CLAP-A and CLAP-T over optimisation steps with 95 % bands.

    Parameters
    ----------
    path : pandas.DataFrame
        From ``overfitting.learning_path``.
    """
    fig = go.Figure()
    for metric, (name, colour) in LINES.items():
        rows = path[path["metric"] == metric].sort_values("step")
        band_x = [*rows["step"], *rows["step"][::-1]]
        band_y = [*rows["ci_high"], *rows["ci_low"][::-1]]
        fig.add_scatter(
            x=band_x,
            y=band_y,
            mode="lines",
            fill="toself",
            fillcolor=faded(colour, 0.18),
            line_width=0,
            hoverinfo="skip",
        )
        fig.data[-1].showlegend = False
        fig.add_scatter(x=rows["step"], y=rows["value"], mode="lines+markers", name=name, line={"color": colour})
    fig.update_xaxes(title="Optimisation step (0: untrained, asked for the class noun)")
    fig.update_yaxes(title="Cosine by the judge")
    counts = path.groupby("metric")["n"].max()
    about = f"{counts['clap_a']} clips for CLAP-A and {counts['clap_t']} for CLAP-T a stop; bands are 95 % intervals"
    return styled(fig, title, noted(note, about))
