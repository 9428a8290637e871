"""What is part of a run's identity: all that decides its result, and nothing else."""

import pytest
from training_runs import recipe_of, with_hyperparameters

from tmp_utils.inputs.concepts import load_concept
from tmp_utils.inputs.profiles import DEFAULTS, decisive, list_setups, load_profile, load_setup
from tmp_utils.runs.identity import differences, identity_hash, identity_of

POCKET = load_profile("pocket")


def identity(profile, setup):
    return identity_of(profile, load_concept("sitar"), 0, setup)


@pytest.mark.parametrize("setup", list_setups(), ids=lambda setup: setup.name)
def test_a_run_is_the_same_whatever_its_setup_does_not_use_and_with_defaults_written_out(setup):
    unused = {"checkpoint_every": 7, "keep_checkpoints": True}
    unused |= {} if setup.prior_weight else {"prior_lr": 0.5, "prior_clips": 3}
    unused |= {} if setup.method == "TI-DB" else {"ti_lr": 0.5, "ti_steps": 9}
    more = with_hyperparameters(POCKET, setup.method, **unused)
    assert not differences(identity(POCKET, setup), identity(more, setup))
    assert identity_hash(identity(POCKET, setup)) == identity_hash(identity(more, setup))
    written_out = with_hyperparameters(POCKET, setup.method, **DEFAULTS | POCKET.methods[setup.method])
    assert not differences(identity(POCKET, setup), identity(written_out, setup))
    longer = with_hyperparameters(POCKET, setup.method, steps=999)
    assert list(differences(identity(POCKET, setup), identity(longer, setup))) == ["hyperparameters"]


@pytest.mark.parametrize("method", POCKET.methods)
def test_a_hyperparameter_decides_a_training_only_where_it_changes_what_the_loop_does(backbone, concept, method):
    usual = {"lr": 1e-3, "steps": 3, "n_vectors": 1, "ti_lr": 0.1, "ti_steps": 1, "weight_decay": 0.1}

    def done(values):
        recipe, _ = recipe_of(backbone, concept, method, **values)
        return recipe.phases, {name: tensor.shape for name, tensor in recipe.tensors.items()}

    for name, value in usual.items():
        other = usual | {name: 2 * value}
        assert (done(other) == done(usual)) == (decisive(other, method) == decisive(usual, method)), name


def test_of_two_rates_the_one_that_a_setup_uses_decides():
    prior, without = load_setup("DB", "BL-PP"), load_setup("DB", "BL")
    other, same, named = (with_hyperparameters(POCKET, "DB", lr=0.1, prior_lr=rate) for rate in (0.2, None, 0.1))
    assert differences(identity(other, prior), identity(same, prior))
    assert not differences(identity(named, prior), identity(same, prior))
    assert not differences(identity(other, without), identity(same, without))
