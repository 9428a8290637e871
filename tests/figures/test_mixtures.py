"""Pictures of mixtures."""

import numpy as np
import pandas as pd
import pytest

from tmp_utils.figures import mask_pictures, mixture_dots


def test_masks_stand_under_the_mixture_thinned_for_the_screen():
    mel, mask = np.random.default_rng(0).normal(size=(1024, 64)), np.full((1024, 64), 0.25)
    fig = mask_pictures(mel, {"class nouns": mask, "ideal": 1 - mask}, "Whose is it?")
    assert [note.text for note in fig.layout.annotations] == ["mixture", "class nouns", "ideal"]
    assert np.shape(fig.data[1].z) == (64, 256) and np.all(fig.data[2].z == 0.75)


def test_a_row_a_setup_has_the_mean_over_mixtures_with_an_interval_from_three_on():
    rows = [(f"m{k}", "TI", "PRIOR", 0, "difference", k / 10) for k in range(4)]
    rows += [("m0", "untrained", "class-noun", 0, "difference", 0.5)]
    table = pd.DataFrame(rows, columns=["mixture", "method", "setup", "seed", "metric", "value"])
    fig = mixture_dots(table, "difference", "Closeness minus leakage")
    assert list(fig.layout.yaxis.categoryarray) == ["untrained", "TI PRIOR"]
    assert fig.data[1].x == pytest.approx((0.15,)) and fig.data[1].error_x.array is not None
    assert fig.data[3].x == (0.5,) and fig.data[3].error_x.array is None
    with pytest.raises(ValueError, match="no rows of 'leakage'"):
        mixture_dots(table, "leakage", "")
