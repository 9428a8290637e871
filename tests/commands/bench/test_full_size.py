"""Training at full size without the weights."""

import pytest
import torch

from tmp_utils.commands.bench import command as cli
from tmp_utils.commands.bench import full_size as module
from tmp_utils.commands.bench.full_size import blank_backbone, half_precision, measured, planned
from tmp_utils.inputs.profiles import Hyperparameters
from tmp_utils.model.device import OutOfMemory, explained
from tmp_utils.personalize import loop
from tmp_utils.personalize.training import Diverged


def test_a_gpu_is_timed_in_the_half_precision_that_a_run_takes_on_it(monkeypatch):
    for has_bf16, name in ((True, "bf16"), (False, "fp16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has=has_bf16: has)
        assert half_precision("cuda") == name
    assert half_precision("cpu") == "bf16"


@pytest.fixture
def quick(quick_peak, monkeypatch):
    """Take the operations of a step as known, and clips after two steps."""
    generate = module.generate
    monkeypatch.setattr(module, "training_flops", lambda unet, shape, trained: 10**9)
    monkeypatch.setattr(module, "generate", lambda *args, **numbers: generate(*args, **{**numbers, "steps": 2}))


def test_full_size_rows_are_made_at_reduced_width_on_a_cpu(quick, monkeypatch):
    backbone = blank_backbone("tiny", "cpu")
    monkeypatch.setattr(module, "CASES", (("fp32", False), ("bf16", False)))
    monkeypatch.setattr(module, "COMPANIES", (1, 3))
    rows = [measured(backbone, each, clip_s=0.64, repeats=1) for each in planned("cpu")]
    assert [row["what"].split()[0] for row in rows] == ["TI", "TI", "DB", "DB", "TI", "clip,", "clip,"]
    assert [row["concepts"] for row in rows[:5]] == [1, 1, 1, 1, 3]
    assert all(row["status"] == "ok" and row["seconds"] > 0 and row["peak_memory_mb"] is None for row in rows)
    assert rows[0]["tflop_per_s"] == pytest.approx(1e-3 / rows[0]["seconds"])
    assert rows[2]["gradient_checkpointing"] and not rows[0]["gradient_checkpointing"]
    assert all("K=" in cli.full_size_line(row) for row in rows)


def test_a_row_that_does_not_fit_says_so_and_the_next_is_tried(quick, monkeypatch):
    step = loop.step

    def full(trainings):
        if trainings[0].adapter.method == "TI":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(trainings)

    monkeypatch.setattr(loop, "step", full)
    monkeypatch.setattr(module, "CASES", (("fp32", False),))
    monkeypatch.setattr(module, "COMPANIES", ())
    backbone = blank_backbone("tiny", "cpu")
    rows = [measured(backbone, each, 0.64, 1) for each in planned("cpu")]
    assert "batch_size=4" in rows[0]["status"] and "accumulation" in cli.full_size_line(rows[0])
    assert [row["status"] for row in rows[1:]] == ["ok", "ok"]


def test_fp16_steps_are_measured_on_a_gpu_that_would_take_bf16(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    steps = [each.what for each in planned("cuda") if each.precision == "fp16"]
    assert steps == ["TI step", "DB step"]
    assert not [each for each in planned("cpu") if each.precision == "fp16"]


def test_a_training_that_diverges_is_not_timed(quick, monkeypatch):
    def diverging(trainings):
        trainings[0].diverged = Diverged("gradients are not finite")

    monkeypatch.setattr(loop, "step", diverging)
    row = measured(blank_backbone("tiny", "cpu"), planned("cpu")[0], 0.64, 1)
    assert row["status"] == "gradients are not finite" and "seconds" not in row


def test_a_compiled_unet_is_let_go_again(backbone):
    from tmp_utils.personalize.loop import prepared_denoiser

    with prepared_denoiser(backbone, Hyperparameters(lr=1, steps=1, compile=True)):
        assert backbone.unet._compiled_call_impl is not None
    assert backbone.unet._compiled_call_impl is None


def test_other_errors_than_memory_pass_through():
    with pytest.raises(KeyError), explained("anything"):
        raise KeyError("x")
    with pytest.raises(OutOfMemory, match="not enough for anything"), explained("anything"):
        raise torch.OutOfMemoryError


def test_blank_backbones_are_frozen_and_of_the_size_asked_for():
    blank = blank_backbone("tiny", "cpu")
    assert not any(p.requires_grad for p in blank.unet.parameters())
    with pytest.raises(ValueError, match='size "huge": expected one of tiny, audioldm-m'):
        blank_backbone("huge", "cpu")
