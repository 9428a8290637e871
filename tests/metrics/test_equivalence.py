"""Equivalence against scipy's t-tests, and of FAD against its closed form."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp, ttest_rel
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from tmp_utils.metrics.distances import frechet_audio_distance
from tmp_utils.metrics.equivalence import (
    difference_tests,
    distance_equivalence,
    fewest_steps,
    mean_difference,
    paired_equivalence,
    with_verdicts,
)


def test_verdicts_are_those_of_t_tests_and_equivalence_tests_with_holms_correction():
    rng = np.random.default_rng(0)
    means = {"higher": 0.3, "lower": -0.3, "no difference": 0.0, "undecided": 0.04}
    sets = [rng.permutation(np.linspace(-0.1, 0.1, 9)) * (1 + (name == "undecided")) + of for name, of in means.items()]
    table = with_verdicts(pd.DataFrame([difference_tests(values, 0.1) for values in sets]))
    assert table["verdict"].tolist() == list(means) and table["n"].tolist() == [9] * 4
    raw = {"p_holm": [ttest_1samp(values, 0).pvalue for values in sets]}
    raw["p_equal"] = [ttost_paired(values, np.zeros(9), -0.1, 0.1)[0] for values in sets]
    for name, p_values in raw.items():
        assert table[name].tolist() == pytest.approx(list(multipletests(p_values, method="holm")[1]))
    assert table["ci_low"].tolist() == pytest.approx([ttest_1samp(s, 0).confidence_interval().low for s in sets])


def test_two_units_have_a_difference_and_no_verdict_and_none_have_nothing():
    (row,) = with_verdicts(pd.DataFrame([difference_tests([0.5, 0.7], 0.1)])).itertuples()
    assert row.difference == pytest.approx(0.6) and row.verdict == "undecided"
    assert np.isnan([row.ci_low, row.ci_high, row.p_holm, row.p_equal]).all()
    assert np.isnan(list(mean_difference([]).values())).all()
    assert list(mean_difference([1.0], "_second")) == ["difference_second", "ci_low_second", "ci_high_second"]


def test_interval_and_decision_are_those_of_the_paired_t_test():
    rng = np.random.default_rng(1)
    a = rng.normal(size=30)
    b = a + rng.normal(0.1, 0.3, size=30)
    expected = ttest_rel(a, b).confidence_interval(0.90)
    for margin, equivalent in ((0.15, False), (0.25, True)):
        test = paired_equivalence(a, b, margin)
        assert (test.ci_low, test.ci_high) == pytest.approx((expected.low, expected.high))
        above, below = (ttest_rel(a + shift, b).pvalue for shift in (margin, -margin))
        assert test.equivalent == (max(above, below) / 2 < 0.05) == equivalent


def test_a_difference_that_is_there_but_small_is_equivalent_and_too_few_pairs_are_not():
    rng = np.random.default_rng(2)
    a = rng.normal(size=400)
    b = a + 0.01 + rng.normal(0, 0.05, size=400)
    many, few = paired_equivalence(a, b, 0.05), paired_equivalence(a[:2], [b[0], b[1] + 0.1], 0.05)
    assert many.equivalent and many.ci_high < 0
    assert not few.equivalent


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
    reference = np.array([[-1.0], [1.0]]) / np.sqrt(2)  # of mean 0 and variance 1
    for _ in range(50):
        a = rng.normal(0, 1, size=(80, 1))
        b = a + 0.5  # FAD(a) - FAD(b) = m^2 - (m + 0.5)^2 = -m - 0.25, whose mean is -0.25
        test = distance_equivalence(reference, a, b, 1.0, n_resamples=100)
        covered += test.ci_low < -0.25 < test.ci_high
    assert 40 <= covered < 50


def rows(scheduler, passes):
    return [{"scheduler": scheduler, "steps": n, "metric": m, "equivalent": e} for n, m, e in passes]


def test_the_fewest_steps_pass_in_every_metric_and_so_do_all_more():
    table = pd.DataFrame(
        rows("A", [(5, "x", True), (5, "y", False), (10, "x", True), (10, "y", True), (20, "x", True), (20, "y", True)])
        + rows("B", [(5, "x", True), (10, "x", False), (20, "x", True)])
        + rows("C", [(5, "x", True), (20, "x", False)])
    )
    assert fewest_steps(table) == {"A": 10, "B": 20, "C": None}
