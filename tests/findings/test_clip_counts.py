"""Comparisons of numbers of clips: planted differences and equalities are found."""

import numpy as np
import pandas as pd
import pytest

from tmp_utils.findings.clip_counts import (
    at_usual_steps,
    count_comparisons,
    counts_table,
    steps_in_words,
)
from tmp_utils.findings.published import read_published
from tmp_utils.inputs.concepts import are_stand_ins
from tmp_utils.metrics.equivalence import paired_equivalence
from tmp_utils.metrics.intervals import mean_of


def trainings(effects, n_concepts=14, spread=0.02, seed=0):
    """Score 0.5 + effect of each (method, n_clips) + a concept's own level + noise, at steps 80 (usual) and 160."""
    rng, rows = np.random.default_rng(seed), []
    for concept in range(n_concepts):
        level = rng.normal(0, 0.2)
        for (method, n), effect in effects.items():
            for metric, at in (("clap_a", 80), ("clap_a_more", 80), ("clap_a", 160), ("musicnn_a_more", 80),
                               ("clap_t", 80), ("clap_t", 160)):  # fmt: skip
                value = 0.5 + level + rng.normal(0, spread) + effect * metric.endswith("_more")
                rows.append((f"c{concept}", method, n, at, metric, value, 0))
    return pd.DataFrame(rows, columns=["concept", "method", "n_clips", "step", "metric", "value", "seed"])


def test_a_planted_difference_and_a_planted_equality_are_found():
    table = count_comparisons(trainings({("DB", 1): -0.1, ("DB", 5): 0.0, ("DB", 20): 0.005}))
    of_a = table[table["metric"] == "clap_a"].set_index(["a", "b"])
    assert of_a["verdict"].to_dict() == {(1, 5): "lower", (20, 5): "no difference"}
    assert of_a.loc[(1, 5), "difference"] == pytest.approx(-0.1, abs=0.03)
    assert of_a.loc[(1, 5), "difference_second"] == pytest.approx(-0.1, abs=0.03)
    of_t = table[table["metric"] == "clap_t"]
    assert set(of_t["margin"]) == {0.05} and of_t["difference_second"].isna().all()
    rows = counts_table(table).set_index("clips")
    assert rows.loc[1, "CLAP-A"].startswith("lower, −0.0") and rows.loc[20, "CLAP-A"].startswith("no difference, +0.0")
    assert rows.loc[1, "by MusiCNN"].startswith("−0.") and set(rows["on"]) == {"14 concepts, held-out clips"}


def test_what_the_longest_training_brings_is_said_and_how_many_clips_are_copies():
    table = trainings({("DB", 5): 0.0, ("DB", 1): 0.0})
    longest = (table["step"] == 160) & (table["metric"] == "clap_a") & (table["n_clips"] == 5)
    table.loc[longest, "value"] += 0.1
    copied = table[table["metric"] == "clap_a_more"].assign(metric="copied_more", value=0.1, n=10)
    said = steps_in_words(pd.concat([table, copied], ignore_index=True)).splitlines()
    difference = table[longest].set_index("concept")["value"]
    usual = table[(table["step"] == 80) & (table["metric"] == "clap_a") & (table["n_clips"] == 5)]
    mean = (difference - usual.set_index("concept")["value"]).mean()
    assert said[0].startswith(f"DB, 5 clips, 160 steps in place of 80 (4 generated clips): CLAP-A {mean:+.3f} [")
    assert mean > 0.08
    assert said[1] == "Of 280 clips, 28 are called copies of a training clip."
    assert steps_in_words(table[table["step"] == 80]) == ""


def test_the_published_setups_with_fewer_clips_are_compared_on_recordings_and_on_stand_ins():
    published = read_published("pocket")
    table = counts_table(pd.DataFrame(), published)
    places = {"15 recordings, training clips", "26 stand-ins, training clips"}
    assert set(table["on"]) == places and len(table) == 8
    rows = published[(published["prompt"] == "all") & (published["metric"] == "clap_t")]
    units = rows[rows["method"] == "DB"].pivot_table(index="concept", columns="setup", values="value")
    recorded = units.loc[[name for name in units.index if not are_stand_ins([name])], ["1-AC", "BL"]].dropna()
    mean = mean_of(recorded["1-AC"] - recorded["BL"])
    numbers = f"{mean.value:+.3f} [{mean.ci_low:+.3f}, {mean.ci_high:+.3f}]".replace("-", "−")
    first = table.iloc[0]
    assert (first["method"], first["clips"], first["CLAP-T"]) == ("DB", 1, numbers)
    assert counts_table(pd.DataFrame(), published[published["concept"] == "koto"]).empty


def test_all_tests_of_a_score_are_corrected_together_and_agree_with_the_intervals():
    effects = {("TI", 1): -0.03, ("TI", 5): 0, ("TI", 20): 0.02, ("DB", 1): -0.02, ("DB", 5): 0, ("DB", 20): 0}
    effects |= {("DB-LoRA", n): 0 for n in (1, 5, 20)}
    rows = trainings(effects, spread=0.04)
    table = count_comparisons(rows).query("metric == 'clap_a'")
    wide = rows[rows["metric"] == "clap_a_more"].pivot_table(
        index="concept", columns=["method", "n_clips"], values="value"
    )
    p_values = []
    for row in table.itertuples():
        a, b = wide[row.method, row.a], wide[row.method, row.b]
        mean = mean_of(a - b)
        assert (row.difference, row.ci_low, row.ci_high) == pytest.approx((mean.value, mean.ci_low, mean.ci_high))
        alone = paired_equivalence(a, b, 0.05)  # Holm's can only be stricter
        assert alone.equivalent or row.p_equal >= 0.05
        p_values.append(mean.p_value)
    assert table["p_holm"].min() == pytest.approx(6 * min(p_values))


def test_the_few_clips_of_a_look_give_way_to_all_that_are_judged_at_the_usual_steps():
    there = at_usual_steps(trainings({("DB", 1): -0.1}))
    assert set(there["step"]) == {80} and set(there["metric"]) == {"clap_a", "musicnn_a", "clap_t"}
    assert len(there) == 14 * 3


def test_trainings_of_two_lengths_are_refused():
    table = trainings({("DB", 1): 0.0})
    other = table.assign(concept="other", step=2 * table["step"])
    with pytest.raises(ValueError, match="trainings of several numbers of steps"):
        at_usual_steps(pd.concat([table, other]))


def test_two_concepts_decide_nothing_and_missing_counts_are_no_comparison():
    table = count_comparisons(trainings({("DB", 1): -0.1, ("DB", 5): 0.0}, n_concepts=2))
    assert list(zip(table["a"], table["b"], strict=True)) == [(1, 5)] * 2
    assert set(table["verdict"]) == {"undecided"} and table["ci_low"].isna().all()
    nothing = count_comparisons(trainings({("DB", 1): -0.1}))
    assert nothing.empty and counts_table(nothing).empty
