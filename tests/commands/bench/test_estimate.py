"""An estimate counts what a run does."""

from dataclasses import replace

import pytest

from tmp_utils.commands import run as command
from tmp_utils.commands.bench import estimate as module
from tmp_utils.commands.bench.estimate import estimate
from tmp_utils.commands.bench.flops import count_flops
from tmp_utils.commands.bench.full_size import blank_backbone, blank_run
from tmp_utils.commands.bench.timing import step_of
from tmp_utils.inputs.profiles import Hyperparameters
from tmp_utils.model.generate import BATCH, generate

CLIP_S = 2.56


@pytest.fixture(scope="module")
def blank():
    return blank_backbone("tiny", "cpu")


@pytest.fixture
def short(monkeypatch):
    """Estimate trainings on shorter clips than whole ones."""
    monkeypatch.setattr(module, "CLIP_S", CLIP_S)


def _step_flops(run) -> int:
    step_of(run, 0)  # what is computed once is no part of a step
    return count_flops(lambda: step_of(run, 1))


def test_an_estimate_counts_what_a_run_does(profile, blank, short):
    """The operations of a clip are those that generating one takes, those of training a step's times the steps."""
    asked = {"reconstruction_clips": 1, "n_editability_prompts": 2, "clips_per_prompt": 2, "clip_s": 0.64}
    checkpointed = {**profile.methods["TI"], "gradient_checkpointing": True}
    settings = replace(profile, **asked, methods={"TI": profile.methods["TI"], "DB": checkpointed})
    table = estimate(settings, tflop_per_s=1e-3, size="tiny")
    numbers = {"steps": settings.inference_steps, "clip_s": 0.64, "precision": "fp32", "progress": False}
    clip = count_flops(lambda: generate(blank, ["a guitar"] * BATCH, [0] * BATCH, **numbers)) / BATCH
    run = blank_run(blank, "TI", Hyperparameters.of(settings.method("TI"), "TI"), clip_s=CLIP_S)
    assert set(table["clips"]) == {5}
    assert table.loc["TI", "generation_pflop"] * 1e15 == pytest.approx(5 * clip, rel=0.02)
    assert table.loc["TI", "training_pflop"] * 1e15 == pytest.approx(3 * _step_flops(run), rel=0.02)
    assert table.loc["DB", "training_pflop"] > 1.5 * table.loc["TI", "training_pflop"]
    total = table.loc["TI", ["training_pflop", "generation_pflop"]].sum()
    assert table.loc["TI", "minutes"] == pytest.approx(total * 1e15 / 1e9 / 60)


def test_an_estimate_of_training_is_that_of_the_methods_own_step(profile, blank, short):
    table = estimate(profile, tflop_per_s=1, size="tiny")
    for method in ("DB", "DB-LoRA", "DB-CD", "DB-SV"):
        options = Hyperparameters.of(profile.methods[method], method)
        step = table.loc[method, "training_pflop"] * 1e15 / options.steps
        run = blank_run(blank, method, options, clip_s=CLIP_S)
        assert step == pytest.approx(_step_flops(run), rel=0.02), method


def test_the_command_estimates_and_refuses_a_rate_of_nothing(short, capsys):
    assert command(["bench", "--estimate", "2", "--size", "tiny"]) == 0
    assert "minutes at 2 TFLOP/s, not timed" in capsys.readouterr().out
    assert command(["bench", "--estimate", "0", "--size", "tiny"]) == 2
    assert "a rate above 0" in capsys.readouterr().err
