"""Figures of results show the table's numbers, name the runs, and say what is missing."""

import numpy as np
import pandas as pd
import pytest

from tmp_utils import figures
from tmp_utils.figures.plane import label_offsets, pareto_front
from tmp_utils.figures.study import summary
from tmp_utils.metrics.table import RESULT_COLUMNS

SETUPS = [("TI", "MW"), ("TI", "BL"), ("DB", "TE"), ("DB", "BL")]
VALUES = {("DB", "BL"): 0.5, ("DB", "TE"): 0.8, ("TI", "BL"): 0.4, ("TI", "MW"): 0.6}


@pytest.fixture
def results():
    """Return three concepts x four setups of both CLAP metrics, FAD and two music metrics."""
    rows = []
    for metric in ("clap_a", "clap_t", "fad", "tempo_agreement", "level_agreement"):
        for c, shift in (("a", -0.1), ("b", 0.0), ("c", 0.1)):
            for method, setup in SETUPS:
                value = VALUES[method, setup] + shift
                value = 1 - value if metric == "clap_t" else value
                row = {"profile": "pocket", "concept": c, "method": method, "setup": setup, "seed": 0}
                row |= {"prompt": "all", "metric": metric, "value": value, "n": 4, "ci_low": np.nan}
                rows.append(row | {"ci_high": np.nan, "embedder": "clap:x@1", "status": "ok", "note": ""})
    return pd.DataFrame(rows, columns=list(RESULT_COLUMNS))


def test_a_summary_is_the_mean_over_concepts_in_the_papers_order(results):
    table = figures.summary(results, "clap_a")
    assert list(zip(table["method"], table["setup"], strict=True)) == [
        *(("DB", "BL"), ("DB", "TE"), ("TI", "BL"), ("TI", "MW"))
    ]
    assert table["value"].tolist() == pytest.approx([0.5, 0.8, 0.4, 0.6])
    assert ((table["ci_low"] < table["value"]) & (table["value"] < table["ci_high"])).all()
    assert set(table["n_concepts"]) == {3}


def test_failed_rows_references_and_single_prompts_are_not_in_a_summary(results):
    extra = results[results["metric"] == "clap_a"].head(3).copy()
    extra["value"], extra["status"] = 9.0, ["failed", "ok", "ok"]
    extra["prompt"], extra["method"] = ["all", "jazz", "all"], [*extra["method"].iloc[:2], "reference"]
    pd.testing.assert_frame_equal(
        figures.summary(pd.concat([results, extra]), "clap_a"), figures.summary(results, "clap_a")
    )
    with pytest.raises(ValueError, match="kad"):
        figures.summary(results, "kad")


def test_labels_of_reference_lines_near_each_other_stand_in_rows(results):
    levels = {"ceiling_a": 0.90, "codec_a": 0.89, "untrained_a": 0.1}
    fig = figures.setups_dots(results, "clap_a", levels)
    places = {note.x: note.yshift for note in fig.layout.annotations}
    assert places[0.1] == places[0.89] == 0 and places[0.90] > 10
    assert fig.layout.margin.t > figures.setups_dots(results, "clap_a", {"ceiling_a": 0.9}).layout.margin.t


def test_dots_have_one_line_a_setup_a_small_dot_a_concept_and_finite_references_only(results):
    fig = figures.setups_dots(results, "clap_a", {"ceiling_a": 0.9, "floor_t": float("nan")}, note="stand-ins")
    *means, concepts = fig.data
    assert [label for trace in means for label in trace.y] == ["DB BL", "DB TE", "TI BL", "TI MW"]
    shown = {(y, name): x for y, name, x in zip(concepts.y, concepts.text, concepts.x, strict=True)}
    assert len(shown) == 4 * 3 and shown["DB TE", "a"] == pytest.approx(0.7)
    one = figures.setups_dots(results[results["concept"] == "a"], "clap_a")
    assert len(one.data) == 2
    assert [shape.x0 for shape in fig.layout.shapes] == [0.9]
    assert "stand-ins" in fig.layout.title.text
    assert "3 concepts" in fig.layout.title.text


def test_the_pareto_front_is_what_nothing_beats_on_both_axes():
    assert pareto_front([0.5, 0.8, 0.4, 0.6], [0.5, 0.2, 0.6, 0.1]) == [2, 0, 1]


