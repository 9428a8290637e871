"""Templates for training, reconstruction and editability."""

import pytest

from tmp_utils.inputs import concepts, prompts

FAMILIES = ("genre", "recording", "accompaniment", "background", "mood")


def test_there_are_twenty_editability_prompts_in_five_families():
    asked = prompts.editability_prompts()
    count = {family: sum(p.family == family for p in asked) for family in FAMILIES}
    assert count == {"genre": 5, "recording": 4, "accompaniment": 6, "background": 3, "mood": 2}


def test_a_few_prompts_cover_every_family_before_any_twice():
    assert {p.family for p in prompts.editability_prompts(5)} == set(FAMILIES)
    assert [p.family for p in prompts.editability_prompts(2)] == ["genre", "recording"]


def test_more_prompts_contain_the_fewer():
    for n in range(1, 20):
        fewer, more = prompts.editability_prompts(n), prompts.editability_prompts(n + 1)
        assert len(fewer) == n
        assert set(fewer) < set(more)


def test_asking_for_no_or_too_many_prompts_says_how_many_there_are():
    for n in (0, 21):
        with pytest.raises(ValueError, match=f"n={n}: there are 20 editability prompts"):
            prompts.editability_prompts(n)


def test_every_template_has_one_place_and_every_prompt_its_own_id():
    everything = [prompts.reconstruction_prompt(), *prompts.editability_prompts()]
    templates = [p.template for p in everything] + prompts.training_templates()
    assert all(t.count("{}") == 1 for t in templates)
    assert len({p.id for p in everything}) == len(everything)
    assert len(set(prompts.training_templates())) == len(prompts.training_templates()) >= 20


def test_training_templates_ask_for_nothing_but_the_concept():
    asked = " ".join(p.template for p in prompts.editability_prompts()).replace("{}", "").split()
    plain = {"a", "the", "of", "in", "on", "with", "recording", "played", "an"}
    words = {word for t in prompts.training_templates() for word in t.replace("{}", "").split()}
    assert words & (set(asked) - plain) == set()


def test_filling_puts_the_words_in_their_place():
    assert prompts.fill(prompts.reconstruction_prompt().template, "xivr string instrument") == (
        "a recording of a xivr string instrument"
    )
    with pytest.raises(ValueError, match="has 0 places for a concept"):
        prompts.fill("a recording", "sitar")


def test_class_nouns_follow_the_article_that_the_templates_use():
    assert not concepts.catalogue()["class_noun"].str.contains(r"^[aeiou]").any()
