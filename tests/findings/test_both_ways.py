"""The claims judged with and without prior preservation, and by the origin of the concepts."""

import pandas as pd
from made_results import db_up, results

from tmp_utils.findings.claims import both_ways, by_origin
from tmp_utils.findings.verdicts import CONTRADICTED, REPRODUCED, verdicts


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
