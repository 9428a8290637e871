"""The paper's claims: its tables as printed, margins, pairs of claims, parts of a table, and the published verdicts."""

import numpy as np
import pandas as pd
import pytest
from made_results import SETUPS, claim, db_up, results

from tmp_utils.findings.claims import (
    WITH_PRIOR,
    about_dreambooth,
    beside,
    both_ways,
    by_origin,
    claims,
    compared,
    embedders_in_words,
    judged_both_ways,
)
from tmp_utils.findings.verdicts import CONTRADICTED, REPRODUCED, UNDECIDED, paper_table, verdicts
from tmp_utils.metrics.preservation import FIFTHS
from tmp_utils.runs.sweep import balance_rows


def test_the_papers_own_table_is_read_beside_its_text():
    table = verdicts(results(db_up(0.2))).set_index("id")
    # By Table 1 the DreamBooth setups average 0.816 on CLAP-A and the Textual Inversion ones 0.825.
    assert table.loc["db_above_ti_audio", ["paper_a", "paper_b"]].tolist() == pytest.approx([0.816, 0.8252])
    assert table.loc["db_above_ti_audio", "paper_agrees"] == "no"
    assert table.loc["te_raises_audio", ["paper_a", "paper_b"]].tolist() == [0.88, 0.80]
    assert table.loc["te_lowers_text", ["paper_a", "paper_b"]].tolist() == [0.26, 0.30]
    assert table.loc["bounded_db", "paper_agrees"] == "no numbers published"  # the untrained model is only in a figure
    assert table.loc["mix_no_fad_gain_ti", "paper_agrees"] == "yes"
    assert table.loc["db_keeps_tempo", "paper_agrees"] == "no numbers published"


def test_every_claim_of_the_paper_can_be_judged():
    metrics = {part for metric in paper_table("findings")["metric"] for part in metric.split(" - ")}
    metrics = sorted(metrics - {"transfer_balance"})
    setups = [*SETUPS, ("untrained", "class-noun"), ("reference", "codec")]
    frames = [results(db_up(0.1), metric=metric, setups=setups) for metric in metrics]
    transfer = [("TI", f"MW@{fifth}") for fifth in FIFTHS]
    frames.append(results(lambda m, s: 0.2 * ("@0.4" in s), metric="transfer_balance", setups=transfer))
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


def test_a_sweep_s_rows_are_what_the_claim_on_transfer_reads():
    strength = np.tile(np.linspace(0, 1, 11), 2)
    curves = pd.DataFrame({"strength": strength, "source_similarity": 1 - strength, "target_similarity": strength})
    frames = []
    for concept in "abcdefgh":
        identity = {"profile": "pocket", "concept": concept, "method": "TI", "seed": 0}
        frames.append(balance_rows(curves, identity, "MW", "clap:x@1"))
    assert frames[0]["setup"].tolist() == [f"MW@{fifth}" for fifth in FIFTHS]
    assert frames[0]["n"].tolist() == [22] * 5
    judged = verdicts(pd.concat(frames)).set_index("id").loc["transfer_sweet_spot"]
    assert (judged["verdict"], judged["n_concepts"]) == (REPRODUCED, 8)


@pytest.mark.parametrize(("best", "verdict"), [(0.5, REPRODUCED), (0.3, CONTRADICTED), (0.1, CONTRADICTED)])
def test_the_sweet_spot_is_in_the_middle_only_where_the_best_balance_is(best, verdict):
    strength = np.linspace(0, 1, 11)
    rising = np.interp(strength, [0, best, 1], [0, 0.6, 1])
    curves = pd.DataFrame({"strength": strength, "source_similarity": 1 - rising, "target_similarity": rising})
    curves["source_similarity"] = np.interp(strength, [0, best, 1], [1, 0.6, 0])
    identity = {"profile": "pocket", "method": "TI", "seed": 0}
    frames = [balance_rows(curves, identity | {"concept": c}, "MW", "clap:x@1") for c in "abcdefgh"]
    wobble = np.random.default_rng(0).normal(scale=0.01, size=8)
    frames = [
        frame.assign(value=frame["value"] + w * frame["setup"].eq("MW@0.4-0.6"))
        for frame, w in zip(frames, wobble, strict=True)
    ]
    assert verdicts(pd.concat(frames)).set_index("id").loc["transfer_sweet_spot", "verdict"] == verdict


