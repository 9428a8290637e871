"""Figures and players for a page that loads nothing.

Conventions: the page draws a chart when it is first seen (`page.js`), from plotly.js and the chart's JSON, both on the
page. Words leave the plot and become the page's own text. Everything returned is plain text; the template escapes it.
"""

import base64
import gzip
import io
import re
from functools import cache
from html import escape
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import soundfile
from plotly.offline import get_plotlyjs

from tmp_utils.inputs.audio import CLIP_S, PLAYED_SUFFIX, RATE_HZ, load_clip

TAGS = re.compile(r"</?(?:b|i|em|sup|sub|span)\b[^>]*>")  # plotly's own markup; "<sitar>" is a word
LEGEND = {"orientation": "h", "x": 0, "xanchor": "left", "yanchor": "bottom", "title": None}
LINE_PX, SIDE_PX, AXIS_PX = 22, 12, 12  # axes take more where their labels need it (automargin)


@cache
def plotly_source() -> str:
    """Return plotly.js, compressed with gzip, as base64."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


def page_figure(fig: go.Figure, caption: str, height_px: int | None = None) -> dict:
    """Return a chart's title, caption, note, height_px and JSON.

    Parameters
    ----------
    height_px : of the plot; by default the figure's own, less the words that are taken out of it.
    """
    title, _, note = (fig.layout.title.text or "").partition("<br>")
    heads = [note for note in fig.layout.annotations if (note.yref, note.y, note.yanchor) == ("paper", 1, "bottom")]
    headed = max((1 + bool(note.yshift) for note in heads), default=0)  # lines of labels above the plot
    named = (
        any(trace.name and trace.showlegend is not False for trace in fig.data) and fig.layout.showlegend is not False
    )
    top_px = LINE_PX * (1 + named + headed) - SIDE_PX // 2
    height_px = height_px or (fig.layout.height or 450) - max(0, (fig.layout.margin.t or top_px) - top_px)
    margin = {"t": top_px, "l": SIDE_PX, "r": SIDE_PX, "b": SIDE_PX}
    plot = go.Figure(fig).update_layout(title=None, margin=margin, width=None, height=height_px, dragmode=False)
    plot.update_layout(legend=LEGEND | {"y": 1 + (LINE_PX * headed + 4) / (height_px - top_px)})
    plot.update_xaxes(title_font_size=AXIS_PX, tickfont_size=AXIS_PX)
    plot.update_yaxes(title_font_size=AXIS_PX, tickfont_size=AXIS_PX)
    content = plot.to_json().replace("<", "\\u003c")  # nothing in it ends the script element that holds it
    return {"title": plain(title), "caption": caption, "note": plain(note), "height_px": height_px, "json": content}


def plain(text: str) -> str:
    """Return plotly's marked-up text as plain text on one line."""
    lines = [TAGS.sub("", line) for line in text.split("<br>") if line]
    return "; ".join(lines).replace(".; ", ". ")


def sound_data(sound: str | Path | np.ndarray, duration_s: float = CLIP_S) -> str:
    """Return a clip as a data URI in Ogg Vorbis, mono, at 16 kHz.

    Parameters
    ----------
    sound : a file, or samples (n,) at 16 kHz.
    duration_s : how much is taken of it, from its beginning.

    Raises
    ------
    FileNotFoundError, ValueError : there is no such file, or it cannot be used; the message names it.
    """
    path = None if isinstance(sound, np.ndarray) else Path(sound)
    clip = sound[: round(duration_s * RATE_HZ)] if path is None else load_clip(path, duration_s=duration_s)
    if path and _is_played_as_it_is(path, duration_s):
        content = path.read_bytes()
    else:
        ogg = io.BytesIO()
        soundfile.write(ogg, clip.clip(-1, 1), RATE_HZ, format="OGG", subtype="VORBIS")
        content = ogg.getvalue()
    return f"data:audio/ogg;base64,{base64.b64encode(content).decode()}"


def _is_played_as_it_is(path: Path, duration_s: float) -> bool:
    """Whether a file is already what a player holds, so that coding it again would only take from it."""
    if path.suffix != PLAYED_SUFFIX:
        return False
    info = soundfile.info(path)
    return (info.subtype, info.samplerate, info.channels) == ("VORBIS", RATE_HZ, 1) and info.duration <= duration_s


def audio_element(sound: str | Path | np.ndarray, label: str, duration_s: float = CLIP_S) -> str:
    """Return an `<audio>` element that holds the clip; `label` is what a screen reader says. Raises as `sound_data`."""
    attributes = f"preload='none' aria-label='{escape(label)}' style='width:16em;height:2.2em'"
    return f"<audio controls {attributes} src='{sound_data(sound, duration_s)}'></audio>"


def play(sound: str | Path | np.ndarray, label: str = "", duration_s: float = CLIP_S):
    """Return a player to show in a notebook: a fraction of the size of IPython's, whose clips are WAV.

    Parameters
    ----------
    sound, label, duration_s : as of `audio_element`; a file's own name is its label by default.

    Returns
    -------
    IPython.display.HTML
    """
    from IPython.display import HTML

    label = label or ("clip" if isinstance(sound, np.ndarray) else Path(sound).stem)
    return HTML(audio_element(sound, label, duration_s))
