"""How much of an adapter is used, and two adapters in one prompt."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from adapters import SETUPS, clip_of

from tmp_utils.model.combination import combine
from tmp_utils.model.generate import generate
from tmp_utils.model.tensors import LORA_A, LORA_B, full_weights, noun_embedding

by_name = pytest.mark.parametrize("name", [setup.name for setup in SETUPS])
NUMBERS = {"steps": 2, "clip_s": 0.64, "batch_size": 1, "progress": False}


@by_name
def test_strength_1_is_what_was_learned_and_0_is_the_class_noun_without_the_adapter(backbone, adapters, learned, name):
    assert np.array_equal(clip_of(backbone, adapters[name], strength=1), learned(name))
    assert np.array_equal(clip_of(backbone, adapters[name], strength=0), learned(""))
    assert not np.array_equal(learned(name), learned(""))


@pytest.mark.parametrize("name", ["TI-BL", "DB-TE", "DB-LoRA-BL"])
def test_clips_change_without_a_jump_and_go_on_above_1(backbone, adapters, name):
    zero, near_zero, middle, near_one, one, above = (
        clip_of(backbone, adapters[name], strength=s) for s in (0, 1e-4, 0.5, 1 - 1e-4, 1, 1.5)
    )
    apart = np.abs(zero - one).max()
    assert np.abs(zero - near_zero).max() < 0.05 * apart and np.abs(one - near_one).max() < 0.05 * apart
    assert not any(np.array_equal(clip, end) for clip in (middle, above) for end in (zero, one))


@by_name
@pytest.mark.parametrize("strength", [0.5, 1.5])
def test_weights_are_scaled_by_their_difference_and_a_word_lies_on_the_line_from_the_noun(
    backbone, adapters, name, strength
):
    adapter = adapters[name]
    whole = full_weights(backbone, adapter.tensors)
    plain = {key: backbone.parameter(key).clone() for key in whole}
    with adapter.applied(backbone, strength):
        for key, weight in whole.items():
            expected = plain[key] + strength * (weight - plain[key])
            torch.testing.assert_close(backbone.parameter(key), expected, atol=1e-6, rtol=1e-5)
        assert (set(backbone.overrides) == {"<tones>"}) == ("TI" in name)
        for vectors in backbone.overrides.values():
            noun = noun_embedding(backbone, "guitar", len(vectors))
            torch.testing.assert_close(vectors, noun + strength * (adapter.tensors["embedding"] - noun))


@pytest.mark.parametrize("strength", [-0.1, 1.51, float("nan"), float("inf"), True, "1", None])
def test_a_strength_that_cannot_be_is_refused(backbone, adapters, strength):
    with pytest.raises(ValueError, match=r"strength=.*expected a number from 0 .* to 1\.5; 1 is what was learned"):
        clip_of(backbone, adapters["TI-BL"], strength=strength)
    with pytest.raises(ValueError, match="expected a number"), adapters["DB-BL"].applied(backbone, strength):
        pass


def test_a_strength_needs_an_adapter(backbone):
    with pytest.raises(ValueError, match=r"strength=0\.5 without an adapter"):
        clip_of(backbone, None, "guitar", strength=0.5)


def test_prompts_with_a_word_each_have_the_strength_too(backbone, adapters):
    a = adapters["TI-BL"]
    b = replace(a, tensors={"embedding": -a.tensors["embedding"]})
    prompts = ["a recording of a <tones>"] * 2
    together = generate(backbone, prompts, [5, 5], adapter=[a, b], strength=0.5, **NUMBERS)
    assert np.array_equal(together[0], clip_of(backbone, a, strength=0.5))
    assert np.array_equal(together[1], clip_of(backbone, b, strength=0.5))


@pytest.fixture
def other_word(adapters):
    """A second word, "<taps>", of the class "drum"."""
    vector = adapters["TI-BL"].tensors["embedding"].flip(1)
    words = {"concept": "taps", "class_noun": "drum", "placeholder": "<taps>", "words": "<taps>"}
    return replace(adapters["TI-BL"], tensors={"embedding": vector}, **words)


@pytest.mark.parametrize("name", ["TI-BL", "DB-BL", "DB-TE", "DB-LoRA-BL", "TI-DB-BL"])
def test_a_new_word_and_another_adapter_share_a_prompt(backbone, adapters, learned, other_word, name):
    adapter = adapters[name]
    both = combine(adapter, other_word)
    assert np.array_equal(clip_of(backbone, both, adapter.words), learned(name))
    words = f"{adapter.words} over a <taps>"
    made = [clip_of(backbone, each, words) for each in (both, adapter)]
    made += [clip_of(backbone, both, text) for text in (f"{adapter.words} over a drum", "guitar over a <taps>")]
    if name != "DB-TE":  # whose text encoder, at this rate, gives every prompt the same condition
        assert all(not np.array_equal(made[0], clip) for clip in made[1:])
    noun = clip_of(backbone, None, "guitar over a drum")
    assert np.array_equal(clip_of(backbone, both, words, strength=0), noun)
    assert backbone.adapter is None and not backbone.overrides


def test_two_words_do_not_depend_on_their_order(backbone, adapters, other_word):
    words = "<tones> over a <taps>"
    one, two = combine(adapters["TI-BL"], other_word), combine(other_word, adapters["TI-BL"])
    assert np.array_equal(clip_of(backbone, one, words), clip_of(backbone, two, words))


def test_low_rank_updates_add_up_each_with_its_weight(backbone, adapters):
    one = adapters["DB-LoRA-BL"]
    other = replace(one, words="sks drum", tensors={name: 2 * tensor for name, tensor in one.tensors.items()})
    name = next(n for n in one.tensors if n.endswith(LORA_A)).removesuffix(LORA_A)
    change = one.tensors[name + LORA_B] @ one.tensors[name + LORA_A]
    expected = backbone.parameter(f"{name}.weight") + (0.5 + 0.25 * 4) * change
    with combine(one, other, weights=[0.5, 0.25]).applied(backbone):
        assert torch.allclose(backbone.parameter(f"{name}.weight"), expected, atol=1e-6)
    assert backbone.adapter is None
    with pytest.raises(ValueError, match="1 weights for 2 adapters"):
        combine(one, other, weights=[1])


def test_what_cannot_be_combined_is_refused(backbone, adapters, other_word):
    word, dreambooth = adapters["TI-BL"], adapters["DB-BL"]
    with pytest.raises(ValueError, match="have the same word, <tones>"):
        combine(word, adapters["TI-DB-BL"])
    with pytest.raises(ValueError, match=r"both change the backbone's weights.*learn one of the two .*TI"):
        combine(other_word, dreambooth, replace(adapters["DB-LoRA-BL"], words="sks drum"))
    with pytest.raises(ValueError, match=r"tones TI-BL, seed 0 was learned on .*, taps TI-BL, seed 0 on .*\(ffff"):
        combine(word, replace(other_word, backbone_hash="f" * 64))
    with pytest.raises(ValueError, match="1 adapters; combine takes two or more"):
        combine(word)
    with word.applied(backbone), pytest.raises(RuntimeError, match=r"is applied .*combine"):
        clip_of(backbone, combine(dreambooth, other_word), "<taps>")
