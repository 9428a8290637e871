"""Widgets to hear and see a concept's clips in a notebook.

Conventions: plain ipywidgets, as both version 7 and 8 have them. A player never changes a clip's level. Nothing is
read until the browser is made, and then one clip at a time.

clip_browser : choose a concept and a clip; its player, facts, waveform and mel.
clip_facts   : one clip's level, tempo and key in words.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tmp_utils.audio import RATE_HZ, load_clip, loudness_lufs
from tmp_utils.concepts import Concept, list_concepts, load_concept
from tmp_utils.figures import mel_spectrogram, waveform


def clip_facts(clip: np.ndarray, concept: Concept) -> str:
    """Say a clip's duration, level, tempo and key, leaving out what its concept gives no meaning to.

    Parameters
    ----------
    clip : float32 (n,) at 16 kHz.
    """
    from tmp_utils import music

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
