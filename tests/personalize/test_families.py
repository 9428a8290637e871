"""Every family learns with every method, on the same loop."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from families import DURATION_S, FAMILIES, ON_MELS, noised_and_target, predicted, spelt
from training_runs import clips_of, learn, same, with_hyperparameters

from tmp_utils.inputs.profiles import load_profile, load_setup
from tmp_utils.model.adapter import load_adapter
from tmp_utils.model.backbone import unit_noise
from tmp_utils.model.export import export_lora, export_pipeline, export_textual_inversion
from tmp_utils.model.generate import generate
from tmp_utils.model.pipelines import quiet
from tmp_utils.personalize import loop, prepare, train
from tmp_utils.personalize.loop import losses
from tmp_utils.personalize.training import step_generator

SETUPS = (("TI", "MW"), ("DB", "BL"), ("DB", "TE-PP"), ("DB-LoRA", "BL"), ("DB-CD", "BL"), ("DB-SV", "BL"))
SETUPS += (("TI-DB", "BL"),)


@pytest.fixture(scope="session", params=FAMILIES)
def tiny(request, tiny_backbones):
    return request.param, tiny_backbones(request.param)


@pytest.fixture(scope="session", params=[name for name in FAMILIES if name != "musicldm"])
def unlike_audioldm(request, tiny_backbones):
    """Those that the tests of AudioLDM do not cover."""
    return request.param, tiny_backbones(request.param)


@pytest.fixture(autouse=True, scope="module")
def shorter_clips():
    with clips_of(DURATION_S):
        yield


@pytest.fixture
def profile():
    smoke = load_profile("smoke")
    methods = {name: {**values, "steps": 1, "batch_size": 2} for name, values in smoke.methods.items()}
    methods = {name: {**values, "prior_clips": 2, "lr": 1e-3} for name, values in methods.items()}
    methods["TI-DB"] |= {"ti_steps": 1}
    return replace(smoke, inference_steps=2, clip_s=DURATION_S, methods=methods)


def weights_of(backbone):
    parts = (part for part in backbone.pipe.components.values() if isinstance(part, torch.nn.Module))
    return [weight.clone() for part in parts for weight in part.state_dict().values()]


def clip_of(backbone, adapter, **options):
    prompt = f"a recording of a {adapter.words}"
    return generate(
        backbone, [prompt], [4], adapter=adapter, steps=2, clip_s=DURATION_S, batch_size=1, progress=False, **options
    )[0]


def test_the_loss_is_the_formula_of_the_family(tiny, concept, profile):
    """The clips, the noise and the times are those of the package; what becomes of them is written out."""
    name, backbone = tiny
    training, draw = prepare(backbone, concept, load_setup("DB", "BL"), 0, profile), step_generator(0, 0)
    torch.randint(1, (2,), generator=draw)
    latents = training.examples.sample(2, draw)
    times = backbone.draw_times(2, latents.shape[1:], draw)
    noise = torch.randn(latents.shape, generator=draw)
    noised, target = noised_and_target(name, backbone.pipe, latents, noise, times)
    output = predicted(name, backbone.pipe, training.recipe.prompts[0], noised, times)
    expected = torch.nn.functional.mse_loss(output, target)
    (loss,), _ = losses([training], [step_generator(0, 0)])
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)


def test_every_setup_learns_and_nothing_but_its_adapter_moves(unlike_audioldm, concept, profile):
    _, backbone = unlike_audioldm
    before = weights_of(backbone)
    for method, setup in SETUPS:
        adapter = learn(backbone, concept, load_setup(method, setup), profile)
        assert adapter.tensors and adapter.steps == (2 if method == "TI-DB" else 1)
        assert all(np.isfinite(row["loss"]) for row in adapter.history)
        with adapter.applied(backbone):
            changed = sum(not torch.equal(x, y) for x, y in zip(weights_of(backbone), before, strict=True))
        assert bool(changed) == (method != "TI")
        assert all(torch.equal(x, y) for x, y in zip(weights_of(backbone), before, strict=True))


def test_gradient_checkpointing_learns_the_same(unlike_audioldm, concept, profile):
    _, backbone = unlike_audioldm
    profiles = [with_hyperparameters(profile, "DB", gradient_checkpointing=again) for again in (False, True)]
    with_all, again = (learn(backbone, concept, load_setup("DB", "BL"), each).tensors for each in profiles)
    assert all(torch.allclose(again[name], tensor, atol=1e-6) for name, tensor in with_all.items())
    assert with_all.keys() == again.keys()


def test_a_single_batch_is_overfitted(unlike_audioldm, concept, profile, monkeypatch):
    _, backbone = unlike_audioldm
    monkeypatch.setattr(loop, "step_generator", lambda seed, step: step_generator(seed, 0))
    profile = with_hyperparameters(profile, "DB", steps=8, lr=1e-2, max_grad_norm=1e3)
    (adapter,) = train(backbone, [prepare(backbone, concept, load_setup("DB", "BL"), 0, profile)], progress=False)
    assert adapter.history[-1]["loss"] < 0.9 * adapter.history[0]["loss"]


def test_a_whole_pipeline_is_opened_by_diffusers_with_the_word_inside(tiny, concept, profile, tmp_path):
    name, backbone = tiny
    profile = with_hyperparameters(profile, "TI-DB", lr=0.05, ti_lr=0.1, n_vectors=2)
    adapter = learn(backbone, concept, load_setup("TI-DB", "BL"), profile)
    with quiet():
        theirs = DiffusionPipeline.from_pretrained(export_pipeline(adapter, backbone, tmp_path / "whole"))
    prompt, noise = f"a jazz song with {adapter.words}", unit_noise([1], backbone.latent_shape(DURATION_S))
    times = torch.tensor([500]) if name in ON_MELS else torch.tensor([0.5])
    with torch.no_grad(), adapter.applied(backbone):
        ours = backbone.predict(noise, times, backbone.embed_prompts([prompt]))
        output = predicted(name, theirs, spelt(name, theirs, prompt, adapter.placeholder, 2), noise, times)
        torch.testing.assert_close(ours, output, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(output, predicted(name, theirs, "a jazz song with guitar", noise, times), atol=1e-3)


def loaded_by_its_card(folder, backbone):
    """What the code on a card leaves, with files in place and a shorter clip of fewer steps."""
    code = (folder / "README.md").read_text().split("```python")[1].split("```")[0]
    code = code.replace("10.24", str(DURATION_S)).replace("num_inference_steps=50", "num_inference_steps=2")
    code = code.replace('"num_inference_steps": 50', '"num_inference_steps": 2')
    (file,) = folder.glob("*.safetensors")
    names = {}
    with quiet():
        exec(code.replace(file.name, str(file)).replace(f'"{backbone.folder.name}"', f'"{backbone.folder}"'), names)
    assert np.isfinite(np.asarray(names["audio"])).all() and np.asarray(names["audio"]).any()
    return names["pipe"]


def test_low_rank_updates_are_loaded_by_the_code_on_their_card(tiny, concept, profile, tmp_path):
    name, backbone = tiny
    profile = with_hyperparameters(profile, "DB-LoRA", lr=0.1)
    adapter = learn(backbone, concept, load_setup("DB-LoRA", "BL"), profile)
    noise = unit_noise([1], backbone.latent_shape(DURATION_S))
    asked = "drums", noise, torch.tensor([500] if name in ON_MELS else [0.5])
    with torch.no_grad():
        unlearned = predicted(name, backbone.pipe, *asked)
        with adapter.applied(backbone):
            expected = predicted(name, backbone.pipe, *asked)
    assert not torch.allclose(expected, unlearned, atol=1e-3)
    pipe = loaded_by_its_card(export_lora(adapter, tmp_path / "lora" / "w.safetensors").parent, backbone)
    with torch.no_grad():
        torch.testing.assert_close(predicted(name, pipe, *asked), expected, atol=1e-5, rtol=1e-4)
    if name == "stable_audio_3":  # whose card has the pipeline run what it skips
        with adapter.applied(backbone):
            ours = backbone.denoise(noise, backbone.embed_prompts(["drums"]), steps=2, guidance_scale=2.0)
        options = {"num_inference_steps": 2, "guidance_scale": 2.0, "output_type": "latent", "duration": DURATION_S}
        torch.testing.assert_close(pipe("drums", latents=noise, **options).audios, ours, atol=1e-4, rtol=1e-3)


def test_a_new_word_is_loaded_by_the_code_on_its_card_or_refused(tiny, concept, profile, tmp_path):
    name, backbone = tiny
    adapter = learn(backbone, concept, load_setup("TI", "MW"), with_hyperparameters(profile, "TI", lr=0.1, n_vectors=2))
    if name == "audioldm2":
        with pytest.raises(ValueError, match=r"vectors of two text encoders.*Use export_pipeline"):
            export_textual_inversion(adapter, tmp_path / "word" / "w.safetensors")
        return
    pipe = loaded_by_its_card(export_textual_inversion(adapter, tmp_path / "word" / "w.safetensors").parent, backbone)
    prompt, noise = f"a jazz song with {adapter.words}", unit_noise([1], backbone.latent_shape(DURATION_S))
    times = torch.tensor([500] if name in ON_MELS else [0.5])
    with torch.no_grad(), adapter.applied(backbone):
        ours = backbone.predict(noise, times, backbone.embed_prompts([prompt]))
        theirs = predicted(name, pipe, spelt(name, pipe, prompt, adapter.placeholder, 2), noise, times)
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(theirs, predicted(name, pipe, "a jazz song with guitar", noise, times), atol=1e-4)


def test_an_adapter_comes_back_from_disk_and_an_interrupted_training_continues(
    unlike_audioldm, concept, profile, tmp_path
):
    _, backbone = unlike_audioldm
    profile, setup = with_hyperparameters(profile, "DB-LoRA", steps=2, checkpoint_every=1), load_setup("DB-LoRA", "BL")
    whole = learn(backbone, concept, setup, profile)

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(backbone, concept, setup, profile, checkpoint_dir=tmp_path / "checkpoints", on_checkpoint=stop)
    resumed = learn(backbone, concept, setup, profile, checkpoint_dir=tmp_path / "checkpoints")
    assert same(whole, resumed) and resumed.steps == 2
    loaded = load_adapter(whole.save(tmp_path / "adapter"))
    learned, unlearned = clip_of(backbone, whole), clip_of(backbone, whole, strength=0.0)
    assert np.array_equal(clip_of(backbone, loaded), learned) and not np.array_equal(learned, unlearned)
    noun = f"a recording of a {concept.class_noun}"
    (plain,) = generate(backbone, [noun], [4], steps=2, clip_s=DURATION_S, batch_size=1, progress=False)
    assert np.array_equal(unlearned, plain)
