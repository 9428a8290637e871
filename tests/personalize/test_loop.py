"""Training: the same seed, the same bits; checkpoints; the loss; what is refused."""

import warnings
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from training_runs import learn, recipe_of, same, with_hyperparameters

from tmp_utils.inputs.profiles import load_setup
from tmp_utils.model.adapter import Adapter
from tmp_utils.personalize import METHODS, Diverged, load_adapter, loop, prepare
from tmp_utils.personalize import examples as examples_module
from tmp_utils.personalize.examples import Examples, make_examples
from tmp_utils.personalize.loop import losses, train
from tmp_utils.personalize.textual_inversion import placeholder_for
from tmp_utils.personalize.training import OVERFLOWS, Training, step_generator

pytestmark = pytest.mark.usefixtures("short_clips")

SETUPS = [load_setup(method, "BL") for method in METHODS] + [load_setup("DB", "TE"), load_setup("DB", "BL-PP")]
by_name = pytest.mark.parametrize("setup", SETUPS, ids=lambda setup: setup.name)


@by_name
def test_the_same_seed_gives_the_same_bytes_also_where_a_run_is_resumed_and_another_seed_does_not(
    backbone, concept, setup, profile, tmp_path, monkeypatch
):
    method, steps = setup.method, 4 if setup.method == "TI-DB" else 2
    profile = with_hyperparameters(profile, method, steps=steps, checkpoint_every=1)
    whole = learn(backbone, concept, setup, profile, checkpoint_dir=tmp_path / "whole")
    assert not same(whole, learn(backbone, concept, setup, profile, seed=1))
    step = loop.step

    def interrupted(trainings):
        if trainings[0].adapter.steps == steps - 1:
            raise KeyboardInterrupt
        step(trainings)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "step", interrupted)
        learn(backbone, concept, setup, profile, checkpoint_dir=tmp_path / "part")
    assert [p.name for p in (tmp_path / "part").iterdir()] == [f"step-{steps - 1:06d}"]
    resumed = learn(backbone, concept, setup, profile, checkpoint_dir=tmp_path / "part")
    one, two = whole.save(tmp_path / "one"), resumed.save(tmp_path / "two")
    assert all((one / f).read_bytes() == (two / f).read_bytes() for f in ("adapter.safetensors", "adapter.json"))
    assert whole.history == resumed.history


