"""Verdicts follow from the numbers: a known effect, none, and its reverse."""

import numpy as np
import pandas as pd
import pytest
from made_results import claim, db_up, results
from scipy.stats import ttest_1samp
from statsmodels.stats.weightstats import ttost_paired

from tmp_utils.findings.verdicts import CONTRADICTED, NO_DIFFERENCE, REPRODUCED, UNDECIDED, paper_table, verdicts
from tmp_utils.metrics.preservation import FIFTHS

METRICS = ["clap_a", "fad"]
BEST_FIFTH = claim("TI/MW@0.4-0.6", "each TI/MW@*")


@pytest.mark.parametrize(
    ("effect", "direction", "verdict"),
    [
        (0.2, "higher", REPRODUCED),
        (-0.2, "higher", CONTRADICTED),
        (0.0, "higher", UNDECIDED),
        (-0.2, "lower", REPRODUCED),
        (0.2, "lower", CONTRADICTED),
    ],
)
def test_the_verdict_follows_the_effect_and_the_claims_direction(effect, direction, verdict):
    row = verdicts(results(db_up(effect)), claim("DB/BL", "TI/BL", direction)).iloc[0]
    assert row["verdict"] == verdict
    assert row["ci_low"] < effect < row["ci_high"]
    assert row["difference"] == pytest.approx(row["ours_a"] - row["ours_b"])
    assert (row["n_concepts"], row["n_runs"], row["embedder"]) == (6, 12, "clap:x@1")


def test_a_whole_method_is_the_mean_of_its_setups():
    table = results(lambda method, setup: 0.3 * (method == "DB" and setup == "TE"), noise=0.001)
    row = verdicts(table, claim("DB/*", "TI/*")).iloc[0]
    assert row["difference"] == pytest.approx(0.06, abs=0.002)
    assert row["verdict"] == REPRODUCED


def fifths(effects, noise=0.02):
    """Return a results table of a sweep; ``effects`` are of the fifths that have one."""
    setups = [("TI", f"MW@{fifth}") for fifth in FIFTHS]
    return results(lambda _, setup: effects.get(setup, 0.0), setups=setups, noise=noise)


def test_the_best_of_all_has_to_beat_its_closest_rival():
    row = verdicts(fifths({"MW@0.4-0.6": 0.3, "MW@0.2-0.4": 0.1}), BEST_FIFTH).iloc[0]
    assert row["verdict"] == REPRODUCED
    assert row["note"] == "TI/MW@0.2-0.4 decides"
    assert row["difference"] == pytest.approx(0.2, abs=0.03)
    beaten = verdicts(fifths({"MW@0.4-0.6": 0.1, "MW@0.2-0.4": 0.3}), BEST_FIFTH)
    assert beaten["verdict"].tolist() == [CONTRADICTED]


def test_no_improvement_needs_an_interval_above_minus_the_margin():
    fad = {"metric": "fad", "noise": 0.01}
    same = verdicts(results(lambda *_: 10.0, **fad), claim("TI/MIX", "TI/BL", "not lower", "fad", "5 %"))
    better = results(lambda m, s: 10.0 - 3 * (s == "MIX"), **fad)
    lowered = verdicts(better, claim("TI/MIX", "TI/BL", "not lower", "fad", "5 %"))
    assert lowered["verdict"].tolist() == [CONTRADICTED]
    assert same["verdict"].tolist() == [REPRODUCED]
    assert same["ci_low"][0] < 0 < same["ci_high"][0]


@pytest.mark.parametrize("side", ["0.5", "TI/MW@*", "each TI/*"])
def test_a_side_that_is_no_setup_is_refused(side):
    with pytest.raises(ValueError, match="expected 'METHOD/SETUP'"):
        verdicts(results(db_up(0.2)), claim("DB/BL", side))


@pytest.mark.parametrize("n_concepts", [1, 2])
def test_one_or_two_concepts_decide_nothing_however_large_the_effect(n_concepts):
    row = verdicts(results(db_up(0.5), n_concepts=n_concepts), claim("DB/BL", "TI/BL")).iloc[0]
    assert row["verdict"] == UNDECIDED
    assert f"{n_concepts} of the 3 concepts" in row["note"]
    assert row["difference"] == pytest.approx(0.5, abs=0.1)


def test_what_was_not_run_is_undecided_and_named():
    table = results(db_up(0.2), setups=[("DB", "BL")])
    row = verdicts(table, claim("DB/BL", "TI/BL")).iloc[0]
    assert (row["verdict"], row["note"]) == (UNDECIDED, "no results for TI/BL")


def test_failed_rows_take_no_part_and_are_counted():
    table = results(db_up(0.2))
    failed = (table["concept"] == "c0") & (table["seed"] == 0)
    table.loc[failed, ["status", "value"]] = ["failed", np.nan]
    row = verdicts(table, claim("DB/BL", "TI/BL")).iloc[0]
    assert row["n_runs"] == 11
    assert row["note"] == "2 failed rows left out"
    assert row["verdict"] == REPRODUCED


def test_our_two_numbers_and_their_difference_agree_where_concepts_have_unlike_many_seeds():
    table = results(db_up(0.2), n_concepts=4)
    row = verdicts(table[(table["concept"] != "c0") | (table["seed"] == 0)], claim("DB/BL", "TI/BL")).iloc[0]
    assert (row["n_concepts"], row["n_runs"]) == (4, 7)
    assert row["ours_a"] - row["ours_b"] == pytest.approx(row["difference"])


