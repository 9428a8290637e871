import numpy as np
import pandas as pd
import pytest

from tmp_utils.commands.search import (
    CANDIDATE,
    CANDIDATES,
    COLUMNS,
    SEARCHED,
    WEIGHTS,
    WITH_PRIOR,
    best,
    with_row,
)
from tmp_utils.findings.published import read_if_there, read_published
from tmp_utils.inputs.profiles import DATA_DIR, list_setups, load_profile
from tmp_utils.personalize import Diverged


def row(lr: float, concept: str = "rumba", value: float = 0.5) -> dict:
    scores = {"clap_a": value, "clap_t": 0.0, "sum": value, "note": ""}
    return {"method": "TI", "prior_weight": 0.0, "lr": lr, "concept": concept} | scores


def test_a_candidate_that_is_searched_again_takes_the_place_of_its_row_and_of_no_other():
    table = pd.DataFrame(columns=COLUMNS)
    for new in (row(2e-2), row(1e-2), row(1e-2, "accordion"), row(2e-2, value=0.9)):
        table = with_row(table, new)
    assert list(table.columns) == COLUMNS
    assert list(zip(table.lr, table.concept, table["sum"], strict=True)) == [
        (1e-2, "accordion", 0.5),
        (1e-2, "rumba", 0.5),
        (2e-2, "rumba", 0.9),
    ]


def test_a_training_that_diverged_keeps_its_reason_and_has_no_scores():
    table = with_row(
        pd.DataFrame(columns=COLUMNS),
        {**dict(zip(CANDIDATE, ("DB", 0.0, 1.0, "rumba"), strict=True)), "note": str(Diverged("NaN"))},
    )
    assert table.loc[0, "note"] == "NaN" and table[["clap_a", "clap_t", "sum"]].isna().all(axis=None)


@pytest.mark.parametrize("method", sorted({*CANDIDATES} - {WITH_PRIOR}))
def test_the_pocket_profile_learns_at_the_rate_that_scored_best_over_the_searched_concepts(method):
    table = pd.read_csv(DATA_DIR / "published" / "search-pocket.csv").query("method == @method")
    assert set(table.concept) == set(SEARCHED) and set(table.lr) == set(CANDIDATES[method])
    paper_rate = load_profile("paper").method(method)["lr"]
    assert load_profile("pocket").method(method)["lr"] == best(table, method, paper_rate)[0]


def test_rate_and_weight_of_prior_preservation_are_those_that_scored_best():
    table = pd.read_csv(DATA_DIR / "published" / "search-pocket.csv").query("method == @WITH_PRIOR")
    assert set(table.concept) == set(SEARCHED) and set(table.prior_weight) == set(WEIGHTS)
    lr, weight = best(table, WITH_PRIOR)
    assert load_profile("pocket").method("DB")["prior_lr"] == lr
    assert {setup.prior_weight for setup in list_setups("DB") if setup.setup.endswith("-PP")} == {weight}


def test_the_best_rate_is_the_highest_mean_or_the_papers_where_it_ties():
    table = pd.DataFrame([row(1e-2, value=0.50), row(2e-2, value=0.49), row(5e-2, value=0.40)])
    assert best(table, "TI") == (1e-2, 0.0) and best(table, "TI", paper_rate=2e-2) == (2e-2, 0.0)
    assert best(table, "TI", paper_rate=5e-2) == (1e-2, 0.0)


def test_a_rate_at_which_a_training_diverged_is_not_the_best():
    table = pd.DataFrame([row(1e-2), row(1e-2, "accordion"), row(5e-2, value=0.9), row(5e-2, "accordion", np.nan)])
    assert best(table, "TI") == (1e-2, 0.0)
    with pytest.raises(ValueError, match="TI: every rate diverged"):
        best(table[table["lr"] == 5e-2], "TI")


def test_a_search_leaves_the_rows_that_it_does_not_make_as_they_are():
    path = DATA_DIR / "published" / "search-pocket.csv"
    known = read_if_there(path)
    first = known.iloc[0].fillna({"note": ""}).to_dict()
    assert with_row(known, first).to_csv(index=False, lineterminator="\n") == path.read_text("utf-8")


def test_no_searched_concept_is_in_the_published_table():
    published = read_published("pocket")
    assert len(published) and not set(SEARCHED) & set(published["concept"])
