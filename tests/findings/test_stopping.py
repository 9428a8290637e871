"""Stop rules on made-up curves whose best step is known."""

import numpy as np
import pandas as pd
import pytest

from tmp_utils.commands.search import SEARCHED
from tmp_utils.findings import stopping
from tmp_utils.findings.stopping import (
    HALVES,
    StopRule,
    StopVerdict,
    cross_fit,
    curves_of,
    fitted,
    halves,
    scores,
    stop_in_words,
    stop_rules,
    whole_curves,
)
from tmp_utils.inputs.concepts import catalogue
from tmp_utils.metrics.intervals import Interval

STEPS = (0, 25, 50, 100, 200)
BESTS = (25, 100, 50, 25, 100, 50, 200, 50, 25, 100, 25, 200, 50, 100)  # of the concepts in data/how_many.csv


def curve(best, told=True, **metrics):
    """A score that is highest at step `best`; where signals tell it, the drift reaches 0.5 there and no sooner."""
    steps = np.array(STEPS)
    looks = np.abs(np.arange(len(STEPS)) - STEPS.index(best))
    values = {"clap_a": 0.7 * (0.9 - 0.1 * looks), "clap_t": np.full(len(steps), 0.33)}
    values |= {"drift": steps / (2 * best) if told else np.zeros(len(steps))}
    values |= {"validation_loss": np.ones(len(steps)), "clap_a_training": np.zeros(len(steps))} | metrics
    return pd.DataFrame(values, index=pd.Index(steps, name="step"))


def long(curve, concept, method="DB", n_clips=1):
    rows = curve.reset_index().melt("step", var_name="metric", value_name="value")
    return rows.assign(concept=concept, method=method, n_clips=n_clips, seed=0)


def planted(told=True, counts=(1, 5), bests=BESTS):
    return pd.concat(
        [
            long(curve(best, told), concept, n_clips=n)
            for concept, best in zip(halves(), bests, strict=True)
            for n in counts
        ]
    )


def test_the_halves_are_of_unsearched_stand_ins_with_both_kinds_in_each():
    of, table = halves(), catalogue().set_index("name")
    assert len(of) == 14 and not set(of) & set(SEARCHED)
    rows = table.loc[list(of)].assign(half=list(of.values()))
    assert set(rows["origin"]) == {"stand-in"} and set(rows["group"]) == {"percussion and beats", "solo melodic"}
    assert (rows["harmonic"] == (rows["group"] == "solo melodic")).all()
    assert sorted(rows.groupby(["half", "harmonic"]).size()) == [3, 3, 4, 4]
    assert rows["half"].value_counts().to_dict() == dict.fromkeys(HALVES, 7)


def test_another_half_than_the_two_is_refused(tmp_path, monkeypatch):
    (tmp_path / "how_many.csv").write_text("concept,half\nkoto,third\n")
    monkeypatch.setattr(stopping, "DATA_DIR", tmp_path)
    with pytest.raises(ValueError, match=r"column half has \['third'\]; expected first or second"):
        halves()


def test_early_stopping_takes_the_look_before_the_loss_stops_falling_and_pays_for_the_next():
    falling = curve(100, validation_loss=[1.0, 0.9, 0.85, 0.86, 0.8])
    assert StopRule("validation_loss", 0.0).ends(falling) == (50, 100)
    assert StopRule("validation_loss", 0.08).ends(falling) == (25, 50)
    assert StopRule("validation_loss", 0.5).ends(falling) == (25, 25)  # never so much lower, and 0 is no step
    rising = curve(100, clap_a_training=[0.1, 0.4, 0.5, 0.6, 0.7])
    assert StopRule("clap_a_training", 0.0).ends(rising) == (200, 200)


def test_other_rules_end_where_their_definition_says():
    assert StopRule("drift", 0.5).ends(curve(100)) == (100, 100)
    assert StopRule("drift", 9.0).ends(curve(100)) == (200, 200)
    assert StopRule("steps", 50).ends(curve(100)) == (50, 50)


def test_a_score_adds_both_similarities_in_parts_of_their_spans():
    assert scores(curve(100)).tolist() == pytest.approx([1.1, 1.2, 1.3, 1.4, 1.3])


