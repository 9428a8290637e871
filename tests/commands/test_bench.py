import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tmp_utils.commands import run as main
from tmp_utils.commands.bench import command as cli
from tmp_utils.commands.bench import compare as module
from tmp_utils.commands.bench.compare import generation_row, metrics_row, training_row
from tmp_utils.commands.bench.estimate import estimate
from tmp_utils.commands.bench.flops import count_flops, matmul_peak, training_flops, unet_pass
from tmp_utils.commands.bench.full_size import blank_backbone, blank_run, full_size, half_precision
from tmp_utils.commands.bench.timing import PARTS, Ratio, alternating, step_parts
from tmp_utils.model.device import OutOfMemory, explained
from tmp_utils.model.generate import BATCH, generate
from tmp_utils.personalize import loop
from tmp_utils.personalize.recipe import Hyperparameters


def test_a_ratio_is_the_median_of_the_turns_own():
    found = Ratio.of([1.0, 2.0, 4.0], [2.0, 8.0, 4.0])
    assert (found.ratio, found.low, found.high, found.ours_s, found.public_s) == (2.0, 1.0, 4.0, 2.0, 4.0)


def test_actions_take_turns_after_one_that_is_not_counted():
    calls = []
    times = alternating({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=2)
    assert "".join(calls) == "ababab" and [len(of) for of in times.values()] == [2, 2]


@pytest.fixture
def run(backbone):
    return blank_run(backbone, "TI", Hyperparameters(lr=1e-3, steps=10, batch_size=2), clip_s=0.64)


def test_the_parts_of_a_step_add_up_and_leave_nothing_patched(run):
    backward, forward = torch.Tensor.backward, run.backbone.unet.forward
    parts = step_parts(run, repeats=2)
    assert sum(parts[part] for part in PARTS) == pytest.approx(parts["total"])
    assert all(parts[part] > 0 for part in PARTS)
    assert torch.Tensor.backward is backward and run.backbone.unet.forward == forward


def test_operations_of_a_product_are_counted():
    one, other = torch.randn(3, 5), torch.randn(5, 7)
    assert count_flops(lambda: one @ other) == 2 * 3 * 5 * 7


@pytest.mark.parametrize("method", ["TI", "DB"])
def test_operations_of_a_pass_are_those_of_its_tensors_without_data(backbone, method):
    run = blank_run(backbone, method, Hyperparameters(lr=1e-3, steps=10, batch_size=2), clip_s=0.64)
    shape = (2, *backbone.latent_shape(0.64))
    assert count_flops(unet_pass(run)) == pytest.approx(training_flops(backbone.unet, shape, method == "DB"), rel=0.02)


def test_training_the_weights_takes_half_as_much_again(backbone):
    shape = (2, *backbone.latent_shape(0.64))
    word, weights = (training_flops(backbone.unet, shape, trained) for trained in (False, True))
    assert 1.3 < weights / word < 1.6


def test_the_peak_is_a_plausible_number_of_operations_a_second():
    assert 1e8 < matmul_peak("cpu", torch.float32, repeats=1) < 1e14


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
        blank, "TI", Hyperparameters.of("TI", settings.method("TI")), clip_s=10.24
    )  # whole clips are learned from
    assert set(table["clips"]) == {5}
    assert table.loc["TI", "generation_pflop"] * 1e15 == pytest.approx(5 * clip, rel=0.02)
    assert table.loc["TI", "training_pflop"] * 1e15 == pytest.approx(3 * count_flops(unet_pass(run)), rel=0.02)
    assert table.loc["DB", "training_pflop"] > 1.5 * table.loc["TI", "training_pflop"]
    total = table.loc["TI", ["training_pflop", "generation_pflop"]].sum()
    assert table.loc["TI", "minutes"] == pytest.approx(total * 1e15 / 1e9 / 60)


@pytest.mark.parametrize("method", ["DB", "DB-LoRA", "DB-CD", "DB-SV"])
def test_an_estimate_of_training_is_that_of_the_methods_own_step(profile, method):
    blank, options = blank_backbone("tiny", "cpu"), Hyperparameters.of(method, profile.methods[method])
    table = estimate(replace(profile, methods={method: profile.methods[method]}), tflop_per_s=1, size="tiny")
    run = blank_run(blank, method, options, clip_s=10.24)
    step = table.loc[method, "training_pflop"] * 1e15 / options.steps
    assert step == pytest.approx(count_flops(unet_pass(run)), rel=0.05)


