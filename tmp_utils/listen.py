"""Players for the clips behind the results table.

Conventions: a player is an `<audio>` element that holds its clip, in one HTML widget (or object), so that an executed
notebook still plays where no kernel runs. Clips sound as loud as they were made: no player changes a level. Works
with ipywidgets 7 and 8.

run_clips     : every generated clip of every finished run, with its scores.
players       : a static table of chosen clips beside the concept's own.
table_browser : menus for concept, setup, seed and prompt; below them that cell's clips and scores.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Sequence
from html import escape
from pathlib import Path

import pandas as pd
import soundfile

from tmp_utils import runs
from tmp_utils.audio import CLIP_S, RATE_HZ, load_clip
from tmp_utils.concepts import Concept, load_concept
from tmp_utils.metrics import WHOLE_RUN

MIME = {".wav": "audio/wav", ".flac": "audio/flac", ".ogg": "audio/ogg", ".mp3": "audio/mpeg"}
MAX_BYTES = 1_000_000
CLIPS_SHOWN = 4  # of a prompt, and of the concept's own: all are in the page
RECONSTRUCTION = "reconstruction"
Own = Collection[str | Path | Concept]  # concepts that are in no catalogue: folders of recordings, or loaded ones
ASKED_FOR = {RECONSTRUCTION: ("clap_a", "nearest_training", "tempo_agreement", "key_agreement")}


def run_clips(runs_dir: str | Path, profile: str) -> pd.DataFrame:
    """Return concept, method, setup, seed, prompt_id, kind, prompt, index, path: one row a clip that a run lists.

    Raises
    ------
    FileNotFoundError
        If no finished run lists a clip.
    """
    tables = []
    for folder in runs.find_runs(runs_dir, profile):
        listing = folder / "clips" / "clips.csv"
        if listing.is_file():
            asked = runs.read_manifest(folder)["parameters"]
            names = {name: asked[name] for name in ("concept", "method", "setup", "seed")}
            table = pd.read_csv(listing)[["prompt_id", "kind", "prompt", "index", "file"]]
            tables.append(table.assign(**names, path=[listing.parent / file for file in table["file"]]))
    if not tables:
        raise FileNotFoundError(f"no clips in the runs of profile {profile!r} under {runs.resolve_runs_dir(runs_dir)}.")
    columns = ["concept", "method", "setup", "seed", "prompt_id", "kind", "prompt", "index", "path"]
    return pd.concat(tables, ignore_index=True)[columns]


def player(path: str | Path) -> str:
    """Return an `<audio>` element that holds the clip, or words where there is no such file.

    Of a recording that is larger than `MAX_BYTES` it holds what the model hears: the first 10.24 s at 16 kHz.
    """
    path = Path(path)
    if not path.is_file():
        return f"<em>{escape(path.name)} is missing</em>"
    kind, content = MIME[path.suffix.lower()], path.read_bytes()
    if len(content) > MAX_BYTES:
        excerpt = io.BytesIO()
        soundfile.write(excerpt, load_clip(path, duration_s=CLIP_S), RATE_HZ, format="WAV", subtype="PCM_16")
        kind, content = MIME[".wav"], excerpt.getvalue()
    source = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    return f"<audio controls preload='none' style='width:16em;height:2.2em' src='{source}'></audio>"


def _line(label: str, paths: Sequence[Path]) -> str:
    sounds = "".join(player(path) for path in paths[:CLIPS_SHOWN])
    return f"<tr><td style='text-align:left'>{escape(label)}</td><td style='text-align:left'>{sounds}</td></tr>"


def _own_clips(concept: str, own: Own) -> tuple[Path, ...]:
    """Return the concept's own clips; none where a folder of recordings is not named in `own`."""
    concepts = (known if isinstance(known, Concept) else load_concept(known) for known in own)
    folders = {found.name: found.clips for found in concepts}
    if concept in folders:
        return folders[concept]
    try:
        return load_concept(concept).clips
    except FileNotFoundError:
        return ()


