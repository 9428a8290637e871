"""A slider that makes the clip it plays.

Conventions: the player stands in an HTML widget, and what a slider makes is kept in a folder. Without a kernel the
slider stays where it is, so a notebook also shows players for a few strengths. Works with ipywidgets 7 and 8.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from tmp_utils.findings.listen import player
from tmp_utils.inputs.audio import save_clip
from tmp_utils.model.tensors import MAX_STRENGTH

STEP = 0.05


def strength_slider(make: Callable[[float], np.ndarray], folder: str | Path, made: Mapping[float, Path] | None = None):
    """Make a slider over strengths; a clip is generated when it is first needed.

    Parameters
    ----------
    make : strength -> clip, float32 (n,) at 16 kHz.
    folder : where clips go, as `strength-0.50.wav`.
    made : clips that exist, by strength.

    Returns
    -------
    ipywidgets.VBox : the slider, and below it the player.
    """
    import ipywidgets as widgets

    files, folder = dict(made or {}), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    slider = widgets.FloatSlider(
        value=1.0, min=0, max=MAX_STRENGTH, step=STEP, description="strength", continuous_update=False
    )
    output = widgets.HTML()

    def show(_=None):
        strength = round(slider.value, 2)
        if strength not in files:
            output.value = "<p>generating …</p>"
            files[strength] = save_clip(folder / f"strength-{strength:.2f}.wav", make(strength))
        output.value = player(files[strength], label=f"strength {strength:.2f}")

    slider.observe(show, "value")
    show()
    return widgets.VBox([slider, output])
