"""Verdicts follow from the numbers: a known effect, none, and its reverse."""

import numpy as np
import pandas as pd
import pytest

from tmp_utils.findings.verdicts import NOT_REPRODUCED, REPRODUCED, UNDECIDED, paper_table, two_embedders, verdicts
from tmp_utils.metrics.preservation import transfer_balance
from tmp_utils.metrics.table import RESULT_COLUMNS
from tmp_utils.runs.sweep import balance_rows

METRICS = ["clap_a", "clap_t", "fad"]
SETUPS = [tuple(row) for row in paper_table("table1")[["method", "setup"]].to_numpy()]


def results(effect, metric="clap_a", n_concepts=6, n_seeds=2, setups=SETUPS, noise=0.02, seed=0):
    """Return a results table in which ``effect(method, setup)`` is added to every concept's own level."""
    rng = np.random.default_rng(seed)
    rows = []
    for concept in range(n_concepts):
        level = rng.uniform(0.3, 0.7)
        for method, setup in setups:
            for k in range(n_seeds):
                value = level + effect(method, setup) + noise * rng.normal()
                row = {"profile": "pocket", "concept": f"c{concept}", "method": method, "setup": setup, "seed": k}
                row |= {"prompt": "all", "metric": metric, "value": value, "n": 4, "embedder": "clap:x@1"}
                rows.append(row | {"ci_low": np.nan, "ci_high": np.nan, "status": "ok", "note": ""})
    return pd.DataFrame(rows, columns=list(RESULT_COLUMNS))


def claim(a, b, direction="higher", metric="clap_a", margin=0.0):
    row = {"id": "x", "claim": "x", "source": "x", "metric": metric, "a": a, "b": b}
    return pd.DataFrame([row | {"direction": direction, "margin": margin}])


def db_up(size):
    return lambda method, setup: size * (method == "DB")


