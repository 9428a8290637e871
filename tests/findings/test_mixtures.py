"""Verdicts over mixtures, recomputed by scipy, and what is published."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tmp_utils.commands import mixtures as commands_mixtures
from tmp_utils.commands import run
from tmp_utils.commands.mixtures import chosen_mixtures, chosen_setups
from tmp_utils.files import write_csv, write_json
from tmp_utils.findings import mixtures
from tmp_utils.findings.mixtures import in_words, means_in_words, mixture_means, mixture_verdicts, publish_mixtures
from tmp_utils.inputs.mixtures import list_mixture_setups
from tmp_utils.runs.mixtures import COLUMNS
from tmp_utils.runs.place import Place

RNG = np.random.default_rng(0)
MIXED = [f"m{k}" for k in range(8)]


def table_of(setups, metric="difference", embedder="clap:judge"):
    """Rows of setups -> a value a mixture; the two sounds lie 0.1 above and below it."""
    rows = [
        (name, "like", "TI", setup, 0, sound, metric, value + shift, 4, embedder)
        for setup, values in setups.items()
        for name, value in zip(MIXED, values, strict=False)
        for sound, shift in (("violin", 0.1), ("flute", -0.1))
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_a_verdict_is_that_of_a_paired_t_test_over_mixtures_with_holms_correction():
    prompt = RNG.normal(0.3, 0.3, 8)
    values = {"PROMPT": prompt, "PRIOR": prompt + RNG.normal(0.3, 0.1, 8), "JOINT": prompt + RNG.normal(0, 0.3, 8)}
    judged = mixture_verdicts(table_of(values)).set_index(["a", "b"])
    pairs = {pair: stats.ttest_rel(values[pair[0]], values[pair[1]]) for pair in judged.index}
    raw = np.array([test.pvalue for test in pairs.values()])
    order = np.argsort(raw)
    expected = np.empty(3)
    expected[order] = np.minimum(1, np.maximum.accumulate(raw[order] * [3, 2, 1]))
    assert list(judged["p_holm"]) == pytest.approx(list(expected))
    ends = pairs["PRIOR", "PROMPT"].confidence_interval()
    row = judged.loc["PRIOR", "PROMPT"]
    assert [row.ci_low, row.ci_high] == pytest.approx(list(ends)) and row.verdict == "helps"
    assert row.n_mixtures == 8 and row.value_b == pytest.approx(prompt.mean())


def test_equal_setups_make_no_difference_worse_ones_harm_and_few_mixtures_give_no_verdict():
    prompt = RNG.normal(0.3, 0.3, 8)
    near = prompt + RNG.normal(0, 0.01, 8)
    judged = mixture_verdicts(table_of({"PROMPT": prompt, "PRIOR": near, "JOINT": prompt - RNG.uniform(0.2, 0.3, 8)}))
    verdicts = judged.set_index(["a", "b"])["verdict"]
    assert verdicts["PRIOR", "PROMPT"] == "no difference" and verdicts["JOINT", "PROMPT"] == "harms"
    two = mixture_verdicts(table_of({"PROMPT": prompt[:2], "PRIOR": prompt[:2] + 0.5}))
    assert list(two["verdict"]) == ["undecided"] and two["ci_low"].isna().all()
    assert in_words(two)[0].startswith("TI: we cannot tell whether separation by the frozen model helps (")
    close = two.assign(ci_low=0.02, ci_high=0.33, p_holm=0.12)
    assert "; difference " in in_words(close)[0] and "p = 0.12 after correction" in in_words(close)[0]
    assert "p =" not in in_words(close.assign(ci_low=-0.02))[0]
    alone = mixture_verdicts(table_of({"PROMPT": prompt}))
    assert alone.empty and list(alone.columns) == list(two.columns) and in_words(alone) == []
    apart = table_of({"PROMPT": prompt, "PRIOR": [np.nan] * 4 + [0.5] * 4, "JOINT": [0.5] * 4 + [np.nan] * 4})
    pairs = mixture_verdicts(apart.dropna())[["a", "b"]].to_numpy().tolist()
    assert pairs == [["PRIOR", "PROMPT"], ["JOINT", "PROMPT"]], "no mixture has both JOINT and PRIOR"


def test_means_are_over_mixtures_and_the_second_embedder_stands_beside_the_first():
    values = {"PROMPT": np.zeros(8), "PRIOR": np.linspace(0.1, 0.8, 8)}
    second = table_of({"PROMPT": np.zeros(8), "PRIOR": np.full(8, 0.2)}, embedder="musicnn:MTT@1")
    table = pd.concat([table_of(values), second], ignore_index=True)
    row = mixture_means(table, ["difference"]).set_index("setup").loc["PRIOR"]
    low, high = stats.t.interval(0.95, 7, np.mean(values["PRIOR"]), stats.sem(values["PRIOR"]))
    assert [row.value, row.ci_low, row.ci_high] == pytest.approx([0.45, low, high])
    assert mixture_verdicts(table)["difference_second"].tolist() == pytest.approx([0.2])
    words = means_in_words(table, ["difference", "weaker"]).set_index("words")
    assert words.loc["TI PRIOR"].tolist() == [f"0.45 [{low:.2f}, {high:.2f}]", "–"]
    assert words.loc["TI PROMPT", "difference"] == "0.00 [0.00, 0.00]"


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
        write_json(folder / "run.json", {"parameters": {}, "commit": commit})
        write_csv(folder / "metrics.csv", table_of({"PRIOR": [0.5]}).assign(seed=seed))
    lab = SimpleNamespace(place=Place(tmp_path / "runs", "smoke"), profile=SimpleNamespace(name="smoke"))
    lab.backbone = SimpleNamespace(hash="0123456789abcdef")
    monkeypatch.setattr(commands_mixtures.Lab, "load", lambda *_: lab)
    monkeypatch.setattr(commands_mixtures, "run_mixtures", lambda *_: None)
    monkeypatch.setattr(mixtures, "PUBLISHED_DIR", tmp_path)
    assert run(["mixtures", "--profile", "smoke", "--setups", "TI-PRIOR", "--publish"]) == 0
    head = mixtures.read_published_mixtures("smoke").attrs
    assert head["commit"] == "a1, b2"
    assert head["command"] == (
        "python -m tmp_utils mixtures --profile smoke --setups TI-PRIOR --seeds 0 1 --mixtures m0"
    )
    assert "Nothing to compare" in capsys.readouterr().out
