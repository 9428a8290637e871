"""What a page says in sentences follows from the numbers, and says no more than the verdicts do."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from tmp_utils.findings import charts, narrative
from tmp_utils.findings.claims import by_origin, claims, in_counts, with_numbers
from tmp_utils.findings.published import read_published
from tmp_utils.findings.verdicts import paper_table, verdicts
from tmp_utils.metrics.table import RESULT_COLUMNS

SETUPS = list(paper_table("table1")[["method", "setup"]].itertuples(index=False, name=None))
STAND_INS = ("sitar", "koto", "fiddle", "taiko", "breakbeat", "harmonica")


def results(db_minus_ti, concepts=STAND_INS, setups=SETUPS, half_width=0.03):
    """Return CLAP-A and CLAP-T of every setup; `db_minus_ti` has the difference of each."""
    rng, rows = np.random.default_rng(0), []
    for metric, difference in db_minus_ti.items():
        for concept in concepts:
            for method, setup in setups:
                value = 0.5 + difference * (method == "DB") + 0.01 * rng.normal()
                row = {"profile": "pocket", "concept": concept, "method": method, "setup": setup, "seed": 3}
                row |= {"prompt": "all", "metric": metric, "value": value, "n": 4, "ci_low": value - half_width}
                row |= {"ci_high": value + half_width, "embedder": "clap:x@1", "status": "ok", "note": ""}
                rows.append(row)
    return pd.DataFrame(rows, columns=list(RESULT_COLUMNS))


def with_untrained(table, value, half_width=0.03):
    """Return the table with an untrained reference and a ceiling of 0.9 for each of its concepts."""
    blank = table.drop_duplicates(["concept", "seed"]).assign(metric="clap_a")
    bounds = {"ci_low": value - half_width, "ci_high": value + half_width}
    untrained = blank.assign(method="untrained", setup="class-noun", value=value, **bounds)
    ceiling = blank.assign(method="reference", setup="", metric="ceiling_a", value=0.9, ci_low=0.9, ci_high=0.9)
    return pd.concat([table, untrained, ceiling], ignore_index=True)


def test_the_answer_follows_from_the_difference_between_trained_and_untrained():
    table = results({"clap_a": 0.2, "clap_t": 0.0})
    yes = narrative.answer(with_untrained(table, 0.1))
    assert yes.startswith(
        "Yes, for 6 concepts (rendered stand-ins), where the concept plays by itself: asked for “a recording of” "
    )
    assert all(f"{value} [" in yes for value in ("of 0.10", "untrained, 0.50", "and 0.70"))
    assert yes.index("Textual Inversion") < yes.index("DreamBooth") < yes.index("the concept's own clips reach 0.90")
    assert narrative.answer(with_untrained(table, 0.95)).startswith("No, for 6 concepts")
    chance = results({"clap_a": 0.0, "clap_t": 0.0}, half_width=0.5)
    chance["value"] = np.random.default_rng(1).normal(0.5, 0.2, len(chance))
    assert narrative.answer(with_untrained(chance, 0.5)).startswith("We cannot tell from 6 concepts")


def test_prior_preservation_is_said_to_change_dreambooth_where_three_concepts_have_it():
    plain = results({"clap_a": 0.2, "clap_t": 0.0})
    dreambooth = plain[plain["method"] == "DB"]
    change = -0.1 - 0.01 * dreambooth["concept"].map(STAND_INS.index)
    prior = dreambooth.assign(setup=dreambooth["setup"] + "-PP", value=dreambooth["value"] + change)
    three = pd.concat([plain, prior[prior["concept"].isin(STAND_INS[:3])]], ignore_index=True)
    (line,) = [
        line for line in narrative.in_short(three) if line.startswith("DreamBooth here has no prior preservation")
    ]
    change = r"−0\.110 \[−0\.1[23]\d, −0\.0[89]\d\]"
    assert re.search(rf"over 3 concepts: CLAP-A {change} and CLAP-T {change} in comparison", line)
    assert "The 15 claims about DreamBooth judged with it: " in line
    two = three[~(three["setup"].str.endswith("-PP") & (three["concept"] == STAND_INS[0]))]
    assert not any("prior" in line for line in narrative.in_short(two) + narrative.in_short(plain))


def test_the_answer_for_one_concept_speaks_of_it_alone_and_needs_intervals_that_are_apart():
    table = results({"clap_a": 0.2, "clap_t": 0.0}, concepts=["sitar"])
    assert narrative.answer(with_untrained(table, 0.1)).startswith("Yes, for sitar (a rendered stand-in) alone, where ")
    assert narrative.answer(with_untrained(table, 0.68, 0.2)).startswith("We cannot tell from sitar")
    assert narrative.answer(with_untrained(table, 0.9)).startswith("No, for sitar")
    smoke = with_untrained(table, 0.1).assign(profile="smoke")
    assert narrative.answer(smoke).startswith("A smoke test of sitar (a rendered stand-in) cannot answer this")


def test_there_is_no_answer_without_an_untrained_reference_or_a_baseline():
    table = results({"clap_a": 0.2})
    assert narrative.answer(table) == ""
    assert narrative.answer(with_untrained(table[table["setup"] == "MW"], 0.1)) == ""
    only = narrative.answer(with_untrained(table[table["method"] == "TI"], 0.1))
    assert "with Textual Inversion" in only and "DreamBooth" not in only


def test_the_answer_to_the_published_table_has_its_means():
    published = read_published("pocket")
    whole = published[(published["prompt"] == "all") & (published["metric"] == "clap_a")]
    means = whole.groupby(["method", "setup", "concept"])["value"].mean().groupby(["method", "setup"]).mean()
    sentence = narrative.answer(published)
    for run in (("untrained", "class-noun"), ("TI", "BL"), ("DB", "BL")):
        assert f" {means[run]:.2f} [" in sentence
    assert (
        f"{means['reference', 'codec']:.2f} ["
        in sentence.partition("after the model's codec")[0].rpartition(" and ")[2]
    )


def test_the_comparison_over_concepts_is_of_the_means_of_the_methods():
    table = results({"clap_a": 0.2, "clap_t": -0.3})
    sentence = " ".join(narrative.comparisons(table))
    assert "The means of five setups each, over 6 concepts" in sentence
    assert "DreamBooth comes closer to the concept than Textual Inversion (CLAP-A 0.70" in sentence
    assert (
        "Textual Inversion follows prompts better than DreamBooth (CLAP-T 0.20 against 0.50, difference −0.301 ["
        in (sentence)
    )
    for words in ("pocket model", "6 concepts (rendered stand-ins)", "seed 3;", "4 clips per run", "clap:x@1", "95 %"):
        assert words in narrative.conditions(table)
    turned = " ".join(narrative.comparisons(results({"clap_a": -0.2, "clap_t": 0.3})))
    assert "Textual Inversion comes closer" in turned and "DreamBooth follows prompts better" in turned


def test_where_not_all_setups_were_run_the_baselines_are_compared():
    table = results({"clap_a": 0.2, "clap_t": 0.0}, setups=[("DB", "BL"), ("TI", "BL"), ("TI", "MW")])
    sentence = " ".join(narrative.comparisons(table))
    assert (
        "DreamBooth comes closer" in sentence and "the two follow prompts equally well, within the margin" in sentence
    )
    assert sentence.startswith("The baselines, over 6 concepts:")


def test_where_more_concepts_have_the_baselines_both_comparisons_stand():
    table = results({"clap_a": 0.2, "clap_t": 0.0})
    fewer = table[(table["setup"] == "BL") | table["concept"].isin(table["concept"].unique()[:4])]
    sentence = " ".join(narrative.comparisons(fewer))
    assert sentence.startswith("The means of five setups each, over 4 concepts:")
    assert ". The baselines, over 6 concepts:" in sentence


def test_the_comparison_on_one_concept_gives_the_numbers_and_no_decision():
    table = results({"clap_a": 0.2, "clap_t": 0.0}, concepts=["sitar"])
    sentence = " ".join(narrative.comparisons(table))
    assert sentence.endswith("Results for one concept say nothing about the next one.")
    assert not any(words in sentence for aspects in narrative.ASPECTS.values() for words in aspects.values())
    assert "intervals over the clips of this concept" in narrative.conditions(table)
    value = table.query("metric == 'clap_a' and method == 'DB' and setup == 'BL'").iloc[0]
    assert f"CLAP-A {value['value']:.2f} [{value['ci_low']:.2f}, {value['ci_high']:.2f}] against" in sentence


def test_there_is_no_comparison_without_both_methods_and_recordings_are_not_called_stand_ins():
    table = results({"clap_a": 0.2, "clap_t": 0.0})
    assert narrative.comparisons(table[table["method"] == "DB"]) == []
    assert narrative.comparisons(table[table["metric"] == "clap_a"]) == []
    assert "mine (a recording)" in narrative.conditions(results({"clap_a": 0.2}, concepts=["mine"]))
    mixed = results({"clap_a": 0.2}, concepts=["mine", "sitar", "koto"])
    assert "3 concepts (2 rendered stand-ins, 1 recording)" in narrative.conditions(mixed)


def test_the_comparison_in_the_published_table_is_that_of_its_verdicts():
    published = read_published("pocket")
    judged = verdicts(published).set_index("id").loc[list(narrative.CLAIMS)]
    sentence = " ".join(narrative.comparisons(published))
    assert all(narrative.ASPECTS[row.metric][row.verdict] in sentence for row in judged.itertuples())


def test_the_short_version_counts_the_verdicts_also_on_recordings_and_stand_ins_and_the_copies():
    published = read_published("pocket")
    text = "\n".join(narrative.in_short(published))
    judged = verdicts(published)
    assert f"Of {len(claims(judged))} claims of the paper: {in_counts(judged)}. CLAP and MusiCNN give" in text
    for origin, table in by_origin(published).items():
        apart = verdicts(table)
        row = apart.set_index("id").loc["db_above_ti_audio"]
        numbers = f"CLAP-A {row['difference']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}] ({row['verdict']})"
        assert f"on the {row['n_concepts']} {origin} {numbers}" in text and f"claims: {in_counts(apart)}" in text
    tested = (published["metric"] == "copied") & (published["prompt"] == "all") & (published["method"] != "untrained")
    n, one = int(published.loc[tested, "n"].sum()), published.index[tested][0]
    assert published.loc[tested, "value"].eq(0).all() and f"Our copy test calls 0 of {n:,} clips copies" in text
    published.loc[one, "value"] = 0.3  # of ten clips
    assert f"Our copy test calls 3 of {n:,} clips" in "\n".join(narrative.in_short(published))


def test_the_short_version_says_how_far_a_second_seed_moves_the_baselines():
    table = results({"clap_a": 0.2, "clap_t": 0.0})
    baselines = table[(table["setup"] == "BL") & (table["metric"] == "clap_a")]
    second = baselines.assign(seed=4, value=baselines["value"] + 0.1 * (baselines["method"] == "DB"))
    (line,) = [line for line in narrative.in_short(table, second) if line.startswith("All concepts share a seed")]
    assert re.search(r"On 6 concepts .* in CLAP-A is 0\.19\d and 0\.29\d \(second minus first 0\.100 \[", line)
    assert not any(line.startswith("All concepts share") for line in narrative.in_short(table))


def test_every_claim_has_a_row_and_every_part_of_a_pair_with_its_numbers_or_the_reason_for_none():
    judged = verdicts(results({"clap_a": 0.2, "clap_t": 0.0}))
    told, whole = with_numbers(judged).set_index("claim"), claims(judged)
    assert told.loc[whole["claim"], "verdict"].tolist() == whole["verdict"].tolist()
    pairs = whole[whole["parts"].map(len) > 1]
    assert len(told) == len(whole) + pairs["parts"].map(len).sum() == len(judged) + len(pairs)
    first = told["numbers"].iloc[0]
    assert re.search(r"CLAP-A of DB \(all setups\) 0\.70 against TI \(all setups\) 0\.50, difference 0\.197 \[", first)
    assert "over 6 concepts; the paper has 0.82 against 0.83, which contradicts its text" in first
    place = told.index.get_loc("DreamBooth keeps the tempo and Textual Inversion does not")
    assert told["numbers"].iloc[place] == ""
    assert told.index[place + 1] == "(1) DreamBooth keeps the tempo better than Textual Inversion"
    assert told["numbers"].str.contains("no results for TI/MW@0.4-0.6").sum() == 1
    tie = told.loc["Textual Inversion: one clip is worse than five for reconstruction", "numbers"]
    assert tie.endswith("the paper has 0.81 against 0.81, which does not show it")


def test_every_figure_that_a_notebook_saves_has_a_caption():
    notebooks = (Path(__file__).parents[2] / "notebooks").glob("0[1-6]_*.ipynb")
    text = "".join(path.read_text() for path in notebooks)
    saved = {*re.findall(r'save_figure\(.*?\\"(\w+)\\"\)', text)}
    captions = {stem for group in charts.FIGURES.values() for stem in group}
    assert len(saved) > 20 and saved <= captions
    assert not [stem for stem in captions - saved if f'\\"{stem}\\"' not in text]  # the name of a figure chosen there
