"""Pictures of the pocket model: its training, and how well it follows prompts.

stage_curves  : the validation curve of every stage of training.
prompt_families : CLAP-T of generated, real and mismatched clips for each editability prompt.
"""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tmp_utils.figures.look import BLUE, GREY, ORANGE, styled
from tmp_utils.figures.study import error_bar
from tmp_utils.metrics.names import TITLES

MEASURES = {
    "clap_t_real": ("real clips", GREY, "line-ns-open"),
    "clap_t_generated": ("generated clips", BLUE, "circle"),
    "clap_t_mismatched": ("generated, another prompt", ORANGE, "x"),
}


def stage_curves(curves: pd.DataFrame, title: str = "Training", note: str = "") -> go.Figure:
    """Return one panel for each stage, with its validation measures over steps.

    Parameters
    ----------
    curves : columns stage, step, measure, value.
    """
    stages = list(dict.fromkeys(curves["stage"]))
    fig = make_subplots(1, len(stages), subplot_titles=stages, horizontal_spacing=0.06)
    for column, stage in enumerate(stages, start=1):
        rows = curves[curves["stage"] == stage]
        for measure, line in rows.groupby("measure", sort=False):
            fig.add_scatter(
                x=line["step"], y=line["value"], mode="lines+markers", name=f"{stage}: {measure}", row=1, col=column
            )
        fig.update_xaxes(title="Step", row=1, col=column)
    fig.update_layout(legend={"orientation": "h", "y": -0.25})
    return styled(fig, title, note, height=400, heads_px=26)


def prompt_families(proof: pd.DataFrame, title: str = "Does it follow the prompt?", note: str = "") -> go.Figure:
    """Return CLAP-T of each editability prompt with 95 % intervals, real, generated and mismatched.

    Parameters
    ----------
    proof : from ``pocket.proof.prove``.
    """
    families = proof[proof["family"] != "all"]
    order = list(dict.fromkeys(families["family"]))[::-1]
    fig = go.Figure()
    for measure, (name, colour, symbol) in MEASURES.items():
        rows = families[families["measure"] == measure].set_index("family").reindex(order).dropna(subset=["value"])
        fig.add_scatter(
            x=rows["value"],
            y=rows.index,
            mode="markers",
            name=name,
            marker={"color": colour, "symbol": symbol, "size": 9},
            error_x=error_bar(rows) | {"thickness": 1, "color": colour},
        )
    fig.update_xaxes(title=TITLES["clap_t"])
    fig.update_yaxes(categoryorder="array", categoryarray=order)
    fig.update_layout(legend={"orientation": "h", "y": -0.12})
    return styled(fig, title, note, height=620)
