"""What learning changes beside the untrained model."""

import numpy as np
import pandas as pd
import pytest

from tmp_utils.findings.gains import gains
from tmp_utils.findings.published import read_published
from tmp_utils.metrics.intervals import mean_of
from tmp_utils.metrics.table import RESULT_COLUMNS

CONCEPTS = ("sitar", "koto", "fiddle", "taiko", "breakbeat", "harmonica")
RUNS = {"untrained": "class-noun", "TI": "BL", "DB": "BL"}


def table(changes, concepts=CONCEPTS):
    rng, rows = np.random.default_rng(0), []
    for metric, change in changes.items():
        for concept in concepts:
            for method, setup in RUNS.items():
                value = 0.5 + change.get(method, 0.0) + 0.01 * rng.normal()
                row = {"profile": "pocket", "concept": concept, "method": method, "setup": setup, "seed": 0}
                rows.append(row | {"prompt": "all", "metric": metric, "value": value, "status": "ok"})
    return pd.DataFrame(rows, columns=list(RESULT_COLUMNS))


def test_each_score_has_a_row_with_both_changes_and_says_where_they_may_be_nothing():
    found = gains(table({"clap_a_edits": {"TI": 0.1, "DB": -0.2}, "musicnn_a_coded": {"TI": 0.0, "DB": 0.3}}))
    assert found["score"].str.contains("MusiCNN").tolist() == [True, False] and set(found["concepts"]) == {6}
    second, edits = found["Textual Inversion − untrained"]
    assert second.endswith("], no difference") and edits.startswith("0.1") and edits.endswith("]")
    assert found["DreamBooth − untrained"].str[:5].tolist()[1].startswith("−0.") and set(found["codec"]) == {"–"}


def test_a_change_that_may_be_large_or_nothing_is_undecided_and_a_copy_stands_beside_it():
    rows = table({"clap_a": {"DB": 0.3}})
    ti = rows["method"] == "TI"
    rows.loc[ti, "value"] += np.random.default_rng(1).normal(0, 0.3, ti.sum())
    codec = rows[rows["method"] == "untrained"].assign(method="reference", setup="codec", value=0.875)
    found = gains(pd.concat([rows, codec], ignore_index=True)).iloc[0]
    assert found["Textual Inversion − untrained"].endswith(", undecided") and found["codec"] == "0.88"


def test_one_method_alone_is_compared_and_fewer_than_three_concepts_are_not():
    rows = table({"clap_a": {"DB": 0.3}})
    alone = gains(rows[rows["method"] != "TI"])
    assert "Textual Inversion" not in alone.columns and alone["DreamBooth − untrained"].item().startswith("0.3")
    assert gains(table({"clap_a": {"DB": 0.3}}, CONCEPTS[:2])).empty


def test_a_concept_without_one_of_the_runs_takes_no_part():
    rows = table({"clap_a": {"DB": 0.3}})
    assert gains(rows[(rows["concept"] != "koto") | (rows["method"] != "TI")])["concepts"].tolist() == [5]


def test_the_published_changes_are_differences_of_the_published_values():
    published = read_published("pocket")
    rows = published[(published["metric"] == "clap_t") & (published["prompt"] == "all")]
    of = rows.pivot_table(index="concept", columns=["method", "setup"], values="value")
    of = of[[("DB", "BL"), ("TI", "BL"), ("untrained", "class-noun")]].dropna()
    change = mean_of(of["DB", "BL"] - of["untrained", "class-noun"])
    found = gains(published).set_index("score").loc["in edits: follows the prompt (CLAP-T)"]
    numbers = f"{change.value:.3f} [{change.ci_low:.3f}, {change.ci_high:.3f}]"
    assert found["DreamBooth − untrained"] == numbers.replace("-", "−")
    assert float(found["untrained"]) == pytest.approx(of["untrained", "class-noun"].mean(), abs=0.005)
