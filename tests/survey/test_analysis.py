"""Known answers: what the analysis of a listening study must find in constructed data."""

import math

import numpy as np
import pandas as pd
import pytest

from tmp_utils.figures import survey as figures
from tmp_utils.metrics.intervals import wilson
from tmp_utils.runs.place import Place
from tmp_utils.survey import analysis, models, power
from tmp_utils.survey.simulate import EXAMPLE_DIR, Rater, example_questions, simulate_answers, simulate_scores

STUDY = example_questions()
SURE = {"careless": 0.0, "none": 0.0, "cannot_decide": 0.0}


def answers_of(rater, n=34, seed=0, questionnaire=STUDY):
    return analysis.with_preferred(simulate_answers(questionnaire, n, rater, seed))


def only(choices, kind="reconstruction", participant="p"):
    """A table with these preferences: "first", "second", "None" or "Cannot decide"."""
    rows = []
    for k, choice in enumerate(choices):
        side = {"first": "A", "second": "B"}.get(choice, choice)
        names = {"participant": f"{participant}{k}", "question": "r01", "kind": kind, "catch": False}
        sides = {"first": "DB-BL", "second": "TI-BL", "side_a": "DB-BL", "side_b": "TI-BL"}
        rows.append({**names, **sides, "choice": side, "source": "web"})
    return analysis.with_preferred(pd.DataFrame(rows))


def test_shares_of_a_small_table_are_counted_by_hand():
    table = analysis.preference_table(only(["first"] * 5 + ["second"] * 2 + ["None"] * 2 + ["Cannot decide"]))
    assert dict(zip(table["outcome"], table["share"], strict=True)) == pytest.approx(
        {"DB-BL": 0.5, "TI-BL": 0.2, "None": 0.2, "Cannot decide": 0.1}
    )
    assert list(table["count"]) == [5, 2, 2, 1] and set(table["n"]) == {10}


def test_the_sign_test_is_the_binomial_formula_and_leaves_the_undecided_out():
    table = analysis.sign_test(only(["first"] * 9 + ["second"] + ["None"] * 5)).set_index("unit")
    assert table.loc["answers", "p_value"] == pytest.approx(2 * (1 + 10) / 2**10)
    assert tuple(table.loc["answers", ["wins_first", "wins_second"]]) == (9, 1)


def test_all_none_is_no_preference_and_no_error():
    answers = only(["None"] * 12)
    table = analysis.preference_table(answers).set_index("outcome")
    assert table.loc["None", "share"] == 1 and table.loc["DB-BL", "share"] == 0
    n = answers["participant"].nunique()  # unanimous people are not certainty, however many answers each gave
    assert tuple(table.loc["None", ["ci_low", "ci_high"]]) == pytest.approx(wilson(n, n))
    assert tuple(table.loc["DB-BL", ["ci_low", "ci_high"]]) == pytest.approx(wilson(0, n))
    assert analysis.sign_test(answers)["p_value"].isna().all()
    assert "0 decided answers" in models.mixed_model(answers)["status"].iloc[0]
    assert math.isnan(power.participant_icc(answers))
    scores = pd.DataFrame(
        [["r01", "CLAP-A", 0.5, 0.4, "x"]], columns=["question", "metric", "score_first", "score_second", "embedder"]
    )
    assert analysis.agreement(answers, scores)[0].empty


def test_nobody_left_after_the_catch_trials_is_no_preference_and_no_error():
    answers, report = analysis.exclude(answers_of(Rater(careless=1.0), 6))
    assert report["excluded"].all() and answers.empty
    assert analysis.preference_table(answers).empty and analysis.sign_test(answers).empty
    assert "0 decided answers" in models.mixed_model(answers)["status"].iloc[0]
    with pytest.raises(ValueError, match="no decided answers"):
        models.bradley_terry(answers)
    summary, points = analysis.agreement(answers, simulate_scores(STUDY))
    assert summary.empty
    drawn = figures.preference_bars(analysis.preference_table(answers)), figures.agreement_plot(points)
    assert all(figure.layout.title.text for figure in drawn)


def test_clustering_widens_the_interval_when_participants_are_of_one_mind_and_not_when_they_are_not():
    alike = answers_of(
        Rater(**SURE, log_odds=dict.fromkeys(analysis.KINDS, 0.0), participant_sd=8, item_sd=0, side_a=0)
    )
    mixed = answers_of(
        Rater(**SURE, log_odds=dict.fromkeys(analysis.KINDS, 0.0), participant_sd=0, item_sd=0, side_a=0)
    )

    def ratio(answers):
        row = analysis.preference_table(answers).iloc[0]
        return (row.ci_high - row.ci_low) / (row.wilson_high - row.wilson_low)

    assert ratio(alike) > 2 and 0.7 < ratio(mixed) < 1.3
    assert power.participant_icc(alike) > 0.5 and power.participant_icc(mixed) < 0.05


