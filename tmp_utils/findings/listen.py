"""Players for the clips behind the results table.

Conventions: a player is an `<audio>` element that holds its clip as Ogg Vorbis, in one HTML widget (or object), so that
an executed notebook still plays without a kernel. Levels stay as they were generated. A clip that is missing, or not
as its run recorded it, is named with the remedy instead of played. Works with ipywidgets 7 and 8.
"""

from collections.abc import Collection, Sequence
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from tmp_utils.figures import mel_spectrogram, waveform
from tmp_utils.figures.look import setup_label
from tmp_utils.files import below
from tmp_utils.findings.page import audio_element, play
from tmp_utils.inputs.audio import CLIP_S, RATE_HZ, load_clip, loudness_lufs
from tmp_utils.inputs.concepts import Concept, list_concepts, load_concept
from tmp_utils.inputs.prompts import RECONSTRUCTION
from tmp_utils.metrics.names import short_name
from tmp_utils.metrics.table import WHOLE_RUN
from tmp_utils.runs.clips import CLIPS, LISTING, read_listing
from tmp_utils.runs.integrity import check_files, damages, read_manifest
from tmp_utils.runs.place import Place
from tmp_utils.runs.sweep import MEASURES

CLIPS_SHOWN = 4  # of a prompt, and of the concept
RUN, LISTED = ["concept", "method", "setup", "seed"], ["prompt_id", "kind", "prompt", "index"]
Recordings = Collection[str | Path | Concept]  # concepts outside the catalogue: folders of recordings, or loaded ones
RECONSTRUCTION_METRICS = ("clap_a", "nearest_training", "tempo_agreement", "key_agreement")


def run_clips(place: Place) -> pd.DataFrame:
    """Return one row for each clip of the finished runs.

    Returns
    -------
    concept, method, setup, seed, prompt_id, kind, prompt, index, path, damage: what is wrong with the file, or "".

    Raises
    ------
    FileNotFoundError : no finished run lists a clip.
    ValueError : a run's clips.csv is not as it was written.
    """
    tables = []
    for folder in place.runs():
        if (folder / LISTING).is_file():
            table, parameters = read_listing(folder), read_manifest(folder)["parameters"]
            names = [f"{CLIPS}/{file}" for file in table["file"]]
            damaged = damages(folder, *names)
            files = {"path": [below(folder, name) for name in names], "damage": [damaged.get(n, "") for n in names]}
            tables.append(table[LISTED].assign(**{name: parameters[name] for name in RUN}, **files))
    if not tables:
        raise FileNotFoundError(f"no clips in the runs below {place.folder}.")
    return pd.concat(tables, ignore_index=True)[[*RUN, *LISTED, "path", "damage"]]


def find_concept(name: str, recordings: Recordings = ()) -> Concept | None:
    """Return a concept of the runs; None where a folder of recordings is not named in `recordings`."""
    known = {each.name: each for each in (r if isinstance(r, Concept) else load_concept(r) for r in recordings)}
    try:
        return known.get(name) or load_concept(name)
    except FileNotFoundError:
        return None


def concept_clips(concept: str, recordings: Recordings = ()) -> tuple[Path, ...]:
    """Return the paths of a concept's clips; none where `find_concept` finds none."""
    found = find_concept(concept, recordings)
    return found.clips if found else ()


def player(path: str | Path, damage: str = "", label: str = "", duration_s: float = CLIP_S) -> str:
    """Return an `<audio>` element that holds the clip's beginning, or what is wrong with the file."""
    path = Path(path)
    if not path.is_file():
        return f"<em>{escape(path.name)} is missing</em>"
    if damage:
        return f"<em>{escape(f'{path.name} is damaged ({damage}); run the notebook that made it again')}</em>"
    try:
        return audio_element(path, label or path.stem, duration_s)
    except ValueError as error:
        return f"<em>{escape(str(error))}</em>"


def _line(label: str, sounds: Sequence[str]) -> str:
    left = "<td style='text-align:left'>"
    return f"<tr>{left}{escape(label)}</td>{left}{''.join(sounds)}</td></tr>"


def _players(clips: pd.DataFrame, duration_s: float = CLIP_S) -> list[str]:
    return [player(row.path, row.damage, "", duration_s) for row in clips.head(CLIPS_SHOWN).itertuples()]


def players(clips: pd.DataFrame, prompt_id: str = RECONSTRUCTION, own_concepts: Recordings = (), duration_s=CLIP_S):
    """Return a static table: for each concept its first clip, then one clip of every setup for a prompt.

    Parameters
    ----------
    clips : of `run_clips`, or a part of it.
    own_concepts : concepts that are not in the catalogue.
    duration_s : how much of each clip is played; an executed notebook holds them all.

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
        first = [player(path, "", "", duration_s) for path in concept_clips(concept, own_concepts)[:1]]
        lines.append(_line(f"{concept}: the concept", first))
        for (method, setup), part in group.groupby(["method", "setup"], sort=False):
            lines.append(_line(f"{concept}: {setup_label(method, setup)}", _players(part.head(1), duration_s)))
    return HTML(f"<table>{''.join(lines)}</table>")


def scores(results: pd.DataFrame, clip: pd.Series) -> str:
    """Return in words the scores of a clip's run and prompt."""
    run = results[np.logical_and.reduce([results[name] == clip[name] for name in RUN])]
    if clip["kind"] == RECONSTRUCTION:
        rows = run[run["metric"].isin(RECONSTRUCTION_METRICS) & (run["prompt"] == WHOLE_RUN)]
    else:
        rows = run[(run["metric"] == "clap_t") & (run["prompt"] == clip["prompt_id"])]
    texts = [
        f"{short_name(row.metric)} {row.value:.3f} (n = {row.n:.0f})"
        if row.status == "ok"
        else f"{short_name(row.metric)} failed: {row.note}"
        for row in rows.itertuples()
    ]
    return "; ".join(texts) or "the table has no scores for this choice"