def by_both(effect, second):
    tables = [results(db_up(effect)), results(db_up(second), metric="musicnn_a_coded").assign(embedder="musicnn:MTT@1")]
    return pd.concat(tables, ignore_index=True)


@pytest.mark.parametrize(("second", "verdict"), [(0.2, REPRODUCED), (-0.2, CONTRADICTED), (0.001, UNDECIDED)])
def test_a_claim_is_judged_by_either_embedder(second, verdict):
    row = verdicts(by_both(0.2, second), claim("DB/BL", "TI/BL")).iloc[0]
    assert (row["verdict"], row["verdict_second"], row["n_concepts_second"]) == (REPRODUCED, verdict, 6)
    assert row["difference_second"] == pytest.approx(second, abs=0.03)
    assert row["ci_low_second"] < row["difference_second"] < row["ci_high_second"]
    said = embedders_in_words(verdicts(by_both(0.2, second), claim("DB/BL", "TI/BL")))
    same = f"CLAP and MusiCNN give one verdict on {int(verdict == REPRODUCED)} of 1 comparisons that both can make"
    assert said.startswith(same) and (f"(reproduced; by MusiCNN {verdict})" in said) == (verdict != REPRODUCED)


def test_without_a_second_embedder_there_is_nothing_of_it():
    row = verdicts(results(db_up(0.2)), claim("DB/BL", "TI/BL")).iloc[0]
    assert row["verdict_second"] == "" and np.isnan(row["difference_second"])
    assert embedders_in_words(verdicts(results(db_up(0.2)), claim("DB/BL", "TI/BL"))) == ""
    of_two = by_both(0.2, 0.2).query("concept in ['c0', 'c1']")
    assert len(of_two) and embedders_in_words(verdicts(of_two, claim("DB/BL", "TI/BL"))) == ""


def test_every_margin_was_stated_with_its_reason():
    findings = paper_table("findings")
    assert (findings["margin"] != "0").all() and findings["margin_reason"].str.len().min() > 10


TEMPO, KEY = "tempo_agreement", "key_agreement"


@pytest.mark.parametrize(("db", "verdict"), [(0.0, CONTRADICTED), (0.6, REPRODUCED)])
def test_a_pair_is_not_reproduced_where_both_methods_miss(db, verdict):
    setups = [("DB", "BL"), ("TI", "BL"), ("reference", "codec"), ("untrained", "class-noun")]
    levels = {"DB": db, "TI": 0.0, "reference": 0.6, "untrained": 0.0}
    table = results(lambda method, _: levels[method], TEMPO, 8, setups=setups)
    table["value"] -= 0.3
    judged = verdicts(table, paper_table("findings").query("metric == @TEMPO"))
    assert judged.set_index("id").loc["ti_misses_tempo", "verdict"] == REPRODUCED
    pair = claims(judged)
    assert (pair["claim"].tolist(), pair["verdict"].tolist()) == (
        ["DreamBooth keeps the tempo and Textual Inversion does not"],
        [verdict],
    )
    assert len(pair["parts"][0]) == len(judged) == 3


def test_two_tables_stand_beside_each_other_and_few_concepts_are_counted():
    judged = {name: verdicts(results(db_up(0.2), n_concepts=n)) for name, n in (("published", 6), ("here", 1))}
    first = beside(judged).iloc[0]
    assert first.tolist() == [
        "DreamBooth is closer to the concept than Textual Inversion",
        REPRODUCED,
        "undecided (1 of 3 concepts)",
    ]


@pytest.mark.parametrize(("gain", "verdict"), [(0.0, REPRODUCED), (0.1, UNDECIDED), (0.3, CONTRADICTED)])
def test_a_property_is_missed_where_no_more_clips_have_it_than_from_the_untrained_model(gain, verdict):
    setups = [("TI", "BL"), ("untrained", "class-noun")]
    table = results(lambda method, _: gain * (method == "TI"), KEY, setups=setups)
    judged = verdicts(table, claim("TI/BL", "untrained/class-noun", "not higher", KEY, margin=0.1))
    assert judged["verdict"].item() == verdict and np.isnan(judged["p_equal"].item())


