"""Seconds of actions in turns, and of the parts of a step."""

import pytest

from tmp_utils.commands.bench.full_size import blank_run
from tmp_utils.commands.bench.timing import PARTS, alternating, ratio_of, step_parts
from tmp_utils.inputs.profiles import Hyperparameters


def test_a_ratio_is_the_median_of_the_turns_own():
    assert ratio_of([1.0, 2.0, 4.0], [2.0, 8.0, 4.0]) == {
        "ours_s": 2.0, "public_s": 4.0, "ratio": 2.0, "low": 1.0, "high": 4.0
    }  # fmt: skip


def test_actions_take_turns_after_one_that_is_not_counted():
    calls = []
    times = alternating({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=2)
    assert "".join(calls) == "ababab" and [len(of) for of in times.values()] == [2, 2]


@pytest.mark.parametrize("method", ["TI", "DB"])
def test_the_parts_of_a_step_add_up_and_leave_no_hook_behind(backbone, method):
    run = blank_run(backbone, method, Hyperparameters(lr=1e-3, steps=10, batch_size=2), clip_s=0.64)
    parts = step_parts(run, repeats=2)
    assert sum(parts[part] for part in PARTS) == pytest.approx(parts["total"])
    constant = {"text encoder"} if method == "DB" else set()
    assert {part for part in PARTS if parts[part] <= 0} == constant, "DreamBooth's conditions are computed once"
    for module in (backbone.unet, backbone.text_encoder.text_model):
        assert not module._forward_hooks and not module._forward_pre_hooks
