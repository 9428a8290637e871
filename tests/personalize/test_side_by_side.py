"""Several new words side by side: a batch shares the passes through the frozen backbone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_runs import learn

from tmp_utils.inputs.audio import save_clip
from tmp_utils.inputs.profiles import load_setup
from tmp_utils.personalize import Diverged, Training, load_adapter, prepare, train

pytestmark = pytest.mark.usefixtures("short_clips")

N_STEPS = 4


@pytest.fixture(scope="module")
def noise_concept(concept, tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("noises"), np.random.default_rng(0)
    paths = tuple(save_clip(folder / f"{k}.wav", 0.1 * rng.normal(size=32000)) for k in range(5))
    return replace(concept, name="a noise", class_noun="drums", clips=paths)


@pytest.fixture
def words(concept, noise_concept):
    """Concept, setup and seed of three new words, two of them under the same placeholder."""
    return [
        (concept, load_setup("TI", "BL"), 0),
        (noise_concept, load_setup("TI", "MW"), 1),
        (concept, load_setup("TI", "1-AC"), 2),
    ]


@pytest.fixture
def ti_profile(profile):
    values = {"steps": N_STEPS, "n_vectors": 2, "checkpoint_every": 2}
    return replace(profile, methods={**profile.methods, "TI": {**profile.methods["TI"], **values}})


@pytest.fixture(scope="module")
def known():
    return {}


@pytest.fixture
def separate(backbone, words, ti_profile, known):
    """The words' adapters, each learned in a run of its own, once."""
    if not known:
        known["adapters"] = [alone(backbone, word, ti_profile) for word in words]
    return known["adapters"]


def side_by_side(backbone, words, profile, folder=None, **kwargs):
    folders = [folder and folder / str(k) for k in range(len(words))]
    trainings = [prepare(backbone, *word, profile, checkpoint_dir=f) for word, f in zip(words, folders, strict=True)]
    return train(backbone, trainings, progress=False, **kwargs)


def alone(backbone, word, profile, **kwargs):
    concept, setup, seed = word
    return learn(backbone, concept, setup, profile, seed, **kwargs)


def test_new_words_side_by_side_end_with_the_bits_of_separate_runs(backbone, words, separate, ti_profile):
    many = side_by_side(backbone, words, ti_profile)
    for expected, adapter in zip(separate, many, strict=True):
        assert torch.equal(adapter.tensors["embedding"], expected.tensors["embedding"])
        assert adapter.header() == expected.header()


def test_new_words_in_one_batch_end_within_rounding_of_separate_runs(backbone, words, separate, ti_profile):
    many = side_by_side(backbone, words, ti_profile, together=3)
    for expected, adapter in zip(separate, many, strict=True):
        one, other = adapter.tensors["embedding"], expected.tensors["embedding"]
        assert float((one - other).norm() / other.norm()) < 1e-3
        assert adapter.history[0]["loss"] == pytest.approx(expected.history[0]["loss"], rel=1e-5)
        assert adapter.history[0]["grad_norm"] == pytest.approx(expected.history[0]["grad_norm"], rel=1e-3)


def test_a_new_word_is_not_touched_by_its_neighbours(backbone, words, ti_profile):
    """A neighbour that learns something else entirely leaves the others' bits."""
    first = side_by_side(backbone, words[:2], ti_profile, together=2)[0]
    other = [words[0], (*words[1][:2], 9)]
    second = side_by_side(backbone, other, ti_profile, together=2)[0]
    assert torch.equal(first.tensors["embedding"], second.tensors["embedding"])


def test_new_words_resume_from_checkpoints_of_separate_runs(backbone, words, separate, ti_profile, tmp_path):
    values = {**ti_profile.methods["TI"], "steps": 2}
    shorter = replace(ti_profile, methods={**ti_profile.methods, "TI": values})
    alone(backbone, words[1], shorter, checkpoint_dir=tmp_path / "1")
    many = side_by_side(backbone, words, ti_profile, tmp_path)
    for k, (expected, adapter) in enumerate(zip(separate, many, strict=True)):
        assert torch.equal(adapter.tensors["embedding"], expected.tensors["embedding"])
        (left,) = (tmp_path / str(k)).iterdir()
        assert load_adapter(left).steps == len(adapter.history) == N_STEPS


def test_a_new_word_that_diverges_leaves_the_others_their_end(
    backbone, words, separate, ti_profile, monkeypatch, tmp_path
):
    check = Training.check

    def checked(run, loss, ignorant):
        bad = run.adapter.seed == 1 and run.adapter.steps == 3
        return check(run, float("nan") if bad else loss, ignorant)

    monkeypatch.setattr(Training, "check", checked)
    with pytest.raises(Diverged, match="a noise TI-MW, seed 1: training diverged at step 4") as error:
        side_by_side(backbone, words, ti_profile, tmp_path, together=3)
    first, none, last = error.value.finished
    assert none is None and load_adapter(tmp_path / "1" / "step-000002").steps == 2
    for adapter, other in ((first, separate[0]), (last, separate[2])):
        expected = other.tensors["embedding"]
        assert len(adapter.history) == N_STEPS
        assert float((adapter.tensors["embedding"] - expected).norm() / expected.norm()) < 1e-3


def test_what_cannot_share_a_backbone_is_refused(backbone, words, profile):
    with pytest.raises(ValueError, match="DB-BL: only Textual Inversion"):
        side_by_side(backbone, [(words[0][0], load_setup("DB", "BL"), 0)], profile, together=2)
    with pytest.raises(ValueError, match="0 trainings"):
        train(backbone, [])
    with pytest.raises(ValueError, match="together=0"):
        side_by_side(backbone, words, profile, together=0)
    short = replace(profile, methods={"TI": {**profile.methods["TI"], "batch_size": 1}})
    mixed = [prepare(backbone, *words[0], profile), prepare(backbone, *words[1], short)]
    with pytest.raises(ValueError, match="the same hyperparameters"):
        train(backbone, mixed, together=2)


def test_a_full_gpu_is_told_which_parameters_help(backbone, words, ti_profile, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(backbone.unet, "forward", full)
    with pytest.raises(RuntimeError, match=r"batch_size=2.*gradient_checkpointing = true.*together=3"):
        side_by_side(backbone, words, ti_profile, together=3)
    with pytest.raises(RuntimeError, match=r"batch_size=2.*gradient_checkpointing = true.*accumulation"):
        alone(backbone, words[0], ti_profile)
