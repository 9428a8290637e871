"""Setups against each other, against copies of the training clips, and beside the paper."""

import numpy as np
import pandas as pd
import pytest
from results_runs import clip, collect
from scipy.stats import ttest_1samp

from tmp_utils.findings import comparisons
from tmp_utils.metrics.table import RESULT_COLUMNS
from tmp_utils.runs.integrity import record

METRIC = {"profile": "pocket", "concept": "sitar", "method": "TI", "seed": 0, "prompt": "all", "embedder": "judge"}
METRIC |= {"n": 4, "ci_low": np.nan, "ci_high": np.nan, "status": "ok", "note": ""}


def test_differences_are_paired_and_corrected_over_the_whole_table():
    rng, made = np.random.default_rng(0), []
    for concept in range(6):
        level = rng.normal()
        for (method, setup), shift in {("DB", "BL"): 0, ("DB", "MIX"): 0.2, ("TI", "BL"): 0.01}.items():
            values = {"method": method, "setup": setup, "metric": "clap_a", "value": level + shift + rng.normal() / 100}
            blank = dict.fromkeys(RESULT_COLUMNS, "") | {"concept": f"c{concept}", "seed": 0, "prompt": "all"}
            made.append({**blank, **values, "n": 4, "status": "ok"})
    table = comparisons.differences(pd.DataFrame(made)).set_index(["a", "b"])
    assert list(table.index) == [("DB MIX", "DB BL"), ("DB BL", "TI BL")]
    assert table.loc[("DB MIX", "DB BL"), "difference"] == pytest.approx(0.2, abs=0.02)
    wide = pd.DataFrame(made).pivot(index="concept", columns=["method", "setup"], values="value")
    alone = ttest_1samp(wide["DB", "MIX"] - wide["DB", "BL"], 0).pvalue  # the smaller of two: Holm doubles it
    assert table["p_holm"].iloc[0] == pytest.approx(2 * alone) and table["p_holm"].iloc[0] < table["p_holm"].iloc[1]
    few = comparisons.differences(pd.DataFrame(made).query("concept in ['c0', 'c1']"))
    assert few["p_holm"].isna().all() and few["n_concepts"].tolist() == [2, 2]


def test_a_copy_shows_as_excess_over_the_training_clips(scored):
    for folder in scored[1]:
        for file in ("reconstruction-0.wav", "reconstruction-1.wav"):
            path = clip(scored, "TI-BL", file, folder.name)
            path.write_bytes((folder / "1.wav").read_bytes())
            record(path.parents[1], f"clips/{file}")
        (path.parents[1] / "metrics.csv").unlink()
    found = comparisons.memorisation(collect(scored)).set_index(["method", "setup"])
    assert found.loc[("TI", "BL"), "nearest_training"] == pytest.approx(1)
    assert found.loc[("TI", "BL"), "excess"] > 0.05 and found["excess"].idxmax() == ("TI", "BL")
    assert "copied" not in found


def test_the_share_of_copies_stands_beside_the_similarities_where_it_was_measured(scored):
    table = collect(scored)
    copied = table[(table["metric"] == "clap_a") & (table["setup"] == "MIX")].assign(metric="copied", value=[0.0, 0.5])
    shares = comparisons.memorisation(pd.concat([table, copied])).set_index(["method", "setup"])["copied"]
    assert shares["DB", "MIX"] == 0.25 and np.isnan(shares["DB", "BL"])


def test_tables_stand_side_by_side_with_the_papers_numbers(scored):
    table = comparisons.side_by_side({"ours": collect(scored)})
    assert table.loc[("DB", "TE"), ("clap_a", "paper")] == 0.88 and len(table) == 10
    assert np.isfinite(table.loc[("DB", "MIX"), ("clap_a", "ours")])
    assert np.isnan(table.loc[("DB", "TE"), ("clap_a", "ours")])


