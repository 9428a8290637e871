"""The look that all figures share, and how they are saved.

Conventions: colours are Okabe and Ito's, safe for colour-blind readers; Textual Inversion is orange as in the
paper, DreamBooth blue. Figures are plotly figures, saved as JSON: no browser is needed to write or read them.

METHOD_COLOURS, METHOD_SYMBOLS : one colour and one symbol for each method, the same in every figure.
setups_in_order, setup_label : setups in the paper's order, and their names.
styled         : title, note and template onto a figure.
save_figure    : a figure to a file, whole or not at all.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from tmp_utils.files import write_text
from tmp_utils.metrics.table import REFERENCE, UNTRAINED

ORANGE, BLUE = "#E69F00", "#0072B2"
GREEN, SKY, PINK, VERMILION, GREY = "#009E73", "#56B4E9", "#CC79A7", "#D55E00", "#8A8F98"
# The order in which methods and setups stand in every figure, as in the paper's Table 1.
METHOD_ORDER = ("DB", "TI", "DB-LoRA", "DB-CD", "DB-SV", "TI-DB")
SETUP_ORDER = ("BL", "1-AC", "3-AC", "MW", "TE", "MIX", "BL-PP", "1-AC-PP", "3-AC-PP", "TE-PP", "MIX-PP")
METHOD_COLOURS = {"TI": ORANGE, "DB": BLUE, "DB-LoRA": SKY, "DB-CD": GREEN, "DB-SV": PINK, "TI-DB": VERMILION}
METHOD_SYMBOLS = dict(zip(METHOD_ORDER, ("circle", "diamond", "square", "cross", "triangle-up", "star"), strict=True))
INK, FAINT = "#22262B", "#E6E8EB"
FONT = "system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"
LINE_PX = 18  # height of a line of the note under a title

AXIS = {"gridcolor": FAINT, "linecolor": GREY, "ticks": "outside", "zeroline": False, "automargin": True}
TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 14, "color": INK},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "colorway": [BLUE, ORANGE, GREEN, PINK, SKY, VERMILION, GREY],
        "hoverlabel": {"font": {"family": FONT, "size": 13}, "bgcolor": "white"},
        "xaxis": AXIS,
        "yaxis": AXIS,
        "title": {"font": {"size": 18}, "x": 0.0, "xref": "paper", "xanchor": "left", "yanchor": "top"},
    }
)


def method_colour(method: str) -> str:
    """Return the colour of a method; grey for one without a colour."""
    return METHOD_COLOURS.get(method, GREY)


def in_order(method: str, setup: str) -> tuple:
    """Return a sort key that puts setups in the order of the paper's Table 1, others after them by name."""

    def place(name: str, order: tuple[str, ...]) -> tuple[int, str]:
        return (order.index(name) if name in order else len(order), name)

    return place(method, METHOD_ORDER), place(setup, SETUP_ORDER)


def setups_in_order(setups: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the distinct (method, setup) pairs in the order of the paper's Table 1."""
    return sorted(set(setups), key=lambda setup: in_order(*setup))


def setup_label(method: str, setup: str) -> str:
    """Return what a setup is called in figures, tables and sentences: "DB MIX", and of the references "codec"."""
    if method == UNTRAINED:
        return UNTRAINED
    return (setup or method) if method == REFERENCE else f"{method} {setup}"


def faded(colour: str, alpha: float) -> str:
    """Return ``#rrggbb`` as an rgba string with the given opacity in [0, 1]."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def band(table: pd.DataFrame, x: str, colour: str, alpha: float) -> go.Scatter:
    """Return the band between ci_low and ci_high of a table, over its column `x`."""
    there, low, high = (table[name].tolist() for name in (x, "ci_low", "ci_high"))
    shade = {"fill": "toself", "fillcolor": faded(colour, alpha), "line_width": 0, "hoverinfo": "skip"}
    return go.Scatter(x=there + there[::-1], y=high + low[::-1], mode="lines", showlegend=False, **shade)


def styled(fig: go.Figure, title: str, note: str = "", *, height: int = 420, heads_px: int = 0) -> go.Figure:
    """Give a figure its title, a smaller note under it, room for the panels' own heads, and the common look."""
    lines = note.count("<br>") + 1 if note else 0
    text = title + (f"<br><span style='font-size:13px;color:#5B616A'>{note}</span>" if note else "")
    top = heads_px + (54 + LINE_PX * lines if (title or note) else 20)
    fig.update_layout(
        template=TEMPLATE,
        title={"text": text, "y": 1 - 18 / height},
        margin={"l": 70, "r": 30, "t": top, "b": 60},
        height=height,
    )
    return fig


def save_figure(fig: go.Figure, folder: str | Path, name: str) -> Path:
    """Write ``folder/name.json`` (plotly JSON), whole or not at all, and return its path.

    ``plotly.io.read_json`` reads it back. The folder is made if need be.
    """
    if not name or Path(name).name != name:
        raise ValueError(f"figure name {name!r}: expected a plain name like 'learning_path', without folders.")
    content, folder = fig.to_json(), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return write_text(folder / f"{name}.json", content)
