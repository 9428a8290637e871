"""Words from a mixture: which examples go with which prompts, and which parts are learned from."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tmp_utils.inputs.audio import RATE_HZ
from tmp_utils.inputs.mixtures import Mixture, load_mixture_setup
from tmp_utils.model.combination import combine
from tmp_utils.model.tensors import EMBEDDING, noun_embedding
from tmp_utils.personalize import mixtures
from tmp_utils.personalize.mixtures import MixtureExamples, learn_mixture, masks_under

T = np.arange(round(0.64 * RATE_HZ)) / RATE_HZ
LOW, HIGH = (np.float32(0.1) * np.sin(2 * np.pi * hz * T).astype("float32") for hz in (300, 3000))
NOUNS = ("drum beat", "violin")
MIXTURE = Mixture("tones", NOUNS, ("a", "b"), (LOW + HIGH,) * 2, ((LOW,) * 2, (HIGH,) * 2), "unlike")


@pytest.fixture
def learned_from(monkeypatch):
    """What was given to the examples as parts, in order."""
    given, renew = [], MixtureExamples.renew

    def recorded(examples, backbone, parts):
        given.append(parts)
        renew(examples, backbone, parts)

    monkeypatch.setattr(MixtureExamples, "renew", recorded)
    return given


@pytest.fixture
def quick_masks(monkeypatch):
    """Let a number of each condition be its predicted mel: masks that follow the words, in no time."""
    monkeypatch.setattr(mixtures, "predicted_mels", lambda _, clip, c, seed: 9 * c[:, :1, None].expand(-1, 64, 64))


def learn(backbone, profile, name, mixture=MIXTURE, **kwargs):
    return learn_mixture(backbone, mixture, load_mixture_setup(name), 0, profile, share_of_steps=1, **kwargs)


def test_a_part_has_a_prompt_of_its_word_and_the_mixture_one_of_all_words():
    mean = torch.arange(3.0).reshape(3, 1, 1, 1, 1).expand(3, 2, 1, 1, 1)
    examples = MixtureExamples(mean, torch.zeros_like(mean), 1.0, "", parts=0.5)
    rows, latents = examples.draw(400, 6, torch.Generator().manual_seed(0))
    assert torch.equal(rows // 2, latents.flatten().long())
    counts = torch.bincount(latents.flatten().long())
    assert torch.allclose(counts / 400, torch.tensor([0.25, 0.25, 0.5]), atol=0.07)
    examples.parts = 1.0
    assert examples.draw(50, 6, torch.Generator().manual_seed(0))[1].max() == 1
    examples.parts = 0.0
    assert examples.draw(50, 6, torch.Generator().manual_seed(0))[1].min() == 2


def test_the_prompts_are_those_of_each_word_and_then_of_both(backbone, profile):
    values = mixtures.Hyperparameters.of(profile.method("TI"), "TI")
    recipe, words = mixtures.mixture_recipe(backbone, MIXTURE, "TI", values, 0)
    assert words == ["<drum-beat>", "<violin>"] and recipe.sizes == {"<drum-beat>": 1, "<violin>": 1}
    assert recipe.prompts[0] == "a recording of a <drum-beat>"
    assert recipe.prompts[20] == "a recording of a <violin>"
    assert recipe.prompts[40] == "a recording of a <drum-beat> and a <violin>"
    nouns = torch.cat([noun_embedding(backbone, noun, 1) for noun in NOUNS])
    assert torch.equal(recipe.tensors[EMBEDDING], nouns)
    recipe, words = mixtures.mixture_recipe(backbone, MIXTURE, "DB", values, 0)
    assert recipe.prompts == [
        f"a recording of a {w}" for w in ("a drum beat", "b violin", "a drum beat and a b violin")
    ]


def test_the_words_of_one_prompt_learn_no_parts_and_both_change(backbone, profile, learned_from):
    one, two = learn(backbone, profile, "TI-PROMPT")
    assert learned_from == []
    assert (one.words, two.words) == ("<drum-beat>", "<violin>") and one.name == "tones-drum-beat TI-PROMPT, seed 0"
    for adapter, noun in zip((one, two), NOUNS, strict=True):
        assert not torch.equal(adapter.tensors[EMBEDDING], noun_embedding(backbone, noun, 1))
    again = learn(backbone, profile, "TI-PROMPT")
    assert torch.equal(again[1].tensors[EMBEDDING], two.tensors[EMBEDDING])


def test_parts_come_from_the_nouns_once_from_the_words_again_and_again_and_from_the_stems(
    backbone, profile, learned_from, quick_masks, monkeypatch
):
    learn(backbone, profile, "TI-PRIOR")
    assert len(learned_from) == 1
    masks = masks_under(backbone, MIXTURE, NOUNS, 0)
    expected = mixtures.parts_of(MIXTURE.clips, masks)
    assert all(np.array_equal(a, b) for a, b in zip(learned_from[0][1], expected[1], strict=True))
    learned_from.clear()
    adapters = learn(backbone, profile, "TI-JOINT")  # three steps, so three sets of masks
    assert len(learned_from) == 3
    assert not np.array_equal(learned_from[0][0][0], learned_from[2][0][0])
    words = [adapter.words for adapter in adapters]
    assert masks_under(backbone, MIXTURE, words, 0, combine(*adapters))[0].shape == (2, 64, 64)
    learned_from.clear()
    with monkeypatch.context() as patch:  # words that hear the sounds the other way round: with the nouns, halves
        patch.setattr(mixtures._Schedule, "_word_mels", lambda self: [mels.flip(0) for mels in self.noun_mels])
        learn(backbone, profile, "TI-ANCHOR")
    assert len(learned_from) == 3
    for first, second in zip(*learned_from[0], strict=True):
        np.testing.assert_allclose(first, second, atol=1e-6)
    learned_from.clear()
    learn(backbone, profile, "TI-STEMS")
    assert len(learned_from) == 1 and learned_from[0] is MIXTURE.parts


def test_words_of_dreambooth_share_what_was_learned_and_leave_the_backbone_as_it_was(backbone, profile, quick_masks):
    before = backbone.unet.conv_in.weight.clone()
    one, two = learn(backbone, profile, "DB-JOINT")
    assert torch.equal(backbone.unet.conv_in.weight, before) and backbone.adapter is None
    assert one.tensors.keys() == two.tensors.keys() and one.placeholder is None
    assert (one.words, two.words) == ("a drum beat", "b violin")
    assert len(masks_under(backbone, MIXTURE, [one.words, two.words], 0, one)) == 2


@pytest.mark.parametrize(
    ("setup", "weights", "renewed_at"),
    [
        ("TI-PROMPT", [0, 0, 0, 0, 0], []),
        ("TI-ALONE", [1, 1, 1, 1, 1], []),
        ("TI-PRIOR", [1, 1, 1, 1, 1], [0]),
        ("TI-RISING", [0.5, 0.625, 0.75, 0.875, 1], [0]),
        ("TI-JOINT", [0.5, 0.625, 0.75, 0.875, 1], [0, 1, 2, 3]),
        ("TI-ANCHOR", [0.5, 0.625, 0.75, 0.875, 1], [0, 1, 2, 3]),
        ("TI-STEMS", [1, 1, 1, 1, 1], [0]),
    ],
)
def test_the_weight_of_the_parts_and_when_they_are_made(monkeypatch, setup, weights, renewed_at):
    monkeypatch.setattr(mixtures._Schedule, "parts", lambda self: None)
    renewed, examples = [], SimpleNamespace(renew=lambda *_: renewed.append(step))
    schedule = mixtures._Schedule(
        None, MIXTURE, load_mixture_setup(setup), 0, SimpleNamespace(steps=5), NOUNS, examples
    )
    for step, weight in enumerate(weights):
        schedule.before_step(step)
        assert examples.parts == pytest.approx(weight)
    assert renewed == renewed_at


def test_words_alone_learn_from_the_whole_mixture(backbone):
    examples = mixtures._examples(backbone, MIXTURE)
    assert all(torch.equal(part, examples.mean[-1]) for part in examples.mean)


def test_what_cannot_be_learned_is_refused_before_anything_is_trained(backbone, profile, monkeypatch):
    monkeypatch.setattr(mixtures, "train", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(ValueError, match="its parts are not known, so TI-STEMS has nothing"):
        learn(backbone, profile, "TI-STEMS", replace(MIXTURE, parts=()))
    with pytest.raises(ValueError, match=r'"TI-MASKS" is not a setup of mixtures; .* TI-PROMPT, TI-ALONE'):
        load_mixture_setup("TI-MASKS")
