"""Table 1 as text: our cells, the paper's, and the references."""

import numpy as np
import pandas as pd

from tmp_utils.figures.tables import setup_cells
from tmp_utils.findings.verdicts import paper_table


def test_the_codec_and_the_untrained_model_come_after_the_setups():
    rows = [
        {"method": method, "setup": setup, "metric": "clap_a", "value": value}
        for method, setup, value in (("reference", "codec", 0.9), ("untrained", "class-noun", 0.1), ("DB", "BL", 0.7))
    ]
    common = {"profile": "pocket", "concept": "sitar", "seed": 0, "prompt": "all", "n": 4, "embedder": "clap:x@1"}
    table = pd.DataFrame(
        [{**common, **row, "ci_low": np.nan, "ci_high": np.nan, "status": "ok", "note": ""} for row in rows]
    )
    cells = setup_cells(table, paper_table("table1"))
    assert list(cells[["method", "setup"]].itertuples(index=False, name=None))[-2:] == [
        ("reference", "codec"),
        ("untrained", "class-noun"),
    ]
    assert cells["clap_a"].tolist()[-2:] == ["0.900", "0.100"] and cells["clap_a_paper"].tolist()[-2:] == ["–", "–"]
