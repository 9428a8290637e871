"""What a family cannot do is refused in plain words, before its weights are read where its description tells."""

import json

import pytest
from families import DURATION_S, FAMILIES, load_tiny

from tmp_utils.inputs.concepts import list_concepts, load_concept
from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.inputs.prompts import editability_prompts, fill, training_templates
from tmp_utils.model.backbone import load_backbone
from tmp_utils.model.families import families
from tmp_utils.model.pipelines import check_versions


def test_what_a_family_cannot_do_is_refused(tiny_backbones, tmp_path):
    backbone = tiny_backbones("stable_audio_open")
    with pytest.raises(ValueError, match=r"tokens; .* reads at most 64\. Shorten the prompt"):
        backbone.embed_prompts(["a " * 70])
    with pytest.raises(ValueError, match=r"a clip of 30 s; .* makes 1\.5 s at most"):
        backbone.latent_shape(30.0)
    with pytest.raises(ValueError, match=r'takes first-order steps only\. Set scheduler = "DDIM"'):
        backbone.choose_scheduler("DPMSolverMultistep")


def test_what_a_family_refuses_is_refused_before_its_weights_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("tmp_utils.model.backbone.locate_pipeline", lambda name: pytest.fail("located"))
    with pytest.raises(ValueError, match=r"a distilled checkpoint.*Learn on the base"):
        load_tiny("stable_audio_3", tmp_path / "distilled", scheduler={"stochastic_sampling": True})
    (tmp_path / "speech").mkdir()
    index = {"_class_name": "AudioLDM2Pipeline", "text_encoder_2": ["transformers", "VitsModel"]}
    (tmp_path / "speech" / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="its second text encoder is a VitsModel"):
        load_backbone(tmp_path / "speech", "cpu")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_prompt_over_the_limit_is_named_as_it_was_written(tiny_backbones, name):
    backbone = tiny_backbones(name)
    long = "a quiet guitar " * 150
    with pytest.raises(ValueError, match=r'^"a quiet guitar .*" has \d+ tokens; .* reads at most \d+\. Shorten'):
        backbone.tokenise(["short", long])


def test_no_prompt_of_the_study_is_over_the_pocket_models_limit():
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(DATA_DIR / "pocket" / "tokenizer")
    templates = [*training_templates(), *(prompt.template for prompt in editability_prompts())]
    words = [f"{concept.rare_word} {concept.class_noun}" for concept in map(load_concept, list_concepts())]
    longest = max(words, key=lambda text: len(tokenizer(text).input_ids))
    texts = [fill(template, f"{longest} and a {longest}") for template in templates]
    assert max(len(ids) for ids in tokenizer(texts).input_ids) <= tokenizer.model_max_length


def test_musicldms_own_pipeline_is_said_to_fail_where_it_does(tiny_backbones):
    pipe = tiny_backbones("musicldm").pipe
    with pytest.raises(AttributeError):
        pipe("a guitar", audio_length_in_s=DURATION_S, num_inference_steps=1)
    with pytest.warns(UserWarning, match="MusicLDMPipeline cannot encode a prompt with transformers"):
        check_versions("MusicLDMPipeline", "musicldm")


def test_every_pipeline_class_has_one_family():
    known = [pipeline for kind in families() for pipeline in kind.pipelines]
    assert len(known) == len(set(known)) == 6