@pytest.fixture
def table_1_rows():
    """Rows of `VALUES` in CLAP-A and FAD, for three concepts."""
    values = {("TI", "MW"): 0.6, ("TI", "BL"): 0.4, ("DB", "TE"): 0.8, ("DB", "BL"): 0.5}
    return pd.DataFrame(
        {**METRIC, "method": method, "setup": setup, "metric": metric, "concept": concept, "value": value + shift}
        for metric in ("clap_a", "fad")
        for concept, shift in (("a", -0.1), ("b", 0.0), ("c", 0.1))
        for (method, setup), value in values.items()
    )


def test_setups_compare_over_what_all_of_the_papers_have_and_others_stay_if_they_have_it_too():
    has = {("TI", "BL"): "abc", ("DB", "BL"): "abd", ("DB", "BL-PP"): "a", ("DB-LoRA", "BL"): "abe"}
    rows = [(concept, *setup) for setup, concepts in has.items() for concept in concepts]
    table = pd.DataFrame(rows, columns=["concept", "method", "setup"])
    table = table.assign(seed=0, prompt="all", metric="clap_a", status="ok", value=0.5)
    kept = comparisons.comparable(table)
    assert set(kept["concept"]) == {"a", "b"} and len(kept) == 6
    assert set(map(tuple, kept[["method", "setup"]].to_numpy())) == {*has} - {("DB", "BL-PP")}
    beyond = table[table["method"] != "TI"].query("setup == 'BL-PP' or method == 'DB-LoRA'")
    assert set(comparisons.comparable(beyond)["concept"]) == {"a"}
    apart = table.query("concept == 'c' and method == 'TI' or concept == 'd'")
    assert comparisons.comparable(apart).equals(apart)


def test_a_table_without_clap_a_has_no_coverage():
    row = {"concept": "a", "method": "TI", "setup": "MW@0.4-0.6", "seed": 0, "metric": "transfer_balance"}
    assert comparisons.coverage(pd.DataFrame([row | {"prompt": "all", "status": "ok", "value": 0.5}])).empty


def test_spreads_of_seeds_and_of_concepts_are_told_apart():
    rng, rows, n = np.random.default_rng(0), [], 400
    for concept in range(n):
        of_concept = rng.normal(0.2, 0.3)
        for seed in (0, 1):
            ti = rng.normal(0.5, 0.1)
            db = ti + of_concept + rng.normal(0, 0.1) + 0.05 * seed
            rows += [(f"c{concept}", "TI", "BL", seed, ti), (f"c{concept}", "DB", "BL", seed, db)]
    table = pd.DataFrame(rows, columns=["concept", "method", "setup", "seed", "value"])
    table = table.assign(prompt="all", metric="clap_a", status="ok")
    row = comparisons.seeds_or_concepts(table).loc["CLAP-A"]
    assert row["concepts"] == n and row["shift"] == pytest.approx(0.05, abs=0.02) and row["ci_low"] > 0
    assert row["sd_seeds"] == pytest.approx(0.1, rel=0.15) and row["sd_concepts"] == pytest.approx(0.3, rel=0.1)
    assert row["width"] == pytest.approx(np.sqrt((0.09 + 0.005) / 0.1), abs=0.01)
    third = table[(table["concept"] == "c0") & (table["seed"] == 1)].assign(seed=2)
    assert comparisons.seeds_or_concepts(pd.concat([table, third])).loc["CLAP-A"].equals(row)
    with pytest.raises(ValueError, match="fewer than 3 concepts have both baselines with two seeds"):
        comparisons.seeds_or_concepts(table[table["seed"] == 0])


def test_table_1_stands_beside_the_papers_numbers_and_says_what_failed(table_1_rows):
    rows = table_1_rows
    rows.loc[(rows["metric"] == "fad") & (rows["setup"] == "TE"), ["status", "value"]] = ["failed", np.nan]
    one = (rows["metric"] == "clap_a") & (rows["setup"] == "MW") & (rows["concept"] == "a")
    rows.loc[one, ["status", "value"]] = ["failed", np.nan]
    cells = comparisons.setup_cells(rows).set_index(["method", "setup"])
    assert len(cells) == 10 and cells.loc[("DB", "BL"), "clap_a"].startswith("0.500 [")
    assert cells.loc[("TI", "MIX"), "clap_a_paper"] == "0.816" and cells.loc[("DB", "BL"), "fad_paper"] == "12.37"
    assert cells.loc[("DB", "TE"), "fad"] == "failed" and cells.loc[("TI", "MW"), "clap_a"].endswith("(1 failed)")
    assert cells.loc[("TI", "1-AC"), "clap_a"] == "–"