def players(clips: pd.DataFrame, prompt_id: str = RECONSTRUCTION, own_concepts: Own = ()):
    """Return a static table: for each concept its own first clip, then one clip of every setup for a prompt.

    Parameters
    ----------
    clips : pandas.DataFrame
        Of `run_clips`, or a part of it.

    Returns
    -------
    IPython.display.HTML
    """
    from IPython.display import HTML

    chosen = clips[clips["prompt_id"] == prompt_id]
    if chosen.empty:
        raise ValueError(f"no clips of prompt {prompt_id!r}; there are {sorted(clips['prompt_id'].unique())}.")
    lines = []
    for concept, group in chosen.groupby("concept", sort=True):
        lines.append(_line(f"{concept}: its own", _own_clips(concept, own_concepts)[:1]))
        for (method, setup), part in group.groupby(["method", "setup"], sort=False):
            lines.append(_line(f"{concept}: {method} {setup}", list(part["path"])[:1]))
    return HTML(f"<table>{''.join(lines)}</table>")


def scores(results: pd.DataFrame, cell: pd.Series) -> str:
    """Return in words what the table says of a clip's run and prompt."""
    run = results
    for name in ("concept", "method", "setup", "seed"):
        run = run[run[name] == cell[name]]
    if cell["kind"] == RECONSTRUCTION:
        rows = run[run["metric"].isin(ASKED_FOR[RECONSTRUCTION]) & (run["prompt"] == WHOLE_RUN)]
    else:
        rows = run[(run["metric"] == "clap_t") & (run["prompt"] == cell["prompt_id"])]
    told = [
        f"{row.metric.replace('_', ' ')} {row.value:.3f} (n = {row.n:.0f})"
        if row.status == "ok"
        else f"{row.metric.replace('_', ' ')} failed: {row.note}"
        for row in rows.itertuples()
    ]
    return "; ".join(told) or "no scores of this cell in the table"


def cell_html(clips: pd.DataFrame, results: pd.DataFrame, own_concepts: Own = ()) -> str:
    """Return what `table_browser` shows of one cell; `clips` are the rows of one run and prompt."""
    first = clips.iloc[0]
    words = f"<p><b>{escape(str(first['prompt']))}</b><br>{escape(scores(results, first))}</p>"
    lines = [_line("the concept's own", _own_clips(first["concept"], own_concepts)[:2])]
    lines.append(_line("generated", list(clips.sort_values("index")["path"])))
    return f"{words}<table>{''.join(lines)}</table>"


def table_browser(runs_dir: str | Path, profile: str, results: pd.DataFrame, own_concepts: Own = ()):
    """Make menus to listen to any cell of the results table.

    Parameters
    ----------
    results : pandas.DataFrame
        The results table, for the scores beside the players.

    Returns
    -------
    ipywidgets.VBox : menus for concept, setup, seed and prompt, and an HTML widget with the clips.
    """
    import ipywidgets as widgets

    clips = run_clips(runs_dir, profile)
    clips["run"] = clips["method"] + " " + clips["setup"].astype(str)
    columns = {"concept": "concept", "run": "setup", "seed": "seed", "prompt_id": "prompt"}
    menus = {name: widgets.Dropdown(description=label) for name, label in columns.items()}
    below = widgets.HTML()

    def narrowed(names: Sequence[str]) -> pd.DataFrame:
        rows = clips
        for name in names:
            rows = rows[rows[name] == menus[name].value]
        return rows

    def fill(*_):
        """Offer in each menu what the ones before it leave, and keep a choice that is still there."""
        for k, (name, menu) in enumerate(menus.items()):
            offered = list(dict.fromkeys(narrowed(list(menus)[:k])[name]))
            kept = menu.value if menu.value in offered else offered[0]
            if list(menu.options) != offered:
                menu.options = offered
            menu.value = kept
        below.value = cell_html(narrowed(list(menus)), results, own_concepts)

    fill()
    for menu in menus.values():
        menu.observe(fill, "value")
    return widgets.VBox([widgets.HBox(list(menus.values())), below])
