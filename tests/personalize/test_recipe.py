"""Hyperparameters are refused where they cannot be, with their name, their value and what is allowed."""

import pytest

from tmp_utils.inputs.profiles import load_profile
from tmp_utils.personalize.recipe import Hyperparameters


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("steps", "x", "a whole number of at least 1"),
        ("steps", -3, "a whole number of at least 1"),
        ("steps", 2.5, "a whole number of at least 1"),
        ("batch_size", True, "a whole number of at least 1"),
        ("checkpoint_every", 0, "a whole number of at least 1"),
        ("lr", -1, "a number above 0"),
        ("lr", 0.0, "a number above 0"),
        ("lr", float("nan"), "a number above 0"),
        ("max_grad_norm", float("inf"), "a number above 0"),
        ("weight_decay", -0.1, "a number of at least 0"),
        ("ti_steps", None, "a whole number of at least 0"),
        ("compile", "yes", "true or false"),
        ("precision", "fp8", "one of auto, fp32, bf16, fp16"),
    ],
)
def test_a_value_out_of_range_is_refused(name, value, allowed):
    with pytest.raises(ValueError) as error:
        Hyperparameters.of("TI", {"lr": 1e-3, "steps": 3, name: value})
    assert str(error.value) == f"TI in the profile's methods: {name} = {value!r}: expected {allowed}."


def test_a_method_without_steps_is_refused():
    with pytest.raises(ValueError, match="TI: no steps; give it in the profile's methods"):
        Hyperparameters.of("TI", {"lr": 1e-3})


@pytest.mark.parametrize("name", ["pocket", "smoke", "paper"])
def test_the_profiles_own_hyperparameters_are_within_range(name):
    profile = load_profile(name)
    assert all(Hyperparameters.of(method, values).lr > 0 for method, values in profile.methods.items())
