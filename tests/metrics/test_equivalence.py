"""Equivalence against statsmodels' tests, and of FAD against its closed form."""

import numpy as np
import pandas as pd
import pytest

from tmp_utils.metrics.distances import frechet_audio_distance
from tmp_utils.metrics.equivalence import distance_equivalence, fewest_steps, paired_equivalence


def test_the_interval_is_that_of_the_paired_t_test():
    from scipy.stats import ttest_rel

    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 12))
    test, expected = paired_equivalence(a, b, 1.0), ttest_rel(a, b).confidence_interval(0.90)
    assert (test.ci_low, test.ci_high) == pytest.approx((expected.low, expected.high))


def test_equivalence_is_both_one_sided_tests():
    """Against statsmodels' own TOST, on either side of its decision."""
    weightstats = pytest.importorskip("statsmodels.stats.weightstats")
    rng = np.random.default_rng(1)
    a = rng.normal(size=30)
    b = a + rng.normal(0.1, 0.3, size=30)
    decisions = set()
    for margin in (0.05, 0.15, 0.2, 0.25, 0.5):
        p_value = weightstats.ttost_paired(a, b, -margin, margin)[0]
        assert paired_equivalence(a, b, margin).equivalent == (p_value < 0.05)
        decisions.add(bool(p_value < 0.05))
    assert decisions == {True, False}


def test_a_difference_that_is_there_but_small_is_equivalent_and_too_few_pairs_are_not():
    rng = np.random.default_rng(2)
    a = rng.normal(size=400)
    b = a + 0.01 + rng.normal(0, 0.05, size=400)
    many, few = paired_equivalence(a, b, 0.05), paired_equivalence(a[:2], [b[0], b[1] + 0.1], 0.05)
    assert many.equivalent and many.ci_high < 0
    assert not few.equivalent


def test_equivalence_is_wrongly_found_in_one_of_twenty_at_the_margin():
    rng = np.random.default_rng(3)
    wrong = np.mean([paired_equivalence(rng.normal(0.5, 1, 40), np.zeros(40), 0.5).equivalent for _ in range(2000)])
    assert 0.03 < wrong < 0.07


def test_pairs_and_margins_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="two columns of one length"):
        paired_equivalence([1, 2], [1], 1)
    with pytest.raises(ValueError, match="NaN or infinite"):
        paired_equivalence([1, np.nan], [1, 2], 1)
    with pytest.raises(ValueError, match="margin 0: expected a positive number"):
        paired_equivalence([1, 2], [1, 2], 0)


def test_distances_of_the_same_clips_are_equivalent_and_of_others_are_not():
    rng = np.random.default_rng(4)
    reference, a = rng.normal(size=(60, 3)), rng.normal(size=(40, 3))
    near, far = a + rng.normal(0, 0.01, a.shape), a + 1.0
    margin = 0.1 * frechet_audio_distance(reference, far).value
    same = distance_equivalence(reference, near, a, margin, n_resamples=200)
    other = distance_equivalence(reference, far, a, margin, n_resamples=200)
    assert same.equivalent and not other.equivalent
    expected = frechet_audio_distance(reference, far).value - frechet_audio_distance(reference, a).value
    assert other.difference == pytest.approx(expected)
    assert other.ci_low < other.difference < other.ci_high


def test_the_bootstrap_of_a_distance_covers_its_difference():
    """In one dimension and with equal spreads FAD is (m1 - m2)^2, so the true difference is known."""
    rng, covered = np.random.default_rng(5), 0
    reference = rng.normal(size=(4000, 1))
    reference = (reference - reference.mean()) / reference.std()
    for _ in range(100):
        a = rng.normal(0, 1, size=(80, 1))
        b = a + 0.5  # FAD(a) - FAD(b) = m^2 - (m + 0.5)^2 = -m - 0.25, whose mean is -0.25
        test = distance_equivalence(reference, a, b, 1.0, n_resamples=100)
        covered += test.ci_low < -0.25 < test.ci_high
    assert 80 <= covered <= 98


def rows(scheduler, passes):
    return [{"scheduler": scheduler, "steps": n, "metric": m, "equivalent": e} for n, m, e in passes]


def test_the_fewest_steps_pass_in_every_metric_and_so_do_all_more():
    table = pd.DataFrame(
        rows("A", [(5, "x", True), (5, "y", False), (10, "x", True), (10, "y", True), (20, "x", True), (20, "y", True)])
        + rows("B", [(5, "x", True), (10, "x", False), (20, "x", True)])
        + rows("C", [(5, "x", True), (20, "x", False)])
    )
    assert fewest_steps(table) == {"A": 10, "B": 20, "C": None}
