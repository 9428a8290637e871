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

import numpy as np
import pandas as pd
import soundfile

from tmp_utils.figures import mel_spectrogram, waveform
from tmp_utils.inputs.audio import CLIP_S, RATE_HZ, load_clip, loudness_lufs
from tmp_utils.inputs.concepts import Concept, list_concepts, load_concept
from tmp_utils.metrics.table import WHOLE_RUN
from tmp_utils.runs.folder import read_manifest
from tmp_utils.runs.place import Place
from tmp_utils.runs.sweep import MEASURES

MIME = {".wav": "audio/wav", ".flac": "audio/flac", ".ogg": "audio/ogg", ".mp3": "audio/mpeg"}
MAX_BYTES = 1_000_000
CLIPS_SHOWN = 4  # of a prompt, and of the concept's own: all are in the page
RECONSTRUCTION = "reconstruction"
Own = Collection[str | Path | Concept]  # concepts that are in no catalogue: folders of recordings, or loaded ones
ASKED_FOR = {RECONSTRUCTION: ("clap_a", "nearest_training", "tempo_agreement", "key_agreement")}


def run_clips(place: Place) -> pd.DataFrame:
    """Return concept, method, setup, seed, prompt_id, kind, prompt, index, path: one row a clip that a run lists.

    Raises
    ------
    FileNotFoundError
        If no finished run lists a clip.
    """
    tables = []
    for folder in place.runs():
        listing = folder / "clips" / "clips.csv"
        if listing.is_file():
            asked = read_manifest(folder)["parameters"]
            names = {name: asked[name] for name in ("concept", "method", "setup", "seed")}
            table = pd.read_csv(listing)[["prompt_id", "kind", "prompt", "index", "file"]]
            tables.append(table.assign(**names, path=[listing.parent / file for file in table["file"]]))
    if not tables:
        raise FileNotFoundError(f"no clips in the runs below {place.folder}.")
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


def table_browser(place: Place, results: pd.DataFrame, own_concepts: Own = ()):
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

    clips = run_clips(place)
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


def clip_facts(clip: np.ndarray, concept: Concept) -> str:
    """Say a clip's duration, level, tempo and key, leaving out what its concept gives no meaning to.

    Parameters
    ----------
    clip : float32 (n,) at 16 kHz.
    """
    from tmp_utils.metrics import music

    facts = [f"{len(clip) / RATE_HZ:.1f} s", f"{loudness_lufs(clip):.1f} LUFS"]
    if concept.tempo_constant:
        facts.append(f"{music.tempo_bpm(clip, RATE_HZ):.0f} BPM")
    if concept.harmonic:
        key, scale, strength = music.key_and_scale(clip, RATE_HZ)
        facts.append(f"{key} {scale} (strength {strength:.2f})" if key else "no key")
    return ", ".join(facts)


def clip_browser(names: Sequence[str] | None = None, concept: str | None = None):
    """Make a browser of concepts and their clips.

    Parameters
    ----------
    names : what `load_concept` takes; None is every shipped stand-in.
    concept : which to show first; None is the first.

    Returns
    -------
    ipywidgets.VBox : two menus, and below them what they choose.
    """
    import ipywidgets as widgets

    names = list(names or list_concepts())
    concept_menu = widgets.Dropdown(options=names, value=concept or names[0], description="concept")
    clip_menu = widgets.Dropdown(description="clip")
    below = widgets.Output()

    def show(_):
        below.clear_output(wait=True)
        with below:
            _show_clip(load_concept(concept_menu.value), clip_menu.value)

    def fill(_=None):
        clip_menu.options = [(path.stem, path) for path in load_concept(concept_menu.value).clips]
        clip_menu.index = 0  # the menu's first options leave it at none; later ones at the first already

    clip_menu.observe(show, "value")
    concept_menu.observe(fill, "value")
    fill()
    return widgets.VBox([widgets.HBox([concept_menu, clip_menu]), below])


def _show_clip(concept: Concept, path: Path) -> None:
    from IPython.display import Audio, display

    clip = load_clip(path)
    origin = "rendered stand-in" if concept.stand_in else "recording"
    display(Audio(filename=str(path)))
    print(f"{concept.name} ({concept.class_noun}, {origin}): {clip_facts(clip, concept)}")
    display(waveform(clip, RATE_HZ, title=path.stem, note=origin))
    display(mel_spectrogram(clip, title="Its mel spectrogram", note=origin))


def strength_browser(curves: pd.DataFrame):
    """Make a slider over strengths that were computed before, with menus for source and method.

    Parameters
    ----------
    curves : of `read_curves`; the first seed of each source and method is heard.

    Returns
    -------
    ipywidgets.VBox : slider and menus; below them player, measures and mel spectrogram.
    """
    import ipywidgets as widgets

    source = widgets.Dropdown(options=list(dict.fromkeys(curves["source"])), description="source")
    method = widgets.Dropdown(options=list(dict.fromkeys(curves["transfer"])), description="method")
    strengths = sorted(curves["strength"].unique())
    options = [(f"{strength:.2f}", strength) for strength in strengths]
    slider = widgets.SelectionSlider(options=options, index=len(options) // 2, description="strength")
    below = widgets.Output()

    def show(_=None):
        below.clear_output(wait=True)
        keys = (("source", source.value), ("transfer", method.value), ("strength", slider.value))
        with below:
            _show(curves.loc[np.logical_and.reduce([curves[key] == value for key, value in keys])].iloc[0])

    for widget in (source, method, slider):
        widget.observe(show, "value")
    show()
    return widgets.VBox([widgets.HBox([source, method]), slider, below])


def _show(row: pd.Series) -> None:
    from IPython.display import Audio, display

    from tmp_utils.figures import mel_spectrogram

    display(Audio(filename=row["file"]))
    print(", ".join(f"{name.replace('_', ' ')} {row[name]:.2f}" for name in MEASURES))
    display(
        mel_spectrogram(load_clip(row["file"]), f"{row['source']}, {row['transfer']}, strength {row['strength']:.2f}")
    )
