"""Hyperparameters are refused where they cannot be, with their name, their value and what is allowed."""

import pytest

from tmp_utils.inputs.profiles import Hyperparameters, load_profile


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("steps", "x", "a valid integer"),
        ("steps", -3, "greater than or equal to 1"),
        ("steps", 2.5, "a valid integer"),
        ("batch_size", True, "a valid integer"),
        ("checkpoint_every", 0, "greater than or equal to 1"),
        ("lr", -1, "greater than 0"),
        ("lr", 0.0, "greater than 0"),
        ("lr", float("nan"), "a finite number"),
        ("max_grad_norm", float("inf"), "a finite number"),
        ("weight_decay", -0.1, "greater than or equal to 0"),
        ("ti_steps", None, "a valid integer"),
        ("compile", "yes", "true or false"),
        ("precision", "fp8", "'auto', 'fp32', 'bf16' or 'fp16'"),
    ],
)
def test_a_value_out_of_range_is_refused(name, value, allowed):
    with pytest.raises(ValueError) as error:
        Hyperparameters.of({"lr": 1e-3, "steps": 3, name: value}, "TI")
    assert str(error.value).startswith(f"TI: {name} = {value!r}; expected {allowed}")


def test_a_method_without_steps_is_refused():
    with pytest.raises(ValueError, match="TI: no steps"):
        Hyperparameters.of({"lr": 1e-3}, "TI")


@pytest.mark.parametrize("name", ["pocket", "smoke", "paper"])
def test_the_profiles_own_hyperparameters_are_within_range(name):
    profile = load_profile(name)
    assert all(Hyperparameters.of(values, method).lr > 0 for method, values in profile.methods.items())
