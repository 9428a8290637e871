"""Rows of the results table: one embedder a metric, reasons of failures, references, ends of intervals."""

import numpy as np
import pandas as pd
import pytest

from tmp_utils.metrics.intervals import Interval
from tmp_utils.metrics.table import references, result_row, results_table, score_references

IDENTITY = {"profile": "pocket", "concept": "sitar", "method": "TI", "setup": "BL", "seed": 0}


def angles(*degrees):
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def test_a_failed_row_needs_a_reason():
    with pytest.raises(ValueError, match="reason"):
        result_row(IDENTITY, "clap_a", None, "clap:x@1")


def test_references_are_means_over_concepts():
    frames = []
    for concept, degrees in (("sitar", 60), ("oud", 0)):
        identity = {**IDENTITY, "concept": concept}
        frames.append(score_references(angles(0, degrees), angles(90, 90), identity, "clap:x@1"))
        ceiling_t = result_row({**identity, "method": "untrained", "setup": ""}, "clap_t", Interval(0.4, 0, 1, 9), "")
        frames.append(results_table([ceiling_t]))
    values = references(pd.concat(frames))
    assert values["ceiling_a"] == pytest.approx((0.5 + 1.0) / 2)
    assert values["floor_t"] == pytest.approx((np.cos(np.pi / 6) / 2 + 0.0) / 2)
    assert values["ceiling_t"] == pytest.approx(0.4)


def test_the_ends_of_an_interval_are_values_that_the_metric_can_have():
    wide = Interval(0.9, 0.3, 1.4, 2)
    identity = {"profile": "smoke", "concept": "x", "method": "DB", "setup": "BL", "seed": 0}
    ends = {name: result_row(identity, name, wide, "e@1")["ci_high"] for name in ("clap_t", "key_agreement", "fad")}
    assert ends == {"clap_t": 1.0, "key_agreement": 1.0, "fad": 1.4}
    alone = result_row(identity, "clap_a", Interval(0.9, float("nan"), float("nan"), 1), "e@1")
    assert np.isnan(alone["ci_low"])