def test_setups_beyond_the_papers_come_last_and_then_the_references(table_1_rows):
    rows = table_1_rows[table_1_rows["setup"] == "BL"]
    names = {"DB": ("untrained", "class-noun"), "TI": ("reference", "codec")}
    references = rows.assign(setup=[names[m][1] for m in rows["method"]], method=[names[m][0] for m in rows["method"]])
    own = rows[rows["method"] == "DB"].assign(method="DB-LoRA")
    cells = comparisons.setup_cells(pd.concat([references, rows, own]))
    shown = [("DB-LoRA", "BL"), ("reference", "codec"), ("untrained", "class-noun")]
    last = list(cells[["method", "setup"]].itertuples(index=False, name=None))[-3:]
    assert last[0] == shown[0] and set(last) == set(shown)
    assert set(cells["clap_a_paper"][-3:]) == {"–"} and cells["clap_a"].iloc[-3].startswith("0.500 [")


def test_the_results_table_takes_the_value_over_all_prompts_and_averages_seeds():
    rows = [
        {**METRIC, "setup": "BL", "prompt": "all", "metric": "CLAP-A", "value": 0.5},
        {**METRIC, "setup": "BL", "prompt": "jazz", "metric": "CLAP-A", "value": 0.9},
        {**METRIC, "setup": "BL", "prompt": "all", "metric": "CLAP-A", "value": 0.7, "seed": 1},
        {**METRIC, "setup": "MW", "prompt": "jazz", "metric": "CLAP-A", "value": 0.2},
        {**METRIC, "setup": "MW", "prompt": "rock", "metric": "CLAP-A", "value": 0.4},
        {**METRIC, "setup": "MW", "metric": "FAD", "value": np.nan, "embedder": "vggish"},
        {**METRIC, "setup": "BL", "metric": "KAD", "value": np.nan, "status": "failed"},
    ]
    table = comparisons.every_metric(pd.DataFrame(rows)).set_index(["metric", "embedder"])
    bl, mw = (next(name for name in table if name.endswith(setup)) for setup in (" BL", " MW"))
    assert table.loc[("CLAP-A", "judge"), [bl, mw]].tolist() == ["0.600 (mean of 2)", "0.300 (mean of 2)"]
    assert table.loc[("KAD", "judge"), bl] == "failed"
    assert table.loc[("FAD", "vggish"), [bl, mw]].tolist() == ["", "undefined"]


def test_the_way_to_a_copy_is_0_for_the_untrained_model_and_1_for_the_codec():
    shares = {("untrained", "class-noun"): 0.2, ("reference", "codec"): 0.8, ("TI", "BL"): 0.2, ("DB", "BL"): 0.5}
    rows = [
        METRIC | {"concept": c, "method": method, "setup": setup, "metric": "key_agreement", "value": share + shift}
        for c, shift in (("sitar", 0.1), ("koto", -0.1))
        for (method, setup), share in shares.items()
    ]
    rows.append(rows[0] | {"method": "DB-LoRA", "setup": "BL"})  # of sitar alone: it must not hide koto
    rows.append(METRIC | {"concept": "taiko", "method": "DB", "setup": "BL", "metric": "key_agreement", "value": 1.0})
    way = comparisons.way_to_a_copy(pd.DataFrame(rows))
    assert way.loc["key agreement"].to_dict() == pytest.approx(
        {"untrained": 0.2, "codec": 0.8, "TI": 0.2, "DB": 0.5, "TI way": 0.0, "DB way": 0.5, "concepts": 2}
    )