def test_the_plane_names_its_runs_and_draws_the_three_references(results):
    references = {"ceiling_a": 0.9, "ceiling_t": 0.7, "floor_t": 0.1}
    fig = figures.clap_plane(results, references)
    by_name = {trace.name: trace for trace in fig.data}
    assert set(by_name) == {"Pareto front", "DB", "TI"}
    assert [note.text for note in fig.layout.annotations[:3]] == ["BL", "TE", "BL"]
    assert list(by_name["DB"].x) == pytest.approx([0.5, 0.8])
    assert list(by_name["DB"].y) == pytest.approx([0.5, 0.2])
    assert "DB %{customdata[0]}" in by_name["DB"].hovertemplate
    assert by_name["TI"].marker.color == figures.METHOD_COLOURS["TI"]
    assert len(fig.layout.shapes) == 3
    assert "cosine" in fig.layout.xaxis.title.text


def test_a_reference_far_from_the_points_is_a_number_at_the_edge_and_no_line(results):
    far = figures.clap_plane(results, {"ceiling_a": 0.99, "floor_t": -5.0})
    texts = [note.text for note in far.layout.annotations]
    assert "floor -5.00 ↓" in texts and far.layout.yaxis.range[0] > -1


def test_labels_of_references_that_are_close_do_not_cover_each_other(results):
    references = {"ceiling_a": 0.9, "codec_a": 0.89, "untrained_a": 0.42, "ceiling_t": 0.95}
    notes = figures.clap_plane(results, references).layout.annotations
    above = {note.text: note for note in notes if note.y == 1 and note.yanchor == "bottom"}
    assert {text: note.xanchor for text, note in above.items()} == {
        "codec": "right",
        "ceiling": "left",
        "untrained": "center",
    }


def test_labels_cover_neither_points_nor_each_other_and_only_the_crowded_are_far():
    points = np.array([[100, 100], [104, 102], [108, 98], [104, 95], [400, 100]], float)
    labels = ["3-AC", "1-AC", "MIX", "BL", "TE"]
    placed = label_offsets(points, labels)
    boxes = [
        (point + offset - half, point + offset + half)
        for (point, (offset, _), half) in zip(
            points, placed, [np.array([7.5 * len(label), 15]) / 2 for label in labels], strict=True
        )
    ]
    boxes += [(point - 8, point + 8) for point in points]
    for k, a in enumerate(boxes[:5]):
        for b in boxes[k + 1 :]:
            assert (np.maximum(a[0], b[0]) >= np.minimum(a[1], b[1])).any()
    assert not placed[-1][1] and placed[-1][0].tolist() == pytest.approx([15.5, 15.5])


def test_a_method_with_one_setup_is_named_by_itself_on_the_plane(results):
    lora = results[(results["method"] == "TI") & (results["setup"] == "BL")].assign(method="DB-LoRA")
    fig = figures.clap_plane(pd.concat([results, lora], ignore_index=True))
    assert sorted(note.text for note in fig.layout.annotations) == ["BL", "BL", "LoRA", "MW", "TE"]


def test_a_plane_without_both_scores_is_refused(results):
    results.loc[results["metric"] == "clap_t", "setup"] = "else"
    with pytest.raises(ValueError, match="both clap_a and clap_t"):
        figures.clap_plane(results)


def test_music_dots_are_percentages_of_clips_a_column_a_property(results):
    fig = figures.music_agreement(results)
    dots = {(trace.xaxis, y): x for trace in fig.data for y, x in zip(trace.y, trace.x, strict=True)}
    assert [dots["x", "DB TE"], dots["x2", "DB TE"]] == pytest.approx([80, 80])
    titles = [fig.layout[axis].title.text.split("<br>")[0] for axis in ("xaxis", "xaxis2")]
    assert titles == ["Tempo", "Loudness"] and "% of clips that agree" in fig.layout.title.text
    assert list(fig.layout.yaxis.categoryarray) == ["DB BL", "DB TE", "TI BL", "TI MW"]
    with pytest.raises(ValueError, match="no music rows"):
        figures.music_agreement(results[results["metric"] == "clap_a"])


@pytest.mark.parametrize("n_concepts", [1, 2, 6])
@pytest.mark.parametrize("shares", [(0.0, 0.0), (1.0, 1.0), (0.1, 0.0), (0.9, 1.0)])
def test_an_interval_of_a_share_neither_leaves_0_to_1_nor_is_a_point(n_concepts, shares):
    rows = [
        {"concept": f"c{c}", "seed": k, "value": shares[c % 2], "n": 10, "ci_low": -0.1, "ci_high": 1.1}
        for c in range(n_concepts)
        for k in range(2)
    ]
    same = {"metric": "key_agreement", "method": "DB", "setup": "BL", "prompt": "all", "status": "ok"}
    row = summary(pd.DataFrame(rows).assign(**same), "key_agreement").iloc[0]
    assert 0 <= row["ci_low"] <= row["value"] <= row["ci_high"] <= 1 and row["ci_high"] - row["ci_low"] > 0.02
