"""What each method trains, and where it starts."""

import pytest
import torch
from training_runs import learn, recipe_of, with_hyperparameters

from tmp_utils.inputs.profiles import Hyperparameters, list_setups, load_setup
from tmp_utils.model.tensors import full_weights
from tmp_utils.personalize import METHODS

pytestmark = pytest.mark.usefixtures("short_clips")


def test_a_new_word_starts_from_the_mean_it_is_said_to(backbone, concept, profile):
    vocabulary, noun = (recipe_start(backbone, concept, setup) for setup in ("BL", "MW"))
    words = backbone.text_encoder.text_model.embeddings.word_embeddings.weight
    ids = backbone.tokenizer(" guitar", add_special_tokens=False).input_ids
    torch.testing.assert_close(vocabulary, words[: len(backbone.tokenizer)].mean(0).expand(2, -1))
    torch.testing.assert_close(noun, words[ids].mean(0).expand(2, -1))


def recipe_start(backbone, concept, setup):
    hyperparameters = Hyperparameters(lr=1, steps=1, n_vectors=2)
    return METHODS["TI"](backbone, concept, load_setup("TI", setup), hyperparameters, 0).tensors["embedding"]


def test_textual_inversion_trains_its_vectors_and_nothing_else(backbone, concept, profile):
    adapter = learn(backbone, concept, load_setup("TI", "BL"), with_hyperparameters(profile, "TI", n_vectors=3))
    assert {name: tuple(t.shape) for name, t in adapter.tensors.items()} == {"embedding": (3, 16)}
    assert adapter.phrase(concept) == "<tones>" and "<tones>" not in backbone.tokenizer.get_vocab()
    assert {"loss", "grad_norm", "embedding_norm", "cosine_drift"} <= adapter.history[-1].keys()
    assert adapter.history[-1]["cosine_drift"] > 0


def test_the_pivotal_word_stands_still_while_the_unet_trains(backbone, concept, profile):
    adapter = learn(backbone, concept, load_setup("TI-DB", "BL"), profile)
    drift = [row["cosine_drift"] for row in adapter.history]
    assert len(drift) == 5 and drift[0] != drift[1] == drift[2] == drift[4]


def test_custom_diffusion_trains_exactly_what_the_condition_reaches(backbone, concept):
    recipe, _ = recipe_of(backbone, concept, "DB-CD")
    blocks = [n for n, m in backbone.unet.named_modules() if type(m).__name__ == "ResnetBlock2D"]
    modules = {name.rpartition(".")[0] for name in recipe.tensors}
    assert modules == {"unet.class_embedding", *(f"unet.{block}.time_emb_proj" for block in blocks)}
    texts = [
        module.register_forward_pre_hook(lambda m, a, k: seen.append(k.get("encoder_hidden_states")), with_kwargs=True)
        for module in backbone.unet.modules()
        if type(module).__name__ == "Attention"
    ]
    seen = []
    try:
        latents = torch.zeros(1, *backbone.latent_shape(0.64))
        backbone.unet(latents, 1, None, class_labels=backbone.null_condition)
    finally:
        for hook in texts:
            hook.remove()
    assert len(seen) == len(texts) > 0 and all(text is None for text in seen)


def test_spectral_shifts_start_at_the_backbone_s_own_weights(backbone, concept):
    recipe, _ = recipe_of(backbone, concept, "DB-SV")
    weights = full_weights(backbone, recipe.tensors)
    assert all(torch.equal(weight, backbone.parameter(name)) for name, weight in weights.items())
    name = "unet.conv_in.weight"
    shifted = full_weights(backbone, {f"{name}.shift": torch.full((8,), 0.1)})[name].flatten(1)
    values = torch.linalg.svdvals(backbone.parameter(name).flatten(1))
    torch.testing.assert_close(torch.linalg.svdvals(shifted), values + 0.1, atol=1e-5, rtol=1e-4)


def test_low_rank_updates_are_peft_s(backbone, concept):
    """The same matrices in peft's own layer give the same weight."""
    from peft.tuners.lora import LoraConfig
    from peft.tuners.lora.layer import Linear

    recipe, _ = recipe_of(backbone, concept, "DB-LoRA")
    name = next(iter(recipe.tensors)).removesuffix(".lora_A.weight")
    first, second = recipe.tensors[f"{name}.lora_A.weight"], torch.randn(16, 8)
    base = torch.nn.Linear(16, 16)
    base.weight.data = backbone.parameter(f"{name}.weight").detach().clone()
    layer = Linear(base, "default", LoraConfig(r=8, lora_alpha=8), r=8, lora_alpha=8)
    layer.lora_A["default"].weight.data, layer.lora_B["default"].weight.data = first, second
    layer.merge()
    pair = {f"{name}.lora_A.weight": first, f"{name}.lora_B.weight": second}
    torch.testing.assert_close(full_weights(backbone, pair)[f"{name}.weight"], base.weight, atol=1e-6, rtol=1e-5)


def test_every_setup_of_the_table_has_a_method():
    assert {setup.method for setup in list_setups()} == set(METHODS)
