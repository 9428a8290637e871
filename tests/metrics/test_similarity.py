"""CLAP-A, CLAP-T and the nearest training clip, on angles whose cosines are known."""

import numpy as np
import pytest

from tmp_utils.metrics import similarity as metrics


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
