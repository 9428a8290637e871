"""Stop rules on planted curves whose best step is known."""

import numpy as np
import pandas as pd
import pytest

from tmp_utils.findings.stopping import StopRule, curves_of, regrets, stop_in_words, stop_rules, stop_verdict

STEPS = range(0, 90, 10)


def curve(best, told=True, **metrics):
    """CLAP-A + CLAP-T is highest at step `best`; where signals tell it, the validation loss is least there."""
    steps = np.array(STEPS)
    distance = np.abs(steps - best) / 100
    signal = distance if told else np.linspace(1, 0, len(steps))
    values = {"clap_a": 0.8 - distance, "clap_t": np.full(len(steps), 0.5), "validation_loss": 1 + signal}
    values |= {"drift": steps / 100, "clap_a_training": 0.9 - signal} | metrics
    return pd.DataFrame(values, index=pd.Index(steps, name="step"))


def planted(bests, told=True, methods=("TI",)):
    tables = []
    for concept, best in bests.items():
        for method in methods:
            long = curve(best, told).reset_index().melt("step", var_name="metric", value_name="value")
            tables.append(long.assign(concept=concept, method=method, n_clips=1, seed=0))
    return pd.concat(tables, ignore_index=True)


def test_early_stopping_takes_the_step_where_the_loss_last_fell():
    assert StopRule("validation_loss", 0.0, looks=1).step(curve(30)) == 30
    bumpy = curve(70)
    bumpy.loc[20, "validation_loss"] = 2.0  # worse for one look, then better again
    assert StopRule("validation_loss", 0.0, looks=1).step(bumpy) == 10
    assert StopRule("validation_loss", 0.0, looks=2).step(bumpy) == 70
    assert StopRule("validation_loss", 0.5, looks=1).step(curve(70)) == 10  # never so much better, and 0 is no step


def test_other_rules_take_the_step_that_their_definition_says():
    assert StopRule("clap_a_training", 0.0, looks=2).step(curve(50)) == 50
    assert StopRule("drift", 0.35).step(curve(50)) == 40
    assert StopRule("drift", 2.0).step(curve(50)) == 80
    assert StopRule("steps", 45).step(curve(50)) == 40


def test_a_regret_is_how_much_less_the_taken_step_has_than_the_best():
    curves = curves_of(planted({"koto": 30, "lute": 60}))
    table = regrets({"TI": StopRule("steps", 40)}, curves).set_index("concept")
    assert table.loc["koto", "regret"] == pytest.approx(0.1) and table.loc["lute", "regret"] == pytest.approx(0.2)


def test_the_untrained_model_is_never_the_best_step():
    best_untrained = {("koto", "TI", 1, 0): curve(0)}
    assert regrets({"TI": StopRule("steps", 10)}, best_untrained)["regret"].item() == 0


def test_a_rule_that_sees_the_best_step_holds_against_every_fixed_number_of_steps():
    bests = dict(zip("abcdefgh", (20, 30, 60, 70, 40, 20, 50, 60), strict=True))
    verdict = stop_verdict(planted(bests, methods=("TI", "DB")))
    assert verdict.holds and verdict.regret.value == 0 and verdict.regret.n == 4
    # a, c, e and g fit (20, 60, 40, 50): the least mean regret has 40 or 50 steps, and the first of equals is taken
    assert verdict.fixed["TI"] == StopRule("steps", 40)
    assert verdict.gain.value == pytest.approx(np.mean([0.1, 0.3, 0.2, 0.2]))
    assert "the stop rule is better than a fixed number of steps on the other half" in stop_in_words(planted(bests))


def test_a_rule_that_sees_nothing_does_not_hold():
    bests = dict(zip("abcdefgh", (20, 30, 60, 70, 40, 20, 50, 60), strict=True))
    table = planted(bests, told=False)
    assert not stop_verdict(table).holds
    assert "cannot be distinguished from" in stop_in_words(table)
    rules = stop_rules(table).set_index("signal")
    assert set(rules.index) == {"steps", "validation_loss", "drift", "clap_a_training"} and set(rules["n"]) == {4}
    assert (rules["regret"] > 0).all()


def test_few_concepts_give_no_verdict():
    table = planted({"koto": 30, "lute": 60})
    assert stop_verdict(table) is None and "needs 6 concepts" in stop_in_words(table)


def test_a_curve_that_lacks_a_metric_is_named():
    table = planted({"koto": 30})
    with pytest.raises(ValueError, match="no drift at some step"):
        curves_of(table[(table["metric"] != "drift") | (table["step"] != 40)])