def test_a_gpu_is_timed_in_the_half_precision_that_a_run_takes_on_it(monkeypatch):
    for has_bf16, name in ((True, "bf16"), (False, "fp16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has=has_bf16: has)
        assert half_precision("cuda") == name
    assert half_precision("cpu") == "bf16"


def test_the_command_estimates_and_refuses_a_rate_of_nothing(capsys):
    assert main(["bench", "--estimate", "2", "--size", "tiny"]) == 0
    assert "minutes at 2 TFLOP/s, not timed" in capsys.readouterr().out
    assert main(["bench", "--estimate", "0", "--size", "tiny"]) == 2
    assert "a rate above 0" in capsys.readouterr().err


def test_training_and_generation_are_compared_on_the_same_noise(backbone, concept, profile):
    for method in ("TI", "DB"):
        row = training_row(backbone, concept, method, profile, clip_s=10.24, repeats=1)
        assert row["loss_ours"] == pytest.approx(row["loss_public"], rel=1e-5)
        assert row["ratio"] > 0 and row["unet"]["gflop"] > 0
    row = generation_row(backbone, ["a jazz song", "a guitar"], replace(profile, clip_s=0.64), repeats=1)
    assert row["what"] == "generation of a clip" and row["ours_s"] > 0 and row["public_s"] > 0


class Ear:
    """Two numbers of a clip, two of a prompt."""

    calls = 0

    def embed_clips(self, clips):
        Ear.calls += 1
        return np.stack([[1.0, clip.std()] for clip in clips])

    def embed_prompts(self, prompts):
        return np.stack([[1.0, len(prompt)] for prompt in prompts])


def test_metrics_are_compared_on_the_same_files(concept, tmp_path):
    clips = list(0.1 * np.random.default_rng(0).normal(size=(3, 16000)))
    row = metrics_row(Ear(), clips, ["a", "bb", "ccc"], concept, tmp_path)
    assert row["ratio"] > 0
    assert Ear.calls == 4 * 2 + 4 * (3 + 5), "two batches a turn of ours, a clip at a time of theirs"


def test_the_command_prints_ratios_and_writes_them(blank_folder, concept, profile, tmp_path, monkeypatch, capsys):
    row = {"what": "TI step", "ours_s": 1.0, "public_s": 2.0, "ratio": 2.0, "low": 1.5, "high": 2.5}
    monkeypatch.setattr(module, "compare", lambda *_: iter([row]))
    asked = ["--profile", "smoke", "--backbone", str(blank_folder), "--runs-dir", str(tmp_path)]
    assert main(["bench", *asked]) == 0
    written = json.loads((tmp_path / "bench-smoke.json").read_text())
    assert written["rows"] == [row] and written["versions"]["torch"]
    assert "TI step" in capsys.readouterr().out


def test_full_size_rows_are_made_at_reduced_width_on_a_cpu():
    numbers = {"cases": (("fp32", False), ("bf16", False)), "companies": (1, 3), "clip_s": 0.64, "repeats": 1}
    rows = list(full_size("tiny", "cpu", **numbers))
    assert [row["what"].split()[0] for row in rows] == ["TI", "TI", "DB", "DB", "TI", "TI", "clip,", "clip,"]
    assert [row["concepts"] for row in rows[:6]] == [1, 1, 1, 1, 1, 3]
    assert all(row["status"] == "ok" and row["seconds"] > 0 and row["peak_memory_mb"] is None for row in rows)
    assert rows[2]["gradient_checkpointing"] and not rows[0]["gradient_checkpointing"]
    assert all("K=" in cli.full_size_line(row) for row in rows)


def test_a_row_that_does_not_fit_says_so_and_the_next_is_tried(monkeypatch):
    step = loop.step

    def full(trainings):
        if trainings[0].adapter.method == "TI":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(trainings)

    monkeypatch.setattr(loop, "step", full)
    rows = list(full_size("tiny", "cpu", cases=(("fp32", False),), companies=(), clip_s=0.64, repeats=1))
    assert "batch_size=4" in rows[0]["status"] and "accumulation" in cli.full_size_line(rows[0])
    assert [row["status"] for row in rows[1:]] == ["ok", "ok"]


def test_without_a_gpu_the_command_says_where_to_run_it(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["bench", "--gpu"]) == 2
    assert "no CUDA GPU here" in capsys.readouterr().err


def test_a_compiled_unet_is_let_go_again(backbone):
    from tmp_utils.personalize.loop import prepared_unet

    with prepared_unet(backbone, Hyperparameters(lr=1, steps=1, compile=True)):
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