def test_fixed_steps_are_chosen_by_the_greatest_mean_and_the_fewest_of_equals():
    assert fitted(["steps"], [curve(25), curve(50), curve(50)]) == StopRule("steps", 50)
    assert fitted(["steps"], [curve(50), curve(100)]) == StopRule("steps", 50)


def test_a_rule_that_is_better_is_offered_with_its_gain_over_the_other_halfs_steps():
    tested = cross_fit(whole_curves(planted()))
    assert len(tested) == 28 and set(tested["concept"]) == set(halves())
    best_of = dict(zip(halves(), BESTS, strict=True))
    gains = [1.4 - scores(curve(best_of[row.concept]))[row.fixed_steps] for row in tested.itertuples()]
    assert tested["gain"].tolist() == pytest.approx(gains)  # the rule takes the best step, whose score is 1.4
    verdict = StopVerdict.of(tested)
    assert verdict.offered and verdict.gain.value == pytest.approx(np.mean(gains)) and verdict.gain.n == 14
    said = stop_in_words(planted())
    assert said.startswith("A stop rule is better than a fixed number of steps. On 14 concepts")
    low, high = verdict.gain.ci_low, verdict.gain.ci_high
    assert f"differs from that of fixed steps by {np.mean(gains):.3f} [{low:.3f}, {high:.3f}]" in said


def test_a_rule_that_sees_nothing_is_not_offered():
    table = planted(told=False)
    assert not StopVerdict.of(cross_fit(whole_curves(table))).offered
    assert stop_in_words(table).startswith("We found no stop rule that is better than")


def test_what_is_tested_on_a_half_is_chosen_on_the_other():
    parts = whole_curves(planted(bests=[25 if half == "first" else 100 for half in halves().values()]))
    of_halves = cross_fit(parts).assign(half=lambda rows: rows["concept"].map(halves()))
    assert of_halves.groupby("half")["fixed"].unique().map(list).to_dict() == {
        "first": ["100 steps"],
        "second": ["25 steps"],
    }


def test_each_number_of_clips_has_fixed_steps_of_its_own():
    table = pd.concat([long(curve({1: 25, 20: 200}[n]), concept, n_clips=n) for concept in halves() for n in (1, 20)])
    tested = cross_fit(whole_curves(table), ["validation_loss"])
    assert tested.groupby("n_clips")["fixed_steps"].unique().map(list).to_dict() == {1: [25], 20: [200]}


@pytest.mark.parametrize(
    ("low", "saved", "offered"),
    [(0.001, -0.5, True), (-0.029, 0.25, True), (-0.029, 0.24, False), (-0.031, 0.9, False)],
)
def test_what_is_offered_is_better_or_much_shorter_and_hardly_worse(low, saved, offered):
    assert StopVerdict(Interval(low + 0.01, low, low + 0.02, 14), saved).offered is offered


def test_each_signal_is_listed_and_the_validation_loss_says_that_it_uses_one_more_clip():
    rules = stop_rules(planted(bests=[50] * 14)).set_index("signal")
    assert list(rules.index) == ["drift", "validation_loss", "clap_a_training"] and set(rules["n"]) == {14}
    assert "on one more clip than the fixed steps use" in rules.loc["validation_loss", "rules"]
    # Neither of the other signals moves: they end every training at its first look, of 25 steps; fixed are 50.
    assert rules["gain"].tolist() == pytest.approx([0, -0.1, -0.1]) and rules["steps_saved"].tolist() == [0, 0.5, 0.5]


def test_few_concepts_or_none_of_the_file_give_no_verdict():
    for names in (list(halves())[:5], ["own_drum"]):
        table = pd.concat([long(curve(50), name) for name in names])
        assert stop_rules(table).empty and "Stop rules need 6 whole concepts of data/how_many.csv" in stop_in_words(
            table
        )


def test_concepts_that_lack_a_training_are_left_out():
    table = planted()
    first = table["concept"] == next(iter(halves()))
    assert "On 13 concepts" in stop_in_words(table[~(first & (table["n_clips"] == 5))])


def test_a_curve_that_lacks_a_metric_is_named():
    table = long(curve(25), "koto")
    with pytest.raises(ValueError, match="no drift at some step"):
        curves_of(table[(table["metric"] != "drift") | (table["step"] != 50)])
