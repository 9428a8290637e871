"""Results tables with a known effect, and claims on them."""

import numpy as np
import pandas as pd

from tmp_utils.findings.verdicts import paper_table
from tmp_utils.metrics.table import RESULT_COLUMNS

SETUPS = [tuple(row) for row in paper_table("table1")[["method", "setup"]].to_numpy()]


def results(effect, metric="clap_a", n_concepts=6, n_seeds=2, setups=SETUPS, noise=0.02, seed=0):
    """Return a results table in which ``effect(method, setup)`` is added to every concept's own level."""
    rng = np.random.default_rng(seed)
    rows = []
    for concept in range(n_concepts):
        level = rng.uniform(0.3, 0.7)
        for method, setup in setups:
            for k in range(n_seeds):
                value = level + effect(method, setup) + noise * rng.normal()
                row = {"profile": "pocket", "concept": f"c{concept}", "method": method, "setup": setup, "seed": k}
                row |= {"prompt": "all", "metric": metric, "value": value, "n": 4, "embedder": "clap:x@1"}
                rows.append(row | {"ci_low": np.nan, "ci_high": np.nan, "status": "ok", "note": ""})
    return pd.DataFrame(rows, columns=list(RESULT_COLUMNS))


def claim(a, b, direction="higher", metric="clap_a", margin=0.0, **others):
    row = {"id": "x", "claim": "x", "source": "x", "metric": metric, "a": a, "b": b, "pair": ""}
    return pd.DataFrame([row | {"direction": direction, "margin": margin} | others])


def db_up(size):
    return lambda method, setup: size * (method == "DB")
