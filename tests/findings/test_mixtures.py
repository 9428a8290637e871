"""Verdicts over mixtures, recomputed by scipy, and what is published."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from tmp_utils.commands import mixtures as commands_mixtures
from tmp_utils.commands import run
from tmp_utils.commands.mixtures import chosen_mixtures, chosen_setups
from tmp_utils.files import write_csv, write_json
from tmp_utils.findings import mixtures
from tmp_utils.findings.mixtures import in_words, means_in_words, mixture_means, mixture_verdicts, publish_mixtures
from tmp_utils.inputs.mixtures import list_mixture_setups
from tmp_utils.personalize import Diverged
from tmp_utils.runs.mixtures import COLUMNS, run_names
from tmp_utils.runs.place import Place

RNG = np.random.default_rng(0)
METHOD_OF = {"class-noun": "untrained", "mixture": "reference"}
MIXED = [f"m{k}" for k in range(8)]


def table_of(setups, metric="difference", embedder="clap:judge"):
    """Rows of setups (TI's, or of `METHOD_OF`) -> a value a mixture; the two sounds lie 0.1 above and below it."""
    rows = [
        (name, "like", METHOD_OF.get(setup, "TI"), setup, 0, sound, metric, value + shift, 4, embedder)
        for setup, values in setups.items()
        for name, value in zip(MIXED, values, strict=False)
        for sound, shift in (("violin", 0.1), ("flute", -0.1))
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_a_verdict_is_that_of_a_paired_t_test_over_mixtures_with_holms_correction():
    alone = RNG.normal(0.3, 0.3, 8)
    values = {"ALONE": alone, "PRIOR": alone + RNG.normal(0.3, 0.1, 8), "STEMS": alone + RNG.normal(0.3, 0.3, 8)}
    values["class-noun"] = alone + RNG.normal(0, 0.3, 8)
    judged = mixture_verdicts(table_of(values)).set_index(["a", "b"])
    setups = {"TI ALONE": "ALONE", "TI PRIOR": "PRIOR", "TI STEMS": "STEMS", "untrained": "class-noun"}
    assert len(judged) == 4 and set(judged["metric"]) == {"difference"}
    pairs = {pair: stats.ttest_rel(*(values[setups[name]] for name in pair)) for pair in judged.index}
    raw = [test.pvalue for test in pairs.values()]
    assert list(judged["p_holm"]) == pytest.approx(list(multipletests(raw, method="holm")[1]))
    ends = pairs["TI PRIOR", "TI ALONE"].confidence_interval()
    row = judged.loc[("TI PRIOR", "TI ALONE")]
    assert [row.ci_low, row.ci_high] == pytest.approx(list(ends)) and row.verdict == "higher"
    assert row.n_mixtures == 8 and row.value_b == pytest.approx(alone.mean())


def test_equal_setups_make_no_difference_worse_ones_are_lower_and_few_mixtures_give_no_verdict():
    alone = RNG.normal(0.3, 0.3, 8)
    near, stems = alone + RNG.normal(0, 0.01, 8), alone - RNG.uniform(0.2, 0.3, 8)
    judged = mixture_verdicts(table_of({"ALONE": alone, "PRIOR": near, "STEMS": stems}))
    verdicts = judged.set_index(["a", "b"])["verdict"]
    assert verdicts["TI PRIOR", "TI ALONE"] == "no difference" and verdicts["TI STEMS", "TI PRIOR"] == "lower"
    two = mixture_verdicts(table_of({"ALONE": alone[:2], "PRIOR": alone[:2] + 0.5}))
    assert list(two["verdict"]) == ["undecided"] and two["ci_low"].isna().all()
    sentence = in_words(two)[0]
    assert sentence.startswith(
        "Separating by masks of the frozen model: we cannot tell what it does to closeness minus leakage (TI "
    )
    assert sentence.endswith("; 2 mixtures).") and "MusiCNN" not in sentence
    close = two.assign(ci_low=0.02, ci_high=0.33, p_holm=0.12, difference_second=-0.1)
    assert "p = 0.12 after correction for all comparisons; by MusiCNN −0.10;" in in_words(close)[0]
    assert "p =" not in in_words(close.assign(ci_low=-0.02))[0]
    assert "raises closeness minus leakage" in in_words(close.assign(verdict="higher"))[0]
    lonely = mixture_verdicts(table_of({"ALONE": alone}))
    assert lonely.empty and list(lonely.columns) == list(two.columns) and in_words(lonely) == []
    apart = table_of({"ALONE": [0.1] * 8, "PRIOR": [np.nan] * 4 + [0.5] * 4, "STEMS": [0.5] * 4 + [np.nan] * 4})
    pairs = mixture_verdicts(apart.dropna())[["a", "b"]].to_numpy().tolist()
    assert pairs == [["TI PRIOR", "TI ALONE"]], "no mixture has both STEMS and PRIOR"


def test_each_metric_is_compared_where_it_says_something_and_separation_has_no_second_embedder():
    both = table_of({"class-noun": RNG.normal(2, 0.1, 8)}, "si_sdr", "")
    mixture = table_of({"mixture": np.zeros(8)}, "si_sdr", "")
    (row,) = mixture_verdicts(pd.concat([both, mixture])).itertuples()
    assert (row.a, row.b, row.metric, row.verdict) == ("untrained", "mixture", "si_sdr", "higher")
    assert row.margin == 1 and np.isnan(row.difference_second)


def test_means_are_over_mixtures_and_the_second_embedder_stands_beside_the_first():
    values = {"ALONE": np.zeros(8), "PRIOR": np.linspace(0.1, 0.8, 8)}
    second = table_of({"ALONE": np.zeros(8), "PRIOR": np.full(8, 0.2)}, embedder="musicnn:MTT@1")
    table = pd.concat([table_of(values), second], ignore_index=True)
    row = mixture_means(table, ["difference"]).set_index("setup").loc["PRIOR"]
    low, high = stats.t.interval(0.95, 7, np.mean(values["PRIOR"]), stats.sem(values["PRIOR"]))
    assert [row.value, row.ci_low, row.ci_high] == pytest.approx([0.45, low, high])
    assert mixture_verdicts(table)["difference_second"].tolist() == pytest.approx([0.2])
    words = means_in_words(table, ["difference", "both"]).set_index("words")
    assert words.loc["TI PRIOR"].tolist() == [f"0.45 [{low:.2f}, {high:.2f}]", "–"]
    assert words.loc["TI ALONE", "difference"] == "0.00 [0.00, 0.00]"


def test_a_published_table_comes_back_to_the_last_digit_with_its_head(tmp_path, monkeypatch):
    monkeypatch.setattr(mixtures, "PUBLISHED_DIR", tmp_path)
    assert mixtures.read_published_mixtures("pocket") is None
    table = table_of({"PROMPT": RNG.normal(size=8), "PRIOR": RNG.normal(size=8)})
    path = publish_mixtures(table, mixtures.published_mixtures_path("pocket"), {"profile": "pocket", "commit": "abc"})
    again = mixtures.read_published_mixtures("pocket")
    assert path.name == "mixtures.csv" and again.attrs == {"profile": "pocket", "commit": "abc"}
    assert sorted(again["value"]) == sorted(table["value"])
    with pytest.raises(ValueError, match="nothing to publish"):
        publish_mixtures(table[:0], path, {})


def test_the_command_runs_the_references_first_and_knows_its_names():
    names = [setup.name for setup in list_mixture_setups()]
    assert chosen_setups(["all"])[3:] == [*names, "TI+TI", "TI+DB", "LoRA+LoRA"]
    assert sorted(chosen_setups(["all"])) == sorted(run_names())
    assert chosen_setups(["TI"])[3:] == names[: len(names) // 2] and chosen_setups([])[0] == "untrained-class-noun"
    assert len(chosen_mixtures([])) >= 14 and chosen_mixtures(["feelings"]) == ["feelings"]
    with pytest.raises(ValueError, match='"tango" is not a mixture'):
        chosen_mixtures(["tango"])
    with pytest.raises(ValueError, match='"TI-BL" is not a setup of mixtures; expected all, '):
        chosen_setups(["TI-BL"])


def test_one_setup_alone_is_published_with_what_made_it_and_then_has_nothing_to_compare(tmp_path, monkeypatch, capsys):
    for seed, commit in ((0, "b2"), (1, "a1")):
        folder = tmp_path / "runs/smoke/mixtures/m0/TI-PRIOR" / f"seed{seed}"
        folder.mkdir(parents=True)
        write_json(folder / "run.json", {"parameters": {"share_of_steps": 0.4}, "commit": commit, "files": {}})
        write_csv(folder / "metrics.csv", table_of({"PRIOR": [0.5]}).assign(seed=seed))
    lab = SimpleNamespace(place=Place(tmp_path / "runs", "smoke"), profile=SimpleNamespace(name="smoke"))
    lab.backbone = SimpleNamespace(hash="0123456789abcdef")
    monkeypatch.setattr(commands_mixtures.Lab, "load", lambda *_: lab)
    monkeypatch.setattr(commands_mixtures, "run_mixtures", lambda *_: None)
    monkeypatch.setattr(mixtures, "PUBLISHED_DIR", tmp_path)
    command = ["mixtures", "--profile", "smoke", "--setups", "TI-PRIOR", "--mixtures", "feelings", "--publish"]
    assert run(command) == 0
    head = mixtures.read_published_mixtures("smoke").attrs
    assert head["commit"] == "a1, b2" and head["share_of_steps"] == "0.4"
    assert head["command"] == (
        "python -m tmp_utils mixtures --profile smoke --setups TI-PRIOR --seeds 0 1 --mixtures m0"
    )
    assert "Nothing to compare" in capsys.readouterr().out
    reasons = iter([Diverged("the loss is not finite")] + [None] * 3)

    def diverge_once(*_):
        if reason := next(reasons):
            raise reason

    monkeypatch.setattr(commands_mixtures, "run_mixtures", diverge_once)
    assert run(command) == 1 and next(reasons, "all were tried") == "all were tried"
    assert "feelings untrained-class-noun: the loss is not finite" in capsys.readouterr().err