@pytest.mark.parametrize(
    ("n_concepts", "last", "verdict", "p_value"),
    [(4, 0.25, REPRODUCED, None), (4, 0.0, UNDECIDED, 0.125), (8, 0.0, REPRODUCED, 2**-7)],  # alike: heads in a row
)
def test_a_difference_of_shares_stays_where_it_can_be(n_concepts, last, verdict, p_value):
    shares = results(lambda *_: 0.0, "key_agreement", n_concepts, n_seeds=1, setups=[("DB", "BL"), ("TI", "BL")])
    shares["value"] = (shares["method"] == "TI").astype(float)
    shares.loc[(shares["method"] == "DB") & (shares["concept"] == "c3"), "value"] = last
    row = verdicts(shares, claim("DB/BL", "TI/BL", "lower", "key_agreement")).iloc[0]
    assert (row["ci_low"], row["verdict"]) == (-1.0, verdict)
    assert p_value is None or row["p_holm"] == p_value


def test_a_claim_on_all_rivals_is_only_as_sure_as_on_the_one_it_is_least_sure_on():
    table = fifths({"MW@0.4-0.6": 0.1}, noise=0.001)
    unsure = table["setup"] == "MW@0.8-1.0"
    table.loc[unsure, "value"] += table.loc[unsure, "concept"].map(dict(c0=-2, c1=2, c2=-2, c3=2, c4=-2, c5=1)) - 0.1
    row = verdicts(table, BEST_FIFTH).iloc[0]
    assert (row["verdict"], row["note"]) == (UNDECIDED, "TI/MW@0.8-1.0 decides")


def test_when_nothing_differs_one_verdict_in_twenty_tables_is_the_most_that_chance_makes():
    def decided(k):
        made = [results(lambda *_: 0.0, metric, 4, noise=0.1, seed=9 * k + i) for i, metric in enumerate(METRICS)]
        claims = paper_table("findings").query("metric in @METRICS")
        return (verdicts(pd.concat(made), claims)["verdict"] != UNDECIDED).any()

    assert np.mean([decided(k) for k in range(20)]) <= 0.15


def test_many_claims_at_once_are_held_to_a_stricter_standard():
    table = results(db_up(0.02), noise=0.02)
    one = verdicts(table, claim("DB/BL", "TI/BL"))
    many = verdicts(table, pd.concat([claim("DB/BL", "TI/BL")] * 20, ignore_index=True))
    assert many["p_holm"][0] == pytest.approx(min(1, 20 * one["p_holm"][0]))


def test_mixed_profiles_embedders_and_unknown_directions_are_refused():
    table = results(db_up(0.2))
    with pytest.raises(ValueError, match="one profile at a time"):
        verdicts(pd.concat([table, table.assign(profile="paper")]))
    with pytest.raises(ValueError, match="2 embedders"):
        verdicts(pd.concat([table, table.assign(embedder="clap:y@2")]))
    with pytest.raises(ValueError, match="sideways"):
        verdicts(table, claim("DB/BL", "TI/BL", "sideways"))


def test_verdicts_do_not_depend_on_the_order_of_rows():
    table = results(db_up(0.1))
    pd.testing.assert_frame_equal(verdicts(table), verdicts(table.sample(frac=1, random_state=0)))


@pytest.mark.parametrize(
    ("effect", "noise", "verdict"),
    [(0.0, 0.02, NO_DIFFERENCE), (0.04, 0.1, UNDECIDED), (0.2, 0.02, REPRODUCED), (0.03, 0.002, REPRODUCED)],
)
def test_equal_within_the_margin_is_a_verdict_but_a_difference_that_is_sure_comes_first(effect, noise, verdict):
    row = verdicts(results(db_up(effect), noise=noise), claim("DB/BL", "TI/BL", margin=0.05)).iloc[0]
    assert row["verdict"] == verdict
    inside = row["ci_low"] > -0.05 and row["ci_high"] < 0.05
    assert inside == (verdict == NO_DIFFERENCE or effect == 0.03)


def test_the_equivalence_test_is_two_one_sided_t_tests_by_statsmodels():
    table = results(db_up(0.0))
    units = table.groupby(["method", "setup", "concept"])["value"].mean()
    p_value, *_ = ttost_paired(units["DB", "BL"], units["TI", "BL"], -0.05, 0.05)
    assert verdicts(table, claim("DB/BL", "TI/BL", margin=0.05))["p_equal"][0] == pytest.approx(p_value)
    three = pd.concat([claim("DB/BL", "TI/BL", margin=0.05)] * 3, ignore_index=True)
    assert verdicts(table, three)["p_equal"].tolist() == pytest.approx([3 * p_value] * 3)


def test_a_margin_in_percent_is_of_side_b():
    row = verdicts(results(lambda *_: 10.0, "fad"), claim("DB/BL", "TI/BL", "lower", "fad", "5 %")).iloc[0]
    assert row["margin"] == pytest.approx(0.05 * row["ours_b"])
    with pytest.raises(ValueError, match="-1"):
        verdicts(results(db_up(0)), claim("DB/BL", "TI/BL", margin=-1))


def test_interval_and_p_value_of_a_refuted_claim_on_all_rivals_are_of_one_level():
    table = fifths({"MW@0.2-0.4": 0.02}, noise=0.015)
    row = verdicts(table, BEST_FIFTH).iloc[0]
    units = table.groupby(["setup", "concept"])["value"].mean()
    rivals = [units["MW@0.4-0.6"] - units[setup] for setup in table["setup"].unique() if setup != "MW@0.4-0.6"]
    tests = [ttest_1samp(rival, 0, alternative="less") for rival in rivals]
    best = min(tests, key=lambda test: test.pvalue)
    assert row["p_holm"] == pytest.approx(min(1, 2 * len(rivals) * best.pvalue))
    assert (row["ci_high"] < 0) == (row["p_holm"] < 0.05)
