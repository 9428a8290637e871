"""An estimate counts what a run does."""

from dataclasses import replace

import pytest

from tmp_utils.commands import run as command
from tmp_utils.commands.bench.estimate import estimate
from tmp_utils.commands.bench.flops import count_flops
from tmp_utils.commands.bench.full_size import blank_backbone, blank_run
from tmp_utils.commands.bench.timing import step_of
from tmp_utils.inputs.profiles import Hyperparameters
from tmp_utils.model.generate import BATCH, generate


def _step_flops(run) -> int:
    step_of(run, 0)  # what is computed once is no part of a step
    return count_flops(lambda: step_of(run, 1))


def test_an_estimate_counts_what_a_run_does(profile):
    """The operations of a clip are those that generating one takes, those of training a step's times the steps."""
    blank = blank_backbone("tiny", "cpu")
    asked = {"reconstruction_clips": 1, "n_editability_prompts": 2, "clips_per_prompt": 2, "clip_s": 0.64}
    checkpointed = {**profile.methods["TI"], "gradient_checkpointing": True}
    settings = replace(profile, **asked, methods={"TI": profile.methods["TI"], "DB": checkpointed})
    table = estimate(settings, tflop_per_s=1e-3, size="tiny")
    numbers = {"steps": settings.inference_steps, "clip_s": 0.64, "precision": "fp32", "progress": False}
    clip = count_flops(lambda: generate(blank, ["a guitar"] * BATCH, [0] * BATCH, **numbers)) / BATCH
    run = blank_run(
        blank, "TI", Hyperparameters.of(settings.method("TI"), "TI"), clip_s=10.24
    )  # whole clips are learned from
    assert set(table["clips"]) == {5}
    assert table.loc["TI", "generation_pflop"] * 1e15 == pytest.approx(5 * clip, rel=0.02)
    assert table.loc["TI", "training_pflop"] * 1e15 == pytest.approx(3 * _step_flops(run), rel=0.02)
    assert table.loc["DB", "training_pflop"] > 1.5 * table.loc["TI", "training_pflop"]
    total = table.loc["TI", ["training_pflop", "generation_pflop"]].sum()
    assert table.loc["TI", "minutes"] == pytest.approx(total * 1e15 / 1e9 / 60)


@pytest.mark.parametrize("method", ["DB", "DB-LoRA", "DB-CD", "DB-SV"])
def test_an_estimate_of_training_is_that_of_the_methods_own_step(profile, method):
    blank, options = blank_backbone("tiny", "cpu"), Hyperparameters.of(profile.methods[method], method)
    table = estimate(replace(profile, methods={method: profile.methods[method]}), tflop_per_s=1, size="tiny")
    run = blank_run(blank, method, options, clip_s=10.24)
    step = table.loc[method, "training_pflop"] * 1e15 / options.steps
    assert step == pytest.approx(_step_flops(run), rel=0.05)


def test_the_command_estimates_and_refuses_a_rate_of_nothing(capsys):
    assert command(["bench", "--estimate", "2", "--size", "tiny"]) == 0
    assert "minutes at 2 TFLOP/s, not timed" in capsys.readouterr().out
    assert command(["bench", "--estimate", "0", "--size", "tiny"]) == 2
    assert "a rate above 0" in capsys.readouterr().err
