"""Intervals cover what they promise on simulated data, and agree with normal theory where it holds."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from tmp_utils.metrics.intervals import (
    bootstrap_mean,
    hierarchical_mean,
    holm,
    mean_over_units,
    paired_difference,
    share_of,
    wilson,
)


def test_the_interval_of_many_normal_values_is_1_96_standard_errors_wide():
    values = np.random.default_rng(0).normal(3.0, 2.0, size=400)
    result = bootstrap_mean(values)
    error = values.std(ddof=1) / np.sqrt(400)
    assert result.value == pytest.approx(values.mean())
    assert (result.ci_low, result.ci_high) == pytest.approx(
        (result.value - 1.96 * error, result.value + 1.96 * error), abs=0.03
    )


def coverage(draw, n_tables=250):
    hits = [interval.ci_low <= 0 <= interval.ci_high for interval in (draw(k) for k in range(n_tables))]
    return float(np.mean(hits))


def test_the_interval_covers_the_truth_at_the_promised_rate():
    def draw(k):
        return bootstrap_mean(np.random.default_rng(k).normal(size=12), seed=k, n_resamples=400)

    assert 0.90 <= coverage(draw) <= 0.985


def nested_table(rng, n_concepts=8, n_clips=6, between=1.0, within=1.0):
    centres = rng.normal(0, between, n_concepts)
    values = centres[:, None] + rng.normal(0, within, (n_concepts, n_clips))
    concepts = np.repeat(np.arange(n_concepts), n_clips)
    return pd.DataFrame({"concept": concepts, "value": values.ravel()})


def test_nested_values_need_the_hierarchy_to_be_covered():
    def nested(k):
        table = nested_table(np.random.default_rng(k))
        return hierarchical_mean(table, levels=["concept"], seed=k, n_resamples=300)

    def flat(k):
        return bootstrap_mean(nested_table(np.random.default_rng(k))["value"], seed=k, n_resamples=300)

    assert coverage(flat) < 0.80
    assert 0.89 <= coverage(nested) <= 0.99


def test_seeds_are_a_level_of_their_own():
    rng = np.random.default_rng(0)
    frames = [nested_table(rng, n_concepts=4).assign(seed=s) for s in range(2)]
    table = pd.concat(frames, ignore_index=True)
    result = hierarchical_mean(table)
    assert result.n == 4
    assert result.value == pytest.approx(table["value"].mean())
    assert result.ci_low < result.value < result.ci_high


def test_a_concept_with_more_clips_does_not_count_for_more():
    table = pd.DataFrame({"concept": ["a"] * 9 + ["b"], "seed": 0, "value": [0.0] * 9 + [1.0]})
    assert hierarchical_mean(table).value == 0.5


def test_the_seed_suffices_and_the_order_of_rows_does_not_matter():
    table = nested_table(np.random.default_rng(0))
    first = hierarchical_mean(table, levels=["concept"], seed=1)
    assert first == hierarchical_mean(table.sample(frac=1, random_state=3), levels=["concept"], seed=1)
    assert first != hierarchical_mean(table, levels=["concept"], seed=2)


def test_one_value_has_a_mean_but_no_interval():
    result = bootstrap_mean([0.7])
    assert result.value == 0.7
    assert np.isnan([result.ci_low, result.ci_high]).all()


def test_nan_is_refused_and_not_averaged_away():
    with pytest.raises(ValueError, match="1 of 3 values are NaN"):
        bootstrap_mean([1.0, np.nan, 2.0])
    with pytest.raises(ValueError, match="no values"):
        bootstrap_mean([])


def test_pairing_removes_what_the_units_have_in_common():
    rng = np.random.default_rng(0)
    common = rng.normal(0, 5, 10)
    a = pd.DataFrame({"concept": range(10), "seed": 0, "value": common + 0.5 + rng.normal(0, 0.1, 10)})
    b = pd.DataFrame({"concept": range(10), "seed": 0, "value": common + rng.normal(0, 0.1, 10)})
    result = paired_difference(a, b, on=["concept", "seed"])
    assert result.value == pytest.approx(0.5, abs=0.1)
    assert result.excludes_zero
    assert result.p_value < 0.01
    assert result.n == 10


def test_only_units_that_both_sides_have_are_compared():
    a = pd.DataFrame({"concept": ["x", "y"], "value": [1.0, 5.0]})
    b = pd.DataFrame({"concept": ["y", "z"], "value": [2.0, 9.0]})
    result = paired_difference(a, b, on=["concept"])
    assert (result.value, result.n) == (3.0, 1)
    with pytest.raises(ValueError, match="share no unit"):
        paired_difference(a.iloc[:1], b, on=["concept"])


@pytest.mark.parametrize("n_concepts", [3, 6])
@pytest.mark.parametrize(("between", "within"), [(1.0, 0.3), (1.0, 1.0), (0.0, 1.0)])
def test_few_concepts_with_two_seeds_are_covered_and_chance_is_not_an_effect(n_concepts, between, within):
    def draw(k):
        table = nested_table(np.random.default_rng(k), n_concepts, 2, between, within)
        return mean_over_units(table, levels=["concept"], seed=k, n_resamples=400)

    drawn = [draw(k) for k in range(400)]
    # 400 tables: a standard error of 1.1 % at 95 %, and of 0.5 % at 1 %.
    assert 0.915 <= coverage(drawn.__getitem__, 400) <= 0.985
    assert np.mean([interval.p_value < 0.01 for interval in drawn]) <= 0.025


def test_few_concepts_have_students_interval_and_p_value_and_under_three_the_interval_is_theirs_alone():
    table = nested_table(np.random.default_rng(0), n_concepts=5)
    means = table.groupby("concept")["value"].mean()
    result, error = mean_over_units(table, levels=["concept"]), means.std() / np.sqrt(5)
    # 2.776445 is the 97.5 % quantile of Student's t with 4 degrees of freedom, from printed tables.
    assert [result.ci_low, result.ci_high] == pytest.approx(means.mean() + np.array([-1, 1]) * 2.776445 * error)
    assert result.p_value == pytest.approx(2 * t.sf(abs(means.mean()) / error, 4))
    assert result.excludes_zero == (result.p_value < 0.05)
    two = table[table["concept"] < 2]
    assert mean_over_units(two, levels=["concept"]) == hierarchical_mean(two, levels=["concept"])


def test_values_without_spread_are_no_chance_and_their_share_no_certainty():
    def over(value, **kwargs):
        table = pd.DataFrame({"concept": range(4), "value": value})
        return mean_over_units(table, levels=["concept"], **kwargs)

    assert (over(0.2).p_value, over(0.0).p_value) == (2 * 0.5**4, 1.0)  # four heads in a row
    assert (over(0.2).ci_low, over(0.2).ci_high) == pytest.approx((0.2, 0.2))
    between = over(0.3, bounds=(0, 1))
    assert (between.ci_low, between.ci_high) == pytest.approx(wilson(1.2, 4))
    assert (over(0.0, bounds=(0, 1)).ci_low, over(0.0, bounds=(0, 1)).ci_high) == pytest.approx(wilson(0, 4))
    low, high = wilson(0, 4)
    missed = over(-0.5, bounds=(-0.5, 0.5))
    assert (missed.ci_low, missed.ci_high) == pytest.approx((low - 0.5, high - 0.5))
    always = over(1.0, bounds=(-1, 1))
    assert (always.ci_low, always.ci_high) == pytest.approx((2 * wilson(4, 4)[0] - 1, 1))


def test_the_interval_of_a_share_stays_between_none_and_all():
    table = pd.DataFrame({"concept": range(4), "value": [0.0, 0.1, 0.0, 0.9]})
    assert mean_over_units(table, levels=["concept"]).ci_low < 0
    bounded = mean_over_units(table, levels=["concept"], bounds=(0, 1))
    assert bounded.ci_low == 0 and bounded.ci_high <= 1
    assert (share_of([0, 0, 0]).ci_low, share_of([1, 1]).ci_high) == (0, 1)
    assert share_of([0, 0, 0]).ci_high == pytest.approx(1.959964**2 / (3 + 1.959964**2))  # Wilson's, of none
    with pytest.raises(ValueError, match="zeros and ones"):
        share_of([0.5, 1])


def test_no_effect_is_rarely_called_one():
    def p_value(k):
        rng = np.random.default_rng(k)
        a, b = (pd.DataFrame({"concept": range(10), "value": rng.normal(size=10)}) for _ in "ab")
        return paired_difference(a, b, on=["concept"], n_resamples=300).p_value

    assert np.mean([p_value(k) < 0.05 for k in range(150)]) < 0.12


def test_holm_is_the_step_down_rule_and_leaves_nan_alone():
    # 5 x .005, 4 x .01, 3 x .03, then the larger of 2 x .04 and the one before, then 1 x .5
    assert holm([0.01, 0.04, 0.03, 0.005, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.5])
    assert holm([0.01, np.nan, 0.04])[[0, 2]] == pytest.approx([0.02, 0.04])
    assert np.isnan(holm([0.01, np.nan, 0.04])[1]) and np.isnan(holm([np.nan])).all()


def test_wilson_is_the_published_interval():
    # Newcombe 1998, Statistics in Medicine 17, Table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29
    for count, n, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        assert wilson(count, n) == pytest.approx((low, high), abs=6e-5)
