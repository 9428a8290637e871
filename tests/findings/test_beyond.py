"""What lies beyond the paper's setups is compared with DreamBooth over the concepts that have both."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tmp_utils.findings.beyond import METHODS, methods_in_words, other_methods
from tmp_utils.findings.published import read_published
from tmp_utils.findings.verdicts import paper_table
from tmp_utils.inputs.profiles import list_setups

CONCEPTS = ("sitar", "koto", "fiddle", "taiko")


def table(changes: dict, concepts=CONCEPTS, setup="BL") -> pd.DataFrame:
    """Return rows of DB and of methods that differ from it by `changes`: method -> metric -> change of each concept."""
    rows = []
    for method, metrics in {"DB": dict.fromkeys(("clap_a", "clap_t", "musicnn_a_coded"), 0.0), **changes}.items():
        for metric, change in metrics.items():
            for concept, value in zip(concepts, np.broadcast_to(change, len(concepts)) + 0.5, strict=True):
                row = {"concept": concept, "method": method, "setup": setup, "seed": 0, "prompt": "all"}
                rows.append(row | {"metric": metric, "value": value, "status": "ok"})
    return pd.DataFrame(rows)


def test_each_method_is_compared_with_dreambooth_by_a_paired_test_and_by_both_judges():
    changes = {
        "clap_a": [0.09, 0.1, 0.12, 0.11],
        "clap_t": [0.001, 0.0, -0.001, 0.002],
        "musicnn_a_coded": [0.3, 0.2, 0.4, 0.3],
    }
    result = other_methods(table({"DB-LoRA": changes})).set_index("metric")
    test = stats.ttest_1samp(changes["clap_a"], 0)
    assert result["difference"].to_dict() == pytest.approx({"clap_a": 0.105, "clap_t": 0.0005})
    low, high = test.confidence_interval()
    assert result.loc["clap_a", ["ci_low", "ci_high"]].tolist() == pytest.approx([low, high])
    assert result.loc["clap_a", "p_holm"] == pytest.approx(2 * test.pvalue)  # the smaller of two
    assert result["verdict"].to_dict() == {"clap_a": "higher", "clap_t": "no difference"}
    assert result.loc["clap_a", "difference_second"] == pytest.approx(0.3)
    sentence = methods_in_words(result.reset_index())
    assert re.fullmatch(
        r"Other methods in place of DreamBooth, 4 concepts: CLAP-A higher: LoRA \+0\.105 \[\+0\.0\d\d, \+0\.1\d\d\]\. "
        r"CLAP-T no difference: LoRA \+0\.001 \[.*\]\.",
        sentence,
    ), sentence


def test_a_method_of_two_concepts_or_of_other_setups_is_left_out():
    few = table({"DB-SV": {"clap_a": 0.1}}, concepts=CONCEPTS[:2])
    others = table({"DB-CD": {"clap_a": 0.1}}, setup="MIX")
    assert other_methods(few).empty and other_methods(others).empty and methods_in_words(other_methods(few)) == ""


def test_every_method_beyond_the_papers_is_named():
    papers = set(paper_table("table1")["method"])
    assert METHODS.keys() == {setup.method for setup in list_setups()} - papers


def test_the_published_differences_are_those_of_its_means():
    published = read_published("pocket")
    whole = published[(published["prompt"] == "all") & (published["setup"] == "BL")]
    compared = other_methods(published)
    assert set(compared["method"]) == METHODS.keys() and (compared["n"] >= 16).all()
    for row in compared.itertuples():
        values = whole[whole["metric"] == row.metric].pivot_table(index="concept", columns="method", values="value")
        both = values[[row.method, "DB"]].dropna()
        assert row.n == len(both) and row.difference == pytest.approx((both[row.method] - both["DB"]).mean())