def test_a_known_effect_is_found_and_no_effect_is_not():
    rater = Rater(careless=0, log_odds={"reconstruction": 1.5, "editability": 0.0}, item_sd=0.1, side_a=0.5)
    answers = answers_of(rater, 60)
    model = models.mixed_model(answers).set_index("effect")
    assert model.loc["reconstruction", "ci_low"] < 1.5 < model.loc["reconstruction", "ci_high"]
    assert model.loc["reconstruction", "ci_low"] > 0.7
    assert model.loc["editability", "ci_low"] < 0 < model.loc["editability", "ci_high"]
    assert model.loc["side A", "ci_low"] < 1.0 < model.loc["side A", "ci_high"]  # 0.5 either way
    signs = analysis.sign_test(answers).set_index(["kind", "unit"])["p_value"]
    assert signs["reconstruction", "participants"] < 1e-6 and signs["editability", "participants"] > 0.05


def test_the_sign_test_by_participants_keeps_its_level_when_there_is_no_effect():
    rater = Rater(log_odds=dict.fromkeys(analysis.KINDS, 0.0), participant_sd=1.0, item_sd=0, side_a=0)
    tests = pd.concat([analysis.sign_test(answers_of(rater, 20, seed)) for seed in range(40)])
    rate = (tests["p_value"] < 0.05).groupby(tests["unit"]).mean()
    assert rate["participants"] < 0.1 < rate["answers"]  # answers of one person are not independent


def test_bradley_terry_finds_the_abilities_and_orders_three_variants():
    questionnaire = example_questions(("DB-BL", "TI-BL", "DB-MIX"), 12)
    truth = {"DB-BL": 0.8, "DB-MIX": 0.0, "TI-BL": -0.8}

    class Ranked(Rater):
        def effect(self, question):
            return truth[question.first] - truth[question.second]

    rater = Ranked(**SURE, item_sd=0, participant_sd=0, side_a=0)
    answers = answers_of(rater, 60, questionnaire=questionnaire)
    table = models.bradley_terry(answers)
    assert list(table["variant"]) == list(truth)
    assert ((table["ci_low"] < list(truth.values())) & (table["ci_high"] > list(truth.values()))).all()


def test_bradley_terry_of_two_variants_is_the_log_odds_of_the_wins():
    table = models.bradley_terry(only(["first"] * 6 + ["second"] * 2))
    assert table["ability"].to_numpy() == pytest.approx([math.log(3) / 2, -math.log(3) / 2])
    with pytest.raises(ValueError, match="not finite"):
        models.bradley_terry(only(["first"] * 6))


def test_who_fails_or_misses_a_catch_trial_is_left_out_and_reported():
    answers = answers_of(Rater(careless=0))
    wrong = (answers["participant"] == "SIM-002") & (answers["question"] == "c01")
    answers.loc[wrong, "choice"] = "None"
    gone = (answers["participant"] == "SIM-003") & (answers["question"] == "c02")
    kept, report = analysis.exclude(analysis.with_preferred(answers[~gone]))
    out = report[report["excluded"]].set_index("participant")["reason"]
    assert {"SIM-002", "SIM-003"} <= set(out.index)
    assert out["SIM-002"].startswith("failed") and "stopped before" in out["SIM-003"]
    assert not kept["catch"].any() and not {"SIM-002", "SIM-003"} & set(kept["participant"])


def test_agreement_is_high_with_a_metric_that_hears_the_same_and_none_with_noise():
    rater = Rater(careless=0, item_sd=1.5, log_odds=dict.fromkeys(analysis.KINDS, 0.0))
    answers = answers_of(rater, 60)
    same, pairs = analysis.agreement(answers, simulate_scores(STUDY, rater, noise=0.0))
    noise, _ = analysis.agreement(answers, simulate_scores(STUDY, rater, noise=1000.0))
    assert (same["spearman"] > 0.8).all() and (same["agree"] > 0.7).all() and len(pairs) == 20
    assert ((noise["spearman_low"] < 0) & (noise["spearman_high"] > 0)).all()


def test_pair_scores_are_cosines_to_the_concept_or_to_the_prompt(tmp_path):
    from survey_runs import PROFILE, make_runs

    from tmp_utils.survey.building import build_questionnaire

    class Sign:  # every clip is +x; a prompt is (0.6, 0.8)
        name = "sign"

        def embed_clips(self, clips):
            return np.tile([1.0, 0.0], (len(clips), 1))

        def embed_prompts(self, prompts):
            return np.tile([0.6, 0.8], (len(prompts), 1))

    runs_dir, concepts = make_runs(tmp_path, names=("lute",), n_prompts=1)
    questionnaire = build_questionnaire(Place(runs_dir, PROFILE), n_per_kind=1, concepts=concepts)
    scores = analysis.pair_scores(questionnaire, Sign(), concepts).set_index("metric")
    assert scores.loc["CLAP-A", "score_first"] == pytest.approx(1.0)
    assert scores.loc["CLAP-T", "score_second"] == pytest.approx(0.6)
    assert set(scores["embedder"]) == {"sign"}


