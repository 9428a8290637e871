"""What a page says in sentences follows from the numbers, and says no more than the verdicts do."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from tmp_utils.findings import narrative
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


def test_over_concepts_the_sentence_compares_the_means_of_the_methods():
    table = results({"clap_a": 0.2, "clap_t": -0.3})
    what, of = narrative.headline(table)
    assert what.startswith("Compared with Textual Inversion, DreamBooth comes closer to the concept (CLAP-A 0.70")
    assert "and follows prompts less well (CLAP-T 0.20 against 0.50, difference −0.30 [−0.3" in what
    for said in ("pocket model", "6 rendered stand-in concepts", "seed 3;", "4 clips a run", "clap:x@1", "95 %"):
        assert said in of
    assert "the mean of five setups of each method, over 6 concepts" in of
    turned, _ = narrative.headline(results({"clap_a": -0.2, "clap_t": 0.3}))
    assert "stays further from the concept" in turned and "follows prompts better" in turned


def test_where_not_all_setups_were_run_the_baselines_are_compared():
    table = results({"clap_a": 0.2, "clap_t": 0.0}, setups=[("DB", "BL"), ("TI", "BL"), ("TI", "MW")])
    what, of = narrative.headline(table)
    assert "closer to the concept (CLAP-A" in what and "is not told apart in following prompts" in what
    assert "of the baseline of each method, over 6 concepts" in of


def test_of_one_concept_the_numbers_are_told_and_nothing_is_decided_by_them():
    table = results({"clap_a": 0.2, "clap_t": 0.0}, concepts=["sitar"])
    what, of = narrative.headline(table)
    assert what.endswith("One concept decides nothing about the next.")
    assert not any(said in what for aspects in narrative.ASPECTS.values() for said in aspects.values())
    assert "over the clips of this concept alone" in of and "1 rendered stand-in concept (sitar)" in of
    value = table.query("metric == 'clap_a' and method == 'DB' and setup == 'BL'").iloc[0]
    assert f"CLAP-A {value['value']:.2f} [{value['ci_low']:.2f}, {value['ci_high']:.2f}] against" in what


def test_there_is_no_sentence_without_both_methods_and_recordings_are_not_called_stand_ins():
    table = results({"clap_a": 0.2, "clap_t": 0.0})
    assert narrative.headline(table[table["method"] == "DB"]) == ("", "")
    assert narrative.headline(table[table["metric"] == "clap_a"]) == ("", "")
    assert "stand-in" not in narrative.headline(results({"clap_a": 0.2, "clap_t": 0.0}, concepts=["mine"]))[1]


def test_the_sentence_says_of_the_published_table_what_its_verdicts_say():
    published = read_published("pocket")
    what, _ = narrative.headline(published)
    judged = verdicts(published).set_index("id").loc[list(narrative.CLAIMS)]
    assert all(narrative.ASPECTS[row.metric][row.verdict] in what for row in judged.itertuples())


def test_every_claim_is_told_once_with_its_numbers_or_the_reason_why_not():
    judged = verdicts(results({"clap_a": 0.2, "clap_t": 0.0}))
    lines = narrative.findings_in_words(judged)
    assert sorted(line.partition(":")[0] for found in lines.values() for line in found) == sorted(
        claim.partition(":")[0] for claim in judged["claim"]
    )
    assert {verdict: len(found) for verdict, found in lines.items() if found} == dict(judged["verdict"].value_counts())
    (first,) = lines["reproduced"]
    assert re.search(r"CLAP-A of DB \(all setups\) 0\.70 against TI \(all setups\) 0\.50, difference 0\.20 \[", first)
    assert "the paper has 0.82 against 0.83, unlike its own text" in first
    assert any("no results for TI/MW@0.4-0.6" in line for line in lines["undecided at this n"])


def test_every_figure_that_a_notebook_saves_has_a_caption():
    notebooks = sorted((Path(__file__).parents[2] / "notebooks").glob("0[1-6]_*.ipynb"))
    saved = [name for path in notebooks for name in re.findall(r'save_figure\(.*?\\"(\w+)\\"\)', path.read_text())]
    tables = {"metrics_table_1", "metrics_table_1_published", "metrics_findings"}
    captions = [stem for group in narrative.FIGURES.values() for stem in group]
    assert len(saved) > 20 and sorted({*saved} - tables) == sorted(captions)