@pytest.mark.parametrize(("tempo", "key", "verdict"), [(0.4, 0.1, REPRODUCED), (0.1, 0.4, CONTRADICTED)])
def test_the_gains_of_two_metrics_are_compared_over_the_concepts_that_have_both(tempo, key, verdict):
    setups = [("DB", "BL"), ("untrained", "class-noun")]
    frames = [
        results(lambda m, _, gain=gain: gain * (m == "DB"), name, 8, setups=setups, seed=seed)
        for seed, (name, gain) in enumerate({TEMPO: tempo, KEY: key}.items())
    ]
    frames[1] = frames[1][frames[1]["concept"] != "c0"]
    row = verdicts(pd.concat(frames), claim("DB/BL", "untrained/class-noun", metric=f"{TEMPO} - {KEY}")).iloc[0]
    assert row["difference"] == pytest.approx(tempo - key, abs=0.03)
    assert (row["n_concepts"], row["verdict"]) == (7, verdict)


def test_concepts_whose_own_clips_disagree_are_not_asked_for_agreement():
    setups = [("DB", "BL"), ("reference", "codec")]
    table = results(lambda method, _: -0.3 * (method == "DB"), TEMPO, 6, setups=setups)
    own = table[(table["method"] == "reference")].assign(setup="own clips", value=1.0)
    own.loc[own["concept"].isin(["c0", "c1"]), "value"] = 0.6  # three of five clips
    asked = claim("DB/BL", "reference/codec", "lower", TEMPO)
    assert verdicts(table, asked)["n_concepts"].item() == 6
    assert verdicts(pd.concat([table, own]), asked)["n_concepts"].item() == 4


def test_dreambooth_with_prior_preservation_is_judged_in_its_own_table():
    plain = results(db_up(0.2))
    dreambooth = plain[plain["method"] == "DB"]
    worse = dreambooth.assign(setup=dreambooth["setup"] + "-PP", value=dreambooth["value"] - 0.4)
    tables = both_ways({"here": pd.concat([plain, worse], ignore_index=True), "there": plain})
    assert list(tables) == ["here", "here, DB with prior", "there"]
    by_table = {name: verdicts(table).set_index("id").loc["db_above_ti_audio"] for name, table in tables.items()}
    assert by_table["here"]["verdict"] == by_table["there"]["verdict"] == REPRODUCED
    assert by_table["here, DB with prior"]["verdict"] == CONTRADICTED
    assert by_table["here, DB with prior"]["n_concepts"] == by_table["here"]["n_concepts"]
    few = worse[worse["concept"].isin(sorted(worse["concept"].unique())[:2])]
    assert list(both_ways({"here": pd.concat([plain, few], ignore_index=True)})) == ["here"]


def test_with_prior_preservation_only_claims_about_dreambooth_are_judged():
    plain = results(db_up(0.2))
    prior = plain[plain["method"] == "DB"]
    prior = prior.assign(setup=prior["setup"] + "-PP")
    judged = judged_both_ways({"here": pd.concat([plain, prior], ignore_index=True)})
    here, with_prior = judged["here"], judged["here" + WITH_PRIOR]
    left_out = set(here["id"]) - set(with_prior["id"])
    assert left_out == {"one_clip_ti_audio", "one_clip_ti_text", "mw_above_bl_audio", "mw_above_bl_text"} | {
        "scale_kept_ti", "key_missed_ti", "loudness_missed_ti", "transfer_sweet_spot"
    }  # fmt: skip
    assert "bounded_ti" in set(with_prior["id"])  # a part of a sentence about both
    assert set(about_dreambooth()["id"]) == set(with_prior["id"])
    of_ti = here.set_index("id").loc["one_clip_ti_audio", "claim"]
    table = beside(judged).set_index("claim")
    assert table.index.tolist() == claims(here)["claim"].tolist() and table.loc[of_ti, "here" + WITH_PRIOR] == "–"
    numbers = compared(judged).set_index("claim")
    assert len(numbers) == len(here) and numbers.loc[of_ti, f"here{WITH_PRIOR}: verdict"] == "–"


def test_recordings_and_stand_ins_are_two_tables_where_there_are_both():
    table = results(db_up(0.2), n_concepts=3)
    names = dict(zip(sorted(table["concept"].unique()), ("tenor", "sitar", "my own"), strict=True))
    table = table.assign(concept=table["concept"].map(names))
    apart = by_origin(table)
    assert {name: set(part["concept"]) for name, part in apart.items()} == {
        "recordings": {"tenor"},
        "stand-ins": {"sitar"},
    }
    assert by_origin(table[table["concept"] != "tenor"]) == {}
