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


def test_each_score_has_a_row_with_both_changes_and_says_where_they_may_be_chance():
    found = gains(table({"clap_a_edits": {"TI": 0.1, "DB": -0.2}, "musicnn_a_coded": {"TI": 0.0, "DB": 0.3}}))
    assert found["score"].str.contains("MusiCNN").tolist() == [True, False] and set(found["concepts"]) == {6}
    second, edits = found["Textual Inversion − untrained"]
    assert second.endswith(", undecided") and edits.startswith("0.1") and "undecided" not in edits
    assert found["DreamBooth − untrained"].str[:5].tolist()[1].startswith("−0.") and set(found["codec"]) == {""}


def test_fewer_than_three_concepts_have_no_row():
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
    assert found["DreamBooth − untrained"] == f"{change.value:.2f} [{change.ci_low:.2f}, {change.ci_high:.2f}]".replace(
        "-", "−"
    )
    assert float(found["untrained"]) == pytest.approx(of["untrained", "class-noun"].mean(), abs=0.005)
