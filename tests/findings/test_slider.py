"""The slider over strengths generates what it plays, once."""

import numpy as np

from tmp_utils.findings.slider import strength_slider
from tmp_utils.inputs.audio import save_clip


def test_the_slider_makes_a_clip_once_and_plays_what_exists(tmp_path):
    asked, ready = [], save_clip(tmp_path / "after.wav", np.full(16000, 0.1, dtype=np.float32))

    def make(strength):
        asked.append(strength)
        return np.full(16000, (0.5 + strength) / 4, dtype=np.float32)

    slider, output = strength_slider(make, tmp_path, {1.0: ready}).children
    assert asked == [] and "aria-label='strength 1.00'" in output.value
    for value in (0.3, 1.5, 0.3, 1.0):
        slider.value = value
        assert f"aria-label='strength {value:.2f}'" in output.value and "data:audio/ogg" in output.value
    assert asked == [0.3, 1.5] and (tmp_path / "strength-0.30.wav").is_file()
    slider.value = 7
    assert slider.value == 1.5, "the slider ends where strengths do"
