"""Intervals cover what they promise on simulated data, and agree with normal theory where it holds."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from tmp_utils.metrics.intervals import (
    holm,
    jackknife,
    mean_between,
    mean_of,
    mean_over_units,
    p_above,
    paired_difference,
    share_of,
    wilson,
)


def coverage(draw, n_tables=250):
    hits = [interval.ci_low <= 0 <= interval.ci_high for interval in (draw(k) for k in range(n_tables))]
    return float(np.mean(hits))


def unit_rows(rng, n, centre):
    """Return embeddings (n, 16) about a centre that vary more in some directions than in others, as clips do."""
    rows = np.eye(16)[centre] + 0.6 / np.arange(1, 17) * rng.normal(size=(n, 16))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("n", [5, 10])
def test_the_mean_of_a_few_clips_is_covered_at_the_promised_rate(n):
    assert 0.92 <= coverage(lambda k: mean_of(np.random.default_rng(k).normal(size=n)), 400) <= 0.98


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_mean_of_pairs_of_one_set_is_covered_though_pairs_share_clips(n):
    many = unit_rows(np.random.default_rng(0), 4000, 8)
    truth = ((many.sum(0) ** 2).sum() - 4000) / (4000 * 3999)

    def draw(k):
        cosines = (clips := unit_rows(np.random.default_rng(k), n, 8)) @ clips.T
        return jackknife(lambda i: ((cosines[np.ix_(i, i)].sum(1) - 1) / (len(i) - 1)).mean() - truth, n, "clips")

    assert 0.915 <= coverage(draw, 400) <= 0.985


@pytest.mark.parametrize(("n", "m"), [(10, 5), (4, 3)])
def test_the_mean_of_pairs_of_two_sets_is_covered_where_both_are_samples(n, m):
    centres = [unit_rows(np.random.default_rng(k), 4000, centre).mean(0) for k, centre in ((0, 8), (1, 9))]

    def draw(k):
        rng = np.random.default_rng(k)
        return mean_between(unit_rows(rng, n, 8) @ unit_rows(rng, m, 9).T - centres[0] @ centres[1], ("a", "b"))

    assert 0.93 <= coverage(draw, 400) <= 0.985


def test_the_jackknife_of_a_mean_is_students_and_an_interval_says_over_what_it_is():
    values = np.array([0.1, 0.4, 0.2, 0.9])
    mean, same = mean_of(values, "clips"), jackknife(lambda k: values[k].mean(), 4, "clips")
    assert (same.ci_low, same.ci_high, same.over) == pytest.approx((mean.ci_low, mean.ci_high, "4 clips"))
    two = mean_between(np.array([[0.1, 0.2], [0.3, 0.5], [0.2, 0.2]]), ("generated clips", "training clips"))
    assert (two.over, two.n) == ("3 generated clips and 2 training clips", 3)
    one = mean_between(values[:, None], ("generated clips", "training clips"))
    assert (one.ci_low, one.ci_high, one.over) == pytest.approx((mean.ci_low, mean.ci_high, "4 generated clips"))
    assert np.isnan(jackknife(lambda k: values[k].mean(), 2, "clips").ci_low)


def nested_table(rng, n_concepts=8, n_clips=6, between=1.0, within=1.0):
    centres = rng.normal(0, between, n_concepts)
    values = centres[:, None] + rng.normal(0, within, (n_concepts, n_clips))
    concepts = np.repeat(np.arange(n_concepts), n_clips)
    return pd.DataFrame({"concept": concepts, "value": values.ravel()})


def test_nested_values_need_the_hierarchy_to_be_covered():
    tables = [nested_table(np.random.default_rng(k)) for k in range(250)]
    assert coverage(lambda k: mean_of(tables[k]["value"])) < 0.80
    assert 0.91 <= coverage(lambda k: mean_over_units(tables[k], levels=["concept"])) <= 0.985


def test_seeds_are_a_level_of_their_own_and_count_where_there_is_one_concept():
    rng = np.random.default_rng(0)
    frames = [nested_table(rng, n_concepts=4).assign(seed=s) for s in range(2)]
    table = pd.concat(frames, ignore_index=True)
    result = mean_over_units(table)
    assert (result.n, result.over, result.value) == (4, "4 concepts", pytest.approx(table["value"].mean()))
    one = mean_over_units(table[table["concept"] == 0])
    of_seeds = mean_of(table[table["concept"] == 0].groupby("seed")["value"].mean())
    assert (one.n, one.over, one.ci_low) == (1, "2 seeds", pytest.approx(of_seeds.ci_low))


def test_a_concept_with_more_clips_does_not_count_for_more():
    table = pd.DataFrame({"concept": ["a"] * 9 + ["b"], "seed": 0, "value": [0.0] * 9 + [1.0]})
    assert mean_over_units(table).value == 0.5


def test_the_order_of_rows_does_not_matter():
    table = nested_table(np.random.default_rng(0))
    shuffled = table.sample(frac=1, random_state=3)
    assert mean_over_units(table, levels=["concept"]) == mean_over_units(shuffled, levels=["concept"])


def test_one_value_has_a_mean_but_no_interval():
    result = mean_of([0.7])
    assert result.value == 0.7
    assert np.isnan([result.ci_low, result.ci_high]).all()


def test_nan_is_refused_and_not_averaged_away():
    with pytest.raises(ValueError, match="1 of 3 values are NaN"):
        mean_of([1.0, np.nan, 2.0])
    with pytest.raises(ValueError, match="no values"):
        mean_of([])


def test_pairing_removes_what_the_units_have_in_common():
    rng = np.random.default_rng(0)
    common = rng.normal(0, 5, 10)
    a = pd.DataFrame({"concept": range(10), "seed": 0, "value": common + 0.5 + rng.normal(0, 0.1, 10)})
    b = pd.DataFrame({"concept": range(10), "seed": 0, "value": common + rng.normal(0, 0.1, 10)})
    result = paired_difference(a, b, on=["concept", "seed"])
    assert result.value == pytest.approx(0.5, abs=0.1)
    assert result.ci_low > 0
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
@pytest.mark.parametrize(("between", "within"), [(1.0, 0.3), (0.0, 1.0)])
def test_few_concepts_with_two_seeds_are_covered_and_chance_is_not_an_effect(n_concepts, between, within):
    def draw(k):
        table = nested_table(np.random.default_rng(k), n_concepts, 2, between, within)
        return mean_over_units(table, levels=["concept"])

    drawn = [draw(k) for k in range(400)]
    # 400 tables: a standard error of 1.1 % at 95 %, and of 0.5 % at 1 %.
    assert 0.915 <= coverage(drawn.__getitem__, 400) <= 0.985
    assert np.mean([interval.p_value < 0.01 for interval in drawn]) <= 0.025


def test_few_concepts_have_students_interval_and_p_value():
    table = nested_table(np.random.default_rng(0), n_concepts=5)
    means = table.groupby("concept")["value"].mean()
    result, error = mean_over_units(table, levels=["concept"]), means.std() / np.sqrt(5)
    # 2.776445 is the 97.5 % quantile of Student's t with 4 degrees of freedom, from printed tables.
    assert [result.ci_low, result.ci_high] == pytest.approx(means.mean() + np.array([-1, 1]) * 2.776445 * error)
    assert result.p_value == pytest.approx(2 * t.sf(abs(means.mean()) / error, 4))
    assert (result.ci_low > 0 or result.ci_high < 0) == (result.p_value < 0.05)
    low = p_above(means, result.ci_low)
    assert low == pytest.approx(0.025)  # the interval's ends are the nulls that are rejected at half of 0.05
    assert p_above(means, -result.ci_high, sign=-1) == pytest.approx(0.025)


def test_values_without_spread_are_no_chance_and_their_share_no_certainty():
    def over(value, **kwargs):
        table = pd.DataFrame({"concept": range(4), "value": value})
        return mean_over_units(table, levels=["concept"], **kwargs)

    assert (over(0.2).p_value, over(0.0).p_value) == (2 * 0.5**4, 1.0)  # four heads in a row
    assert np.isnan(over(0.2).ci_low) and mean_of([0.2] * 6).ci_low == pytest.approx(0.2)  # six heads: 0.03
    # Clopper-Pearson's ends of none of four: 0 and 1 - 0.025^(1/4)
    none = over(0.0, bounds=(0, 1))
    assert (none.ci_low, none.ci_high) == pytest.approx((0, 1 - 0.025**0.25))
    missed = over(-0.5, bounds=(-0.5, 0.5))
    assert (missed.ci_low, missed.ci_high, missed.p_value) == pytest.approx((-0.5, 0.5 - 0.025**0.25, 2 * 0.5**4))
    always = over(1.0, bounds=(-1, 1))
    assert (always.ci_low, always.ci_high) == pytest.approx((2 * 0.025**0.25 - 1, 1))
    alike = over(0.2, bounds=(-1, 1))  # 2.4 of 4 against half of them
    assert alike.p_value > 0.05 and alike.ci_low < 0 < alike.ci_high


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
        return paired_difference(a, b, on=["concept"]).p_value

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
