"""Figures on a page that is read at any width: words as the page's own text, the plot without them.

Conventions: HTML that loads nothing; plotly.js is expected on the page once (`plotly_script`). Text is escaped.

page_figure   : figure + caption -> `<figure>`.
plotly_script : plotly.js itself.
"""

import html
import re
from pathlib import Path

import plotly.graph_objects as go
import plotly.io
from plotly.offline import get_plotlyjs

TAGS = re.compile(r"</?(?:b|i|em|sup|sub|span)\b[^>]*>")  # of plotly's own markup; "<sitar>" is a word
CONFIG = {"responsive": True, "displayModeBar": False, "scrollZoom": False}
LEGEND = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "title": None}
FITTING = Path(__file__).with_suffix(".js")  # fits plots to the page's width
TOP_PX, SIDE_PX, AXIS_PX = 34, 12, 12  # axes take more where their labels need it (automargin)


def plotly_script() -> str:
    """Return plotly.js in a `<script>`, and what fits plots to the page's width."""
    return f"<script>{get_plotlyjs()}</script><script>{FITTING.read_text(encoding='utf-8')}</script>"


def page_figure(fig: go.Figure, caption: str, height_px: int | None = None) -> str:
    """Return a `<figure>`: title, plot, what one sees, and the note that stood under the title.

    Parameters
    ----------
    height_px : of the plot; the figure's own, less the words that are taken out of it, if None.
    """
    title, _, note = (fig.layout.title.text or "").partition("<br>")
    top_px = fig.layout.margin.t or TOP_PX
    margin = {"t": TOP_PX, "l": SIDE_PX, "r": SIDE_PX, "b": SIDE_PX}
    height_px = height_px or (fig.layout.height or 450) - max(0, top_px - TOP_PX)
    plot = go.Figure(fig).update_layout(
        title=None, margin=margin, width=None, height=height_px, legend=LEGEND, dragmode=False
    )
    plot.update_xaxes(title_font_size=AXIS_PX, tickfont_size=AXIS_PX)
    plot.update_yaxes(title_font_size=AXIS_PX, tickfont_size=AXIS_PX)
    shown = plotly.io.to_html(plot, full_html=False, include_plotlyjs=False, config=CONFIG)
    return (
        f"<figure><h4>{plain(title)}</h4>{shown}<figcaption>{html.escape(caption)} "
        f"<span class='quiet'>{plain(note)}</span></figcaption></figure>"
    )


def plain(text: str) -> str:
    """Return plotly's marked-up text as escaped text, its lines joined."""
    lines = [TAGS.sub("", line) for line in text.split("<br>") if line]
    return html.escape("; ".join(lines).replace(".; ", ". "))