def test_power_agrees_with_simulated_studies():
    first, second, people = 0.45, 0.35, 30
    rng = np.random.default_rng(0)
    shown = 0
    for _ in range(2000):
        counts = rng.multinomial(people * 10, [first, second, 1 - first - second])
        z = (counts[0] - counts[1]) / math.sqrt(counts[0] + counts[1])
        shown += abs(z) > 1.96
    assert power.power(first, second, people, 10, icc=0.0) == pytest.approx(shown / 2000, abs=0.04)


def test_the_participants_needed_are_the_fewest_that_are_enough():
    n = power.participants_needed(0.4, 0.3, 10, icc=0.1)
    assert power.power(0.4, 0.3, n, 10, 0.1) >= 0.8 > power.power(0.4, 0.3, n - 1, 10, 0.1)
    assert power.participants_needed(0.4, 0.3, 10, icc=0.2) > n
    with pytest.raises(ValueError, match="no difference"):
        power.participants_needed(0.3, 0.3, 10)
    with pytest.raises(ValueError, match="Divide percentages by 100"):
        power.power(58, 24, 34, 10)


def test_the_paper_s_reconstruction_result_stands_and_its_editability_result_does_not():
    published = pd.DataFrame(
        [["reconstruction", 0.58, 0.24], ["editability", 0.37, 0.31]], columns=["kind", "first", "second"]
    )
    table = power.shown_by_shares(published)
    shown = table.groupby("kind")["shown"].agg(["all", "any"])
    assert shown.loc["reconstruction", "all"] and not shown.loc["editability", "any"]
    row = table.iloc[0]  # 340 independent answers: the textbook interval of a difference of two shares
    half = 1.959964 * math.sqrt((0.58 + 0.24 - 0.34**2) / 340)
    assert (row.ci_low, row.ci_high) == pytest.approx((0.34 - half, 0.34 + half), abs=1e-6)


def test_numbers_of_a_csv_are_read_to_the_last_digit(tmp_path):
    table = simulate_answers(STUDY, 2)
    table["elapsed_s"] = np.random.default_rng(0).uniform(0, 100, len(table))
    table.to_csv(tmp_path / "a.csv", index=False)
    assert list(analysis.read_answers(tmp_path / "a.csv")["elapsed_s"]) == list(table["elapsed_s"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="choice"), "a.csv, row 2: no choice"),
        (lambda t: t.assign(choice="Maybe"), "a.csv, row 2: choice = 'Maybe'; expected 'A', 'B', 'None' or"),
        (lambda t: t.assign(kind="<b>"), "kind = '<b>'; expected 'reconstruction' or 'editability'"),
        (lambda t: pd.concat([t, t]), "row 46: SIM-001, .* twice"),
        (lambda t: t.assign(side_a="DB-MIX"), "side_b = .*; expected side_a and side_b to be first and second"),
        (lambda t: t.iloc[:0], "no answers in it"),
        (lambda t: t.assign(catch="perhaps"), "catch = 'perhaps'; expected true or false"),
        (lambda t: t.assign(heard_a_s="long"), "heard_a_s = 'long'; expected a valid number"),
        (lambda t: t.assign(elapsed_s=-1), "elapsed_s = '-1'; expected greater than or equal to 0"),
        (lambda t: t.assign(position="nan"), "position = 'nan'; expected a finite number"),
        (lambda t: t.assign(source=t["source"].where(t.index != 3, " ")), "a.csv, row 5: source = ' '; "),
    ],
)
def test_tables_that_are_no_answers_are_refused(tmp_path, change, message):
    change(simulate_answers(STUDY, 2)).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match=message):
        analysis.read_answers(tmp_path / "a.csv")


def test_a_cut_or_missing_table_of_answers_is_refused(tmp_path):
    simulate_answers(STUDY, 2).to_csv(tmp_path / "a.csv", index=False)
    (tmp_path / "a.csv").write_bytes((tmp_path / "a.csv").read_bytes()[:-1])
    with pytest.raises(ValueError, match="its last line may be cut"):
        analysis.read_answers(tmp_path / "a.csv")
    with pytest.raises(FileNotFoundError, match="--export"):
        analysis.read_answers(tmp_path / "b.csv")


def test_the_shipped_example_says_in_every_row_that_a_simulated_rater_gave_it():
    answers = analysis.read_answers(EXAMPLE_DIR / "example_answers.csv")
    assert set(answers["source"]) == {analysis.SIMULATED} and answers["participant"].str.startswith("SIM-").all()
    fresh = simulate_answers(STUDY)
    assert list(fresh["choice"]) == list(answers["choice"])


def test_every_figure_of_simulated_answers_says_so_and_of_real_ones_does_not():
    answers = answers_of(Rater())
    scores = simulate_scores(STUDY)
    simulated = figures.preference_bars(analysis.preference_table(answers))
    agreement = figures.agreement_plot(analysis.agreement(answers, scores)[1])
    real = figures.preference_bars(analysis.preference_table(answers.assign(source="web")))
    assert all("simulated rater" in fig.layout.title.text for fig in (simulated, agreement))
    assert "simulated" not in real.layout.title.text
    assert simulated.data[0].y[0] == pytest.approx(analysis.preference_table(answers)["share"][0])