def cell_html(clips: pd.DataFrame, results: pd.DataFrame, own_concepts: Recordings = ()) -> str:
    """Return what `table_browser` shows for one choice; `clips` are the rows of one run and prompt."""
    first = clips.iloc[0]
    words = f"<p><b>{escape(str(first['prompt']))}</b><br>{escape(scores(results, first))}</p>"
    concept = _line("the concept", list(map(player, concept_clips(first["concept"], own_concepts)[:2])))
    return f"{words}<table>{concept}{_line('generated', _players(clips.sort_values('index')))}</table>"


def table_browser(place: Place, results: pd.DataFrame, own_concepts: Recordings = ()):
    """Make menus to listen to any cell of the results table.

    Parameters
    ----------
    results : the results table, for the scores beside the players.

    Returns
    -------
    ipywidgets.VBox : menus for concept, setup, seed and prompt, and an HTML widget with the clips.
    """
    import ipywidgets as widgets

    clips = run_clips(place).assign(run=lambda table: table["method"] + " " + table["setup"].astype(str))
    columns = {"concept": "concept", "run": "setup", "seed": "seed", "prompt_id": "prompt"}
    menus = {name: widgets.Dropdown(description=label) for name, label in columns.items()}
    output = widgets.HTML()

    def selected(names: Sequence[str]) -> pd.DataFrame:
        rows = clips
        for name in names:
            rows = rows[rows[name] == menus[name].value]
        return rows

    def fill(*_):
        """Give each menu the options that the menus before it leave; a choice that is still possible stays."""
        for k, (name, menu) in enumerate(menus.items()):
            options = list(dict.fromkeys(selected(list(menus)[:k])[name]))
            choice = menu.value if menu.value in options else options[0]
            if list(menu.options) != options:
                menu.options = options
            menu.value = choice
        output.value = cell_html(selected(list(menus)), results, own_concepts)

    fill()
    for menu in menus.values():
        menu.observe(fill, "value")
    return widgets.VBox([widgets.HBox(list(menus.values())), output])


def clip_facts(clip: np.ndarray, concept: Concept) -> str:
    """Return a clip's duration and level; its tempo and key only where the concept has a constant tempo, or harmony.

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
    names : as `load_concept` takes them; None is every shipped concept.
    concept : which to show first; None is the first.

    Returns
    -------
    ipywidgets.VBox : two menus, and below them the chosen clip.
    """
    import ipywidgets as widgets

    names = list(names or list_concepts())
    concept_menu = widgets.Dropdown(options=names, value=concept or names[0], description="concept")
    clip_menu = widgets.Dropdown(description="clip")
    output = widgets.Output()

    def show(_):
        output.clear_output(wait=True)
        with output:
            _show_clip(load_concept(concept_menu.value), clip_menu.value)

    def fill(_=None):
        clip_menu.options = [(path.stem, path) for path in load_concept(concept_menu.value).clips]
        clip_menu.index = 0  # a menu's first options leave nothing selected; later ones select the first

    clip_menu.observe(show, "value")
    concept_menu.observe(fill, "value")
    fill()
    return widgets.VBox([widgets.HBox([concept_menu, clip_menu]), output])


def _show_clip(concept: Concept, path: Path) -> None:
    from IPython.display import display

    clip = load_clip(path)
    origin = "rendered stand-in" if concept.stand_in else "recording"
    display(play(path))
    print(f"{concept.name} ({concept.class_noun}, {origin}): {clip_facts(clip, concept)}")
    display(waveform(clip, RATE_HZ, title=path.stem, note=origin))
    display(mel_spectrogram(clip, title="Its mel spectrogram", note=origin))


def strength_browser(curves: pd.DataFrame):
    """Make a slider over strengths that are computed already, with menus for source and method.

    Parameters
    ----------
    curves : of `read_curves`; the first seed of each source and method is played.

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
    output = widgets.Output()

    def show(_=None):
        output.clear_output(wait=True)
        keys = (("source", source.value), ("transfer", method.value), ("strength", slider.value))
        with output:
            _show(curves.loc[np.logical_and.reduce([curves[key] == value for key, value in keys])].iloc[0])

    for widget in (source, method, slider):
        widget.observe(show, "value")
    show()
    return widgets.VBox([widgets.HBox([source, method]), slider, output])


def _show(row: pd.Series) -> None:
    from IPython.display import display

    path = Path(row["file"])
    check_files(path.parents[1], f"{path.parent.name}/{path.name}")
    display(play(path))
    print(", ".join(f"{name.replace('_', ' ')} {row[name]:.2f}" for name in MEASURES))
    title = f"{row['source']}, {row['transfer']}, strength {row['strength']:.2f}"
    display(mel_spectrogram(load_clip(path), title))
