"""Checkpoints: adapters that training continues from, or that are refused."""

import json

import pytest
from training_runs import learn, same, with_hyperparameters

from tmp_utils.files import write_json
from tmp_utils.inputs.profiles import load_setup
from tmp_utils.personalize import load_adapter

pytestmark = pytest.mark.usefixtures("short_clips")


def test_a_checkpoint_is_an_adapter_and_earlier_ones_can_be_kept(backbone, concept, profile, tmp_path):
    profile = with_hyperparameters(profile, "TI", checkpoint_every=1, keep_checkpoints=True)
    learn(backbone, concept, load_setup("TI", "BL"), profile, checkpoint_dir=tmp_path)
    assert [load_adapter(path).steps for path in sorted(tmp_path.iterdir())] == [1, 2, 3]
    states = sorted(tmp_path.glob("*/optimizer.safetensors"))
    assert [path.parent.name for path in states] == ["step-000003"], "only the last is ever resumed from"


def test_a_checkpoint_of_another_run_is_refused(backbone, concept, profile, tmp_path):
    setup = load_setup("TI", "BL")
    learn(backbone, concept, setup, profile, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match=r"another run: seed 0 \(now 7\)"):
        learn(backbone, concept, setup, profile, seed=7, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match=r"lr 0.02 \(now 0.5\)"):
        learn(backbone, concept, setup, with_hyperparameters(profile, "TI", lr=0.5), checkpoint_dir=tmp_path)


def test_a_checkpoint_without_its_optimiser_is_called_damaged(backbone, concept, profile, tmp_path):
    setup = load_setup("TI", "BL")
    learn(backbone, concept, setup, profile, checkpoint_dir=tmp_path)
    next(tmp_path.glob("*/optimizer.safetensors")).write_bytes(b"cut")
    with pytest.raises(ValueError, match="damaged checkpoint"):
        learn(backbone, concept, setup, profile, checkpoint_dir=tmp_path)


def test_more_steps_continue_where_fewer_ended(backbone, concept, profile, tmp_path):
    setup = load_setup("TI", "MW")
    learn(backbone, concept, setup, profile, checkpoint_dir=tmp_path)
    longer = with_hyperparameters(profile, "TI", steps=5)
    continued = learn(backbone, concept, setup, longer, checkpoint_dir=tmp_path)
    assert len(continued.history) == 5 and same(continued, learn(backbone, concept, setup, longer))


def test_a_checkpoint_of_a_later_step_is_refused(backbone, concept, profile, tmp_path):
    setup = load_setup("TI", "BL")
    learn(backbone, concept, setup, profile, checkpoint_dir=tmp_path)
    shorter = with_hyperparameters(profile, "TI", steps=2)
    with pytest.raises(ValueError, match=r"step-000003: a checkpoint of step 3, but this training ends at step 2\."):
        learn(backbone, concept, setup, shorter, checkpoint_dir=tmp_path)


def test_a_checkpoint_that_names_hyperparameters_which_decide_nothing_is_resumed(backbone, concept, profile, tmp_path):
    setup = load_setup("TI", "MW")
    learned = learn(backbone, concept, setup, profile, checkpoint_dir=tmp_path)
    (header,) = tmp_path.glob("*/adapter.json")
    saved = json.loads(header.read_text())
    saved["hyperparameters"] |= {"ti_lr": 0.5, "ti_steps": 4, "prior_clips": 16, "weight_decay": 0.01}
    del saved["hyperparameters"]["max_grad_norm"]  # as if it were new
    write_json(header, saved)
    assert same(learn(backbone, concept, setup, profile, checkpoint_dir=tmp_path), learned)


def test_what_a_killed_run_left_half_written_is_cleared(backbone, concept, profile, tmp_path):
    (tmp_path / ".step-000002.deadbeef").mkdir()
    learn(backbone, concept, load_setup("TI", "BL"), profile, checkpoint_dir=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000003"]
