"""Figures of style transfer: what is drawn is what the tables say."""

import numpy as np
import pandas as pd
import pytest

from tmp_utils.figures.strength import mark_landmarks, strength_curves, trade_off

STRENGTHS = [0.0, 0.5, 1.0]


def points(curve, values, width=0.1, **more):
    values = np.array(values)
    table = {"strength": STRENGTHS, "value": values, "ci_low": values - width, "ci_high": values + width}
    return pd.DataFrame({"curve": curve, **more, **table})


def test_every_curve_is_a_line_with_its_band():
    fig = strength_curves(pd.concat([points("a", [0, 0.1, 0.2]), points("b", [1, 0.9, 0.8])]), "t")
    lines = [trace for trace in fig.data if trace.fill is None]
    bands = [trace for trace in fig.data if trace.fill == "toself"]
    assert [line.name for line in lines] == ["a", "b"]
    assert list(lines[1].y) == [1, 0.9, 0.8]
    assert list(bands[0].y) == pytest.approx([0.1, 0.2, 0.3, 0.1, 0.0, -0.1])


def test_colour_tells_the_curve_and_dash_the_measure():
    parts = [points(c, [0, 0, 0], measure=m) for c in ("noising", "ddim-inversion") for m in ("source", "concept")]
    lines = [trace.line for trace in strength_curves(pd.concat(parts), "t").data if trace.fill is None]
    assert lines[0].color == lines[1].color != lines[2].color
    assert lines[0].dash == lines[2].dash != lines[1].dash


def test_without_intervals_there_are_no_bands():
    fig = strength_curves(points("a", [0, 1, 2], width=np.nan), "t")
    assert [trace.fill for trace in fig.data] == [None]


def test_a_table_without_intervals_columns_is_refused():
    with pytest.raises(ValueError, match="columns \\['ci_high', 'ci_low'\\] are missing"):
        strength_curves(points("a", [0, 1, 2]).drop(columns=["ci_low", "ci_high"]), "t")


def test_landmarks_are_drawn_where_they_are_and_left_out_where_they_are_not():
    values = pd.DataFrame({"value": [0.45, 0.5, 0.35, 0.7]}, ["crossing", "best", "low", "high"])
    fig = mark_landmarks(strength_curves(points("a", [0, 1, 2]), "t"), values)
    assert [(shape.x0, shape.x1) for shape in fig.layout.shapes] == [(0.4, 0.6), (0.35, 0.7), (0.45, 0.45)]
    assert "sweet spot here: 0.35–0.70" in [note.text for note in fig.layout.annotations]
    nowhere = mark_landmarks(strength_curves(points("a", [0, 1, 2]), "t"), values * np.nan)
    assert [(shape.x0, shape.x1) for shape in nowhere.layout.shapes] == [(0.4, 0.6)]


def test_the_trade_off_is_a_path_of_means_in_the_order_of_strength():
    rows = [(t, s, 1 - s + d, s) for t in ("noising", "ddpm-inversion") for s in (1.0, 0.0, 0.5) for d in (-0.1, 0.1)]
    fig = trade_off(pd.DataFrame(rows, columns=["transfer", "strength", "source_similarity", "target_similarity"]), "t")
    assert [trace.name for trace in fig.data] == ["noising", "ddpm-inversion"]
    assert list(fig.data[0].x) == pytest.approx([1, 0.5, 0]) and list(fig.data[0].y) == [0, 0.5, 1]
    assert list(fig.data[0].customdata) == STRENGTHS
