"""CLAP-A, CLAP-T and their references."""

import numpy as np
import pandas as pd
import pytest

from tmp_utils.metrics import similarity as metrics
from tmp_utils.metrics.intervals import Interval
from tmp_utils.metrics.table import (
    check_one_embedder,
    references,
    result_row,
    results_table,
    score_references,
)

IDENTITY = {"profile": "pocket", "concept": "sitar", "method": "TI", "setup": "BL", "seed": 0}


def angles(*degrees):
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def test_clap_audio_similarity_is_the_mean_cosine_over_all_pairs():
    expected = np.mean(np.cos(np.radians([[0, 90], [60, 30]])))
    assert metrics.clap_audio_similarity(angles(0, 60), angles(0, 90)) == pytest.approx(expected)


def test_clap_audio_similarity_ignores_gain_and_order():
    rng = np.random.default_rng(0)
    ref, gen = rng.normal(size=(3, 8)), rng.normal(size=(5, 8))
    value = metrics.clap_audio_similarity(gen, ref)
    assert metrics.clap_audio_similarity(gen[::-1], 2 * ref[::-1]) == pytest.approx(value)


def test_clap_text_similarity_pairs_each_clip_with_its_own_prompt():
    value = metrics.clap_text_similarity(angles(0, 90), angles(60, 90))
    assert value == pytest.approx((0.5 + 1.0) / 2)
    assert metrics.clap_text_similarity(angles(0, 90), angles(0)) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="3 clips and 2 prompts"):
        metrics.clap_text_similarity(angles(0, 1, 2), angles(0, 1))


def test_the_audio_ceiling_leaves_out_each_clip_with_itself():
    assert metrics.audio_ceiling(angles(0, 60, 90)) == pytest.approx(np.mean([0.5, 0.0, np.cos(np.pi / 6)]))
    assert np.isnan(metrics.audio_ceiling(angles(0)))


def test_the_nearest_other_clip_is_not_the_clip_itself():
    assert metrics.nearest_within_training(angles(0, 30, 80)) == pytest.approx(np.cos(np.radians([30, 30, 50])))
    assert np.isnan(metrics.nearest_within_training(angles(0))).all()


@pytest.mark.parametrize("bad", [np.zeros((0, 3)), np.ones(3), np.full((2, 3), np.nan), np.zeros((2, 3))])
def test_embeddings_without_a_direction_are_refused(bad):
    with pytest.raises(ValueError, match="embedding"):
        metrics.clap_audio_similarity(bad, np.ones((2, 3)))


def test_two_embedders_in_one_table_are_refused_by_name():
    rows = [result_row(IDENTITY, "clap_a", Interval(0.5, 0.4, 0.6, 4), name) for name in ("clap:x@1", "clap:y@2")]
    with pytest.raises(ValueError, match=r"clap_a .* 2 embedders.*clap:x@1.*clap:y@2"):
        check_one_embedder(results_table(rows))
    one = results_table(rows[:1])
    assert check_one_embedder(one) is one


def test_a_failed_row_needs_a_reason():
    with pytest.raises(ValueError, match="reason"):
        result_row(IDENTITY, "clap_a", None, "clap:x@1")


def test_references_are_means_over_concepts():
    frames = []
    for concept, degrees in (("sitar", 60), ("oud", 0)):
        identity = {**IDENTITY, "concept": concept}
        frames.append(score_references(angles(0, degrees), angles(90, 90), identity, "clap:x@1"))
        ceiling_t = result_row({**identity, "method": "untrained", "setup": ""}, "clap_t", Interval(0.4, 0, 1, 9), "")
        frames.append(results_table([ceiling_t]))
    found = references(pd.concat(frames))
    assert found["ceiling_a"] == pytest.approx((0.5 + 1.0) / 2)
    assert found["floor_t"] == pytest.approx((np.cos(np.pi / 6) / 2 + 0.0) / 2)
    assert found["ceiling_t"] == pytest.approx(0.4)


def test_the_ends_of_an_interval_are_values_that_the_metric_can_have():
    wide = Interval(0.9, 0.3, 1.4, 2)
    identity = {"profile": "smoke", "concept": "x", "method": "DB", "setup": "BL", "seed": 0}
    ends = {name: result_row(identity, name, wide, "e@1")["ci_high"] for name in ("clap_t", "key_agreement", "fad")}
    assert ends == {"clap_t": 1.0, "key_agreement": 1.0, "fad": 1.4}
    alone = result_row(identity, "clap_a", Interval(0.9, float("nan"), float("nan"), 1), "e@1")
    assert np.isnan(alone["ci_low"])