def test_training_fits_a_single_latent(backbone, concept):
    recipe, hyperparameters = recipe_of(backbone, concept, "DB", lr=2e-2, steps=60, weight_decay=0.0)
    latent = torch.randn(1, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    examples = Examples(latent, torch.zeros_like(latent), 1.0, "one")
    header = dict(method="DB", setup="BL", concept="x", class_noun="y", rare_word="z", seed=0, placeholder=None)
    adapter = Adapter(**header, words="", backbone_id="", backbone_hash="", hyperparameters={})
    train(backbone, [Training(backbone, recipe, examples, hyperparameters, adapter)], progress=False)
    values = [row["loss"] for row in adapter.history]
    assert sum(values[-10:]) < 0.6 * sum(values[:10])


def test_gradients_are_the_same_with_gradient_checkpointing(backbone, concept, profile):
    """The recomputed activations must be those of the swapped weights, not of the backbone's own."""
    setup = load_setup("DB", "BL")
    plain = learn(backbone, concept, setup, profile)
    saving = learn(backbone, concept, setup, with_hyperparameters(profile, "DB", gradient_checkpointing=True))
    for row, other in zip(plain.history, saving.history, strict=True):
        assert row["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-4)
    assert not backbone.unet.is_gradient_checkpointing


def test_accumulated_batches_count_as_one(backbone, concept, profile):
    setup = load_setup("TI", "MW")
    row = learn(backbone, concept, setup, with_hyperparameters(profile, "TI", accumulation=3, steps=1)).history[0]
    training, draw = prepare(backbone, concept, setup, 0, profile), step_generator(0, 0)
    values = [float(losses([training], [draw])[0]) for _ in range(3)]
    assert row["loss"] == pytest.approx(sum(values) / 3, rel=1e-6)


def test_half_precision_trains_fp32_tensors(backbone, concept, profile):
    setup = load_setup("DB-CD", "BL")
    half = learn(backbone, concept, setup, with_hyperparameters(profile, "DB-CD", precision="bf16"))
    full = learn(backbone, concept, setup, profile)
    assert {tensor.dtype for tensor in half.tensors.values()} == {torch.float32}
    assert half.history[0]["loss"] == pytest.approx(full.history[0]["loss"], rel=0.05)
    assert not same(half, full)


def test_prior_preservation_adds_the_class_s_loss(backbone, concept, profile):
    weights = {w: replace(load_setup("DB", "BL-PP"), prior_weight=w) for w in (1.0, 3.0)}
    losses = {w: learn(backbone, concept, setup, profile).history[0]["loss"] for w, setup in weights.items()}
    assert losses[3.0] > 1.5 * losses[1.0]


@pytest.mark.parametrize("stand_in", [True, False])
def test_recordings_get_recorded_backgrounds_and_stand_ins_rendered_ones(backbone, concept, monkeypatch, stand_in):
    kinds = []
    monkeypatch.setattr(
        examples_module, "backgrounds", lambda recorded: kinds.append(recorded) or [torch.ones(163840).numpy()]
    )
    setup = replace(load_setup("TI", "MIX"), n_clips=1)
    make_examples(backbone, replace(concept, stand_in=stand_in), setup, seed=0)
    assert kinds == [not stand_in]


def test_contradictory_setups_are_refused(backbone, concept, profile, monkeypatch):
    with pytest.raises(ValueError, match="text encoder"):
        learn(backbone, concept, replace(load_setup("TI", "BL"), text_encoder=True), profile)
    monkeypatch.setattr(examples_module, "backgrounds", lambda recorded: [])
    with pytest.raises(ValueError, match="data/backgrounds is empty"):
        learn(backbone, concept, load_setup("DB", "MIX"), profile)
    with pytest.raises(ValueError, match="rank"):
        learn(backbone, concept, replace(load_setup("DB-LoRA", "BL"), rank=None), profile)
    with pytest.raises(ValueError, match='unknown method "XY"; expected one of TI, DB'):
        learn(backbone, concept, replace(load_setup("TI", "BL"), method="XY"), profile)
    with pytest.raises(ValueError, match="TI: rate is not understood; expected lr, steps"):
        learn(backbone, concept, load_setup("TI", "BL"), with_hyperparameters(profile, "TI", rate=1))


@pytest.mark.parametrize(("method", "setup"), [("TI", "BL"), ("TI", "MW"), ("DB", "BL")])
def test_an_empty_class_noun_is_refused(backbone, concept, profile, method, setup):
    with pytest.raises(ValueError, match="class noun is empty"):
        learn(backbone, replace(concept, class_noun=" "), load_setup(method, setup), profile)


def test_a_placeholder_that_is_a_word_already_is_refused(backbone, concept, profile):
    with pytest.raises(ValueError, match="<mask> is in the tokenizer's vocabulary"):
        learn(backbone, replace(concept, name="mask"), load_setup("TI", "BL"), profile)
    knows = SimpleNamespace(tokenizers=[SimpleNamespace(get_vocab=lambda: {"<tones>_1": 7})])
    assert placeholder_for(knows, concept, 1) == "<tones>"
    with pytest.raises(ValueError, match="<tones>_1 is in the tokenizer's vocabulary"):
        placeholder_for(knows, concept, 2)


def test_a_common_rare_word_is_warned_of(backbone, concept):
    with pytest.warns(UserWarning, match='"a" is a common word'):
        recipe_of(backbone, replace(concept, rare_word="a"), "DB")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recipe_of(backbone, concept, "DB")


def test_a_learning_rate_that_diverges_stops_with_advice_and_keeps_the_checkpoint(backbone, concept, profile, tmp_path):
    profile = with_hyperparameters(profile, "DB", lr=50.0, steps=20, checkpoint_every=1)
    with pytest.raises(Diverged, match="Try a tenth of the learning rate 50"):
        learn(backbone, concept, load_setup("DB", "BL"), profile, checkpoint_dir=tmp_path)
    (left,) = tmp_path.iterdir()
    assert all(torch.isfinite(tensor).all() for tensor in load_adapter(left).tensors.values())


@pytest.fixture
def overflows(monkeypatch):
    """Let the gradients of the first two tries, or as many as the test sets, be no numbers."""
    tries, of = SimpleNamespace(left=2, all=0), loop.accumulate

    def accumulate(trainings, generators):
        values = of(trainings, generators)
        tries.left, tries.all = tries.left - 1, tries.all + 1
        for tensor in trainings[0].tensors.values():
            if tensor.grad is not None and tries.left >= 0:
                tensor.grad.fill_(float("nan"))
        return values

    monkeypatch.setattr(loop, "accumulate", accumulate)
    return tries


def test_a_step_whose_fp16_gradients_overflow_is_tried_again(backbone, concept, profile, overflows, tmp_path):
    setup, profile = load_setup("TI", "BL"), with_hyperparameters(profile, "TI", precision="fp16", checkpoint_every=1)
    late = learn(backbone, concept, setup, profile, checkpoint_dir=tmp_path)
    assert (overflows.all, late.steps) == (2 + 3, 3) and [row["step"] for row in late.history] == [1, 2, 3]
    usual = learn(backbone, concept, setup, profile)
    assert late.history[0]["loss"] == usual.history[0]["loss"], "the same draws"
    assert late.history[0]["grad_norm"] == pytest.approx(usual.history[0]["grad_norm"], rel=1e-2)
    assert late.tensors["embedding"] == pytest.approx(usual.tensors["embedding"], abs=1e-3)  # of 0.06


@pytest.mark.parametrize(("precision", "tries"), [("fp16", OVERFLOWS + 1), ("fp32", 1)])
def test_gradients_that_never_are_finite_diverge(backbone, concept, profile, overflows, tmp_path, precision, tries):
    overflows.left = 100
    profile = with_hyperparameters(profile, "TI", precision=precision, steps=20)
    with pytest.raises(Diverged, match="training diverged at step 1: the gradient's norm is nan"):
        learn(backbone, concept, load_setup("TI", "BL"), profile, checkpoint_dir=tmp_path)
    assert overflows.all == tries and not list(tmp_path.iterdir())


def test_a_training_that_had_ended_has_no_seconds_per_step(backbone, concept, profile, tmp_path):
    setup = load_setup("TI", "BL")
    first, again = (learn(backbone, concept, setup, profile, checkpoint_dir=tmp_path) for _ in range(2))
    assert first.cost["seconds_per_step"] > 0 and again.cost == first.cost | {"seconds_per_step": None}
    longer = with_hyperparameters(profile, "TI", steps=4)
    assert learn(backbone, concept, setup, longer, checkpoint_dir=tmp_path).cost["seconds_per_step"] > 0
