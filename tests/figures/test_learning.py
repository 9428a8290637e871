"""Figures of a training show what was measured, and where."""

import numpy as np
import pandas as pd
import pytest

from tmp_utils import figures


def test_what_moves_shows_each_measure_at_the_steps_where_it_was_measured():
    moves = {"step": [0, 1, 2], "clap_a": [0.1, np.nan, 0.7], "drift": [0.0, 0.2, 0.4], "loss": [np.nan, 0.5, 0.6]}
    fig = figures.what_moves(pd.DataFrame(moves), note="rendered stand-in")
    assert [list(trace.x) for trace in fig.data] == [[0, 2], [0, 1, 2], [1, 2]]
    assert [list(trace.y) for trace in fig.data] == [[0.1, 0.7], [0.0, 0.2, 0.4], [0.5, 0.6]]
    assert [fig.layout[axis].title.text for axis in ("yaxis", "yaxis2", "yaxis3")] == [
        *("CLAP-A", "Drift (1 − cosine)", "Loss")
    ]
    assert "rendered stand-in" in fig.layout.title.text


def test_what_moves_names_a_missing_measure():
    with pytest.raises(ValueError, match="'loss'"):
        figures.what_moves(pd.DataFrame({"step": [1], "clap_a": [1.0], "drift": [0.0]}))


def test_a_learning_path_has_a_line_and_a_band_for_each_score_and_says_how_many_clips():
    rows = [(step, metric, step / 100, 0.0, 1.0, 4) for step in (100, 0, 50) for metric in ("clap_a", "clap_t")]
    path = pd.DataFrame(rows, columns=["step", "metric", "value", "ci_low", "ci_high", "n"])
    fig = figures.learning_path(path)
    lines = {trace.name: list(trace.y) for trace in fig.data if trace.fill is None}
    assert lines == {"CLAP-A": [0, 0.5, 1], "CLAP-T": [0, 0.5, 1]}
    assert "4 clips for CLAP-A and 4 clips for CLAP-T" in fig.layout.title.text


def test_language_drift_has_a_dot_for_each_adapter_and_the_untrained_level_as_a_line():
    table = {"value": [0.1, 0.8], "ci_low": [0.0, 0.7], "ci_high": [0.2, 0.9], "n": 8}
    fig = figures.language_drift(pd.DataFrame(table, ["untrained", "DB-BL"]), "guitar")
    assert list(fig.data[0].x) == [0.1, 0.8] and list(fig.data[0].y) == ["untrained", "DB-BL"]
    assert fig.layout.shapes[0].x0 == 0.1 and "guitar" in fig.layout.xaxis.title.text
    assert fig.data[0].marker.color[1] == figures.METHOD_COLOURS["DB"]


def test_a_strength_path_visits_the_plane_in_the_order_of_strengths_and_says_how_many_clips():
    rows = [(s, metric, value, 2) for s, a, t in ((1, 0.6, 0.5), (0, 0.2, 0.8), (1.5, 0.7, 0.3))
            for metric, value in (("clap_a", a), ("clap_t", t))]  # fmt: skip
    fig = figures.strength_path(pd.DataFrame(rows, columns=["strength", "metric", "value", "n"]))
    (line,) = fig.data
    assert (list(line.x), list(line.y), list(line.text)) == ([0.2, 0.6, 0.7], [0.8, 0.5, 0.3], ["0", "1", "1.5"])
    assert fig.layout.xaxis.range[0] < 0.2 and fig.layout.yaxis.range[1] > 0.8
    assert "2 clips for CLAP-A, 2 clips for CLAP-T" in fig.layout.title.text


def curves(concepts):
    rows = [(concept, method, count, step, metric, 0.1 * count + step / 100 + k / 10, 0)
            for k, concept in enumerate(concepts) for method in ("TI", "DB") for count in (1, 5)
            for step in (0, 10, 20) for metric in ("clap_a", "clap_t", "drift")]  # fmt: skip
    return pd.DataFrame(rows, columns=["concept", "method", "n_clips", "step", "metric", "value", "seed"])


def test_how_many_has_a_line_a_number_of_clips_in_a_panel_a_method_and_score():
    fig = figures.how_many(curves(["koto"]))
    assert [panel.text for panel in fig.layout.annotations] == ["DB: CLAP-A", "DB: CLAP-T", "TI: CLAP-A", "TI: CLAP-T"]
    assert [trace.name for trace in fig.data] == ["1 clip", "5 clips"] * 4
    assert list(fig.data[1].x) == [0, 10, 20] and list(fig.data[1].y) == pytest.approx([0.5, 0.6, 0.7])
    assert [trace.showlegend for trace in fig.data] == [True, True] + [False] * 6
    assert fig.data[0].error_y.array is None and "interval" not in fig.layout.title.text


def test_how_many_has_intervals_over_three_concepts_or_more():
    fig = figures.how_many(curves(["koto", "lute", "harp"]), note="rendered stand-ins")
    assert fig.data[0].y[0] == pytest.approx(0.2)
    half = 4.302652729911275 * 0.1 / np.sqrt(3)  # Student's t with two degrees of freedom; the spread is 0.1
    assert list(fig.data[0].error_y.array) == pytest.approx([half] * 3)
    assert "95 % intervals over concepts" in fig.layout.title.text and "rendered" in fig.layout.title.text