@pytest.mark.parametrize(
    ("effect", "direction", "verdict"),
    [
        (0.2, "higher", REPRODUCED),
        (-0.2, "higher", NOT_REPRODUCED),
        (0.0, "higher", UNDECIDED),
        (-0.2, "lower", REPRODUCED),
        (0.2, "lower", NOT_REPRODUCED),
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


def test_the_best_of_all_has_to_beat_its_closest_rival():
    def effect(method, setup):
        return {("DB", "TE"): 0.3, ("TI", "3-AC"): 0.1}.get((method, setup), 0.0)

    row = verdicts(results(effect), claim("DB/TE", "each */*")).iloc[0]
    assert row["verdict"] == REPRODUCED
    assert row["note"] == "weakest against TI/3-AC"
    assert row["difference"] == pytest.approx(0.2, abs=0.03)
    beaten = verdicts(
        results(lambda *s: {("DB", "TE"): 0.1, ("TI", "3-AC"): 0.3}.get(s, 0.0)), claim("DB/TE", "each */*")
    )
    assert beaten["verdict"].tolist() == [NOT_REPRODUCED]


def test_no_improvement_needs_an_interval_above_minus_the_margin():
    fad = {"metric": "fad", "noise": 0.01}
    same = verdicts(results(lambda *_: 10.0, **fad), claim("TI/MIX", "TI/BL", "not lower", "fad", 0.05))
    better = results(lambda m, s: 10.0 - 3 * (s == "MIX"), **fad)
    lowered = verdicts(better, claim("TI/MIX", "TI/BL", "not lower", "fad", 0.05))
    assert lowered["verdict"].tolist() == [NOT_REPRODUCED]
    assert same["verdict"].tolist() == [REPRODUCED]
    assert same["ci_low"][0] < 0 < same["ci_high"][0]


def test_a_constant_is_a_side_too():
    table = results(lambda *_: -0.35, metric="key_agreement")
    row = verdicts(table, claim("DB/BL", "0.5", "lower", "key_agreement")).iloc[0]
    assert (row["ours_b"], row["verdict"]) == (0.5, REPRODUCED)


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


def test_a_share_and_its_difference_from_a_mark_stay_where_shares_can_be():
    shares = results(lambda *_: 0.0, metric="key_agreement", n_concepts=4, n_seeds=1)
    shares["value"] = shares["concept"].map({"c0": 0.0, "c1": 0.0, "c2": 0.0, "c3": 0.25})
    row = verdicts(shares, claim("TI/BL", "0.5", "lower", "key_agreement")).iloc[0]
    assert row["ci_low"] == -0.5 and row["ci_high"] < 0.5
    none = results(lambda *_: 0.0, metric="key_agreement", n_concepts=8, n_seeds=1).assign(value=0.0)
    row = verdicts(none, claim("TI/BL", "0.5", "lower", "key_agreement")).iloc[0]
    assert (row["verdict"], row["ci_high"] < 0) == (REPRODUCED, True)
    few = verdicts(shares.assign(value=0.0), claim("TI/BL", "0.5", "lower", "key_agreement")).iloc[0]
    assert (few["verdict"], few["p_holm"]) == (UNDECIDED, 0.125)  # four alike are no more than four heads in a row


def test_a_claim_on_all_rivals_is_only_as_sure_as_on_the_one_it_is_least_sure_on():
    table = results(lambda m, s: 0.1 * ((m, s) == ("DB", "TE")), noise=0.001)
    unsure = (table["method"] == "TI") & (table["setup"] == "MW")
    table.loc[unsure, "value"] += table.loc[unsure, "concept"].map(dict(c0=-2, c1=2, c2=-2, c3=2, c4=-2, c5=1)) - 0.1
    row = verdicts(table, claim("DB/TE", "each */*")).iloc[0]
    assert (row["verdict"], row["note"]) == (UNDECIDED, "weakest against TI/MW")


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


def test_the_papers_own_table_is_read_beside_its_text():
    table = verdicts(results(db_up(0.2))).set_index("id")
    # By Table 1 the DreamBooth setups average 0.816 on CLAP-A and the Textual Inversion ones 0.825.
    assert table.loc["db_above_ti_audio", ["paper_a", "paper_b"]].tolist() == pytest.approx([0.816, 0.8252])
    assert table.loc["db_above_ti_audio", "paper_agrees"] == "no"
    assert table.loc["te_highest_audio", ["paper_a", "paper_b"]].tolist() == [0.88, 0.86]
    assert table.loc["te_lowest_text", ["paper_a", "paper_b"]].tolist() == [0.26, 0.29]
    assert table.loc["mix_no_fad_gain_ti", "paper_agrees"] == "yes"
    assert table.loc["db_keeps_tempo", "paper_agrees"] == "no numbers published"


def test_every_claim_of_the_paper_can_be_judged():
    metrics = [metric for metric in paper_table("findings")["metric"].unique() if metric != "transfer_balance"]
    setups = [*SETUPS, ("untrained", "class-noun"), ("reference", "codec")]
    frames = [results(db_up(0.1), metric=metric, setups=setups) for metric in metrics]
    transfer = [("TI", "MW@0.4-0.6"), ("TI", "MW@elsewhere")]
    frames.append(results(lambda m, s: 0.2 * ("0.4" in s), metric="transfer_balance", setups=transfer))
    table = verdicts(pd.concat(frames))
    assert table["id"].is_unique
    assert table["difference"].notna().all()
    assert table.set_index("id").loc["transfer_sweet_spot", "verdict"] == REPRODUCED


def test_the_papers_tables_are_as_printed():
    table1 = paper_table("table1")
    assert len(table1) == 10
    assert table1.set_index(["method", "setup"]).loc[("DB", "TE")].tolist() == [0.88, 8.1, 0.26]
    assert paper_table("table2").set_index("question").loc["reconstruction"].sum() == pytest.approx(1.0)
    with pytest.raises(ValueError, match="table1"):
        paper_table("table9")


def test_transfer_is_best_balanced_where_the_curves_cross():
    strength = np.linspace(0, 1, 11)
    curves = {"strength": strength, "source_similarity": 1 - 0.6 * strength, "target_similarity": 0.2 + 0.5 * strength}
    balance = transfer_balance(pd.DataFrame(curves))
    assert balance["0.4-0.6"] == pytest.approx(np.mean([0.4, 0.5, 0.4]))
    assert balance["elsewhere"] == pytest.approx(np.mean([0, 0.1, 0.2, 0.3] * 2))
    with pytest.raises(ValueError, match="2 strengths"):
        transfer_balance(pd.DataFrame(curves).iloc[[0, 10]])


def test_a_sweep_s_rows_are_what_the_claim_on_transfer_reads():
    strength = np.tile(np.linspace(0, 1, 11), 2)
    curves = pd.DataFrame({"strength": strength, "source_similarity": 1 - strength, "target_similarity": strength})
    frames = []
    for concept in "abcdefgh":
        identity = {"profile": "pocket", "concept": concept, "method": "TI", "seed": 0}
        frames.append(balance_rows(curves, identity, "MW", "clap:x@1"))
    assert frames[0]["setup"].tolist() == ["MW@0.4-0.6", "MW@elsewhere"]
    assert frames[0]["n"].tolist() == [22, 22]
    judged = verdicts(pd.concat(frames)).set_index("id").loc["transfer_sweet_spot"]
    assert (judged["verdict"], judged["n_concepts"]) == (REPRODUCED, 8)


def by_both(effect, second):
    tables = [results(db_up(effect)), results(db_up(second), metric="musicnn_a_coded").assign(embedder="musicnn:MTT@1")]
    return pd.concat(tables, ignore_index=True)


@pytest.mark.parametrize(
    ("second", "verdict", "word"),
    [(0.2, REPRODUCED, "agree"), (-0.2, NOT_REPRODUCED, "disagree"), (0.001, UNDECIDED, "one decides")],
)
def test_a_claim_is_judged_by_either_embedder_and_their_disagreement_is_said(second, verdict, word):
    row = two_embedders(by_both(0.2, second), claim("DB/BL", "TI/BL")).iloc[0]
    assert (row["verdict"], row["verdict_second"], row["embedders"]) == (REPRODUCED, verdict, word)
    assert row["difference_second"] == pytest.approx(second, abs=0.03)


def test_without_a_second_embedder_there_is_nothing_to_compare():
    assert two_embedders(results(db_up(0.2)), claim("DB/BL", "TI/BL")).empty


def test_a_property_is_missed_only_below_what_the_codec_leaves_of_a_copy():
    codec = [("TI", "BL"), ("reference", "codec")]
    for share, verdict in ((0.3, REPRODUCED), (0.0, UNDECIDED)):
        table = results(lambda method, _, s=share: s * (method == "reference"), "key_agreement", setups=codec)
        assert verdicts(table, claim("TI/BL", "reference/codec", "lower", "key_agreement"))["verdict"].item() == verdict
