import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from tmp_utils.inputs.audio import MEL_FLOOR, RATE_HZ, log_mel
from tmp_utils.inputs.profiles import load_profile
from tmp_utils.model.architectures import ARCHITECTURES, FULL_SIZE
from tmp_utils.model.backbone import load_backbone, unit_noise
from tmp_utils.model.griffin_lim import GriffinLimVocoder
from tmp_utils.model.pipelines import class_of, pipeline_hash
from tmp_utils.model.published import published
from tmp_utils.personalize.dreambooth import rare_word_report

PROMPTS = ["a recording of a guitar", "a jazz song with a zither and a great many drums in a cathedral", ""]


def test_prompts_are_embedded_as_the_pipeline_embeds_them(backbone):
    theirs = backbone.pipe._encode_prompt(PROMPTS, "cpu", 1, do_classifier_free_guidance=True)
    ours = backbone.embed_prompts(PROMPTS)
    torch.testing.assert_close(ours, theirs[3:], atol=1e-5, rtol=0)
    torch.testing.assert_close(backbone.null_condition, theirs[:1], atol=1e-5, rtol=0)
    assert float(ours[0] @ ours[1]) < 0.999, "the prompts must differ, or the comparison says nothing"


def test_a_prompt_has_the_same_bits_in_any_company(backbone):
    together = backbone.embed_prompts(PROMPTS)
    assert all(torch.equal(backbone.embed_prompts([p])[0], row) for p, row in zip(PROMPTS, together, strict=True))


def test_moments_are_the_vae_s_own_of_the_log_mel(backbone):
    clip = np.random.default_rng(0).normal(size=20480).astype(np.float32) / 10
    mean, std = backbone.moments([clip, clip / 2])
    posterior = backbone.vae.encode(log_mel(torch.tensor(clip))[None, None]).latent_dist
    assert mean.shape == (2, *backbone.latent_shape(1.28))
    torch.testing.assert_close(mean[:1], posterior.mean)
    torch.testing.assert_close(std[:1], posterior.std)


def test_decoding_undoes_the_scaling(backbone):
    latents = torch.randn(2, 4, 16, 8, generator=torch.Generator().manual_seed(0))
    mels = backbone.vae.decode(latents / backbone.vae.config.scaling_factor).sample[:, 0]
    expected = backbone.vocoder(mels)[:, : 16 * 8 * 160]
    np.testing.assert_allclose(backbone.decode(latents), expected.numpy(), atol=1e-6)


def test_every_parameter_is_frozen(backbone):
    parts = (backbone.unet, backbone.vae, backbone.text_encoder, backbone.vocoder)
    assert not any(p.requires_grad for part in parts for p in part.parameters())
    assert not any(part.training for part in parts)


def test_the_hash_follows_the_weights(blank_folder, tmp_path):
    copy = shutil.copytree(blank_folder, tmp_path / "copy")
    assert pipeline_hash(copy) == pipeline_hash(blank_folder)
    path = copy / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert pipeline_hash(copy) != pipeline_hash(blank_folder)


def test_an_unknown_backbone_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no model_index.json"):
        load_backbone(tmp_path)


def test_the_papers_model_is_not_downloaded_where_there_is_no_gpu(monkeypatch):
    from diffusers import DiffusionPipeline

    monkeypatch.setattr(DiffusionPipeline, "download", lambda name, **_: pytest.fail("downloaded"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match="Nothing was downloaded"):
        load_backbone(load_profile("paper"))


def test_another_kind_of_pipeline_is_refused(tmp_path):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    with pytest.raises(ValueError, match=r"StableDiffusionPipeline; expected .* or AudioLDMPipeline"):
        load_backbone(tmp_path)


def test_a_profile_chooses_the_scheduler(profile):
    from dataclasses import replace

    chosen = load_backbone(replace(profile, scheduler="DPMSolverMultistep"), "cpu").scheduler
    assert type(chosen).__name__ == "DPMSolverMultistepScheduler"
    assert chosen.config.prediction_type == "v_prediction"
    with pytest.raises(ValueError, match="Nonsense"):
        load_backbone(replace(profile, scheduler="Nonsense"), "cpu")


def test_architectures_have_the_published_number_of_parameters():
    for size, profile in FULL_SIZE.items():
        row, entry = published(load_profile(profile).backbone), ARCHITECTURES[size]
        kind, numbers = entry.get("unet") or entry["transformer"]
        with torch.device("meta"):
            denoiser = class_of(entry["pipeline"], kind)(**numbers)
        assert round(sum(weight.numel() for weight in denoiser.parameters()) / 1e6) == row.denoiser, size
        assert entry["pipeline"] == row.pipeline
    assert load_profile("paper").backbone == "cvssp/audioldm-m-full"


def test_noise_depends_on_its_own_seed_alone():
    pair, one = unit_noise([3, 4], (2, 5)), unit_noise([4], (2, 5))
    assert torch.equal(pair[1], one[0]) and not torch.equal(pair[0], pair[1])


def test_a_rare_word_is_one_that_splits(backbone):
    rare, common = (rare_word_report(backbone, word, "guitar") for word in ("zyx", "a"))
    assert len(rare["pieces"]) > 1 and not rare["common"]
    assert common["pieces"] == ["Ġa"] and common["common"]


@pytest.fixture(scope="module")
def beat():
    """A tone with harmonics and bursts of noise, 1.5 s; then silence."""
    t = torch.arange(RATE_HZ * 2) / RATE_HZ
    tone = sum(0.1 / k * torch.sin(2 * torch.pi * 220 * k * t) for k in range(1, 9)) * torch.exp(-3 * (t % 0.5))
    noise = torch.randn(t.shape, generator=torch.Generator().manual_seed(0)) * torch.exp(-12 * (t % 0.25))
    return (tone + 0.1 * noise) * (t < 1.5)


def test_griffin_lim_returns_to_the_mel_it_was_given(beat):
    mel = log_mel(beat[None])
    again = log_mel(GriffinLimVocoder(n_iter=16)(mel))
    sounding = mel > mel.max() - 6
    assert again.shape == mel.shape
    assert float((again - mel).abs()[sounding].mean()) < 0.12
    assert float((log_mel(GriffinLimVocoder(n_iter=0)(mel)) - mel).abs()[sounding].mean()) > 0.5


def test_griffin_lim_of_silence_is_silence(beat):
    vocoder = GriffinLimVocoder(n_iter=4)
    assert not vocoder(torch.full((1, 64, 64), float(np.log(MEL_FLOOR)))).any()
    after_the_sound = vocoder(log_mel(beat[None]))[0, int(1.6 * RATE_HZ) :]
    assert float(after_the_sound.abs().max()) == 0


def test_griffin_lim_is_the_same_twice_and_in_any_batch(beat):
    mels = log_mel(torch.stack([beat, beat.flip(0)]))
    vocoder = GriffinLimVocoder(n_iter=2)
    both = vocoder(mels)
    assert torch.equal(both, vocoder(mels)) and torch.equal(both[0], vocoder(mels[0]))
    assert not torch.equal(both[0], GriffinLimVocoder(n_iter=2, seed=1)(mels[0]))


def test_a_folder_can_choose_griffin_lim(blank_folder, tmp_path):
    folder = shutil.copytree(blank_folder, tmp_path / "chosen")
    (folder / "vocoder_choice.json").write_text('{"vocoder": "griffin-lim"}')
    chosen = load_backbone(folder, "cpu")
    assert isinstance(chosen.vocoder, GriffinLimVocoder)
    assert chosen.hash != pipeline_hash(blank_folder)
    noise, n = unit_noise([0], chosen.latent_shape(0.64)), int(0.64 * RATE_HZ)
    ours = chosen.decode(chosen.denoise(noise, chosen.embed_prompts(["drums"]), steps=1, guidance_scale=2.5))
    theirs = chosen.pipe("drums", 0.64, num_inference_steps=1, guidance_scale=2.5, latents=noise).audios
    np.testing.assert_allclose(ours[:, :n], theirs, atol=1e-4 * np.abs(theirs).max())
    (folder / "vocoder_choice.json").write_text('{"vocoder": "theremin"}')
    with pytest.raises(ValueError, match="theremin"):
        load_backbone(folder, "cpu")


def test_new_words_stand_in_prompts_only_within_their_block(backbone):
    vector, prompt = backbone.words[-1:] + 1, "a recording of a <new>"
    before = backbone.embed_prompts([prompt])
    with backbone.with_words({"<new>": vector}):
        inside = backbone.embed_prompts([prompt])
    ids, mask = backbone.tokenise([prompt], {"<new>": 1})
    assert torch.equal(inside, backbone.encode(ids, mask, vector))
    assert torch.equal(backbone.embed_prompts([prompt]), before) and not torch.equal(inside, before)


def test_latents_that_are_not_finite_in_half_precision_are_computed_again_in_single(backbone, monkeypatch):
    unet, noise = type(backbone.unet).forward, unit_noise([0], backbone.latent_shape(1.28))
    condition, how = backbone.embed_prompts(["a violin"]), {"steps": 2, "guidance_scale": 2.5}
    expected = backbone.denoise(noise, condition, **how)

    def overflowing(model, *arguments, **options):
        output = unet(model, *arguments, **options)
        if torch.is_autocast_enabled("cpu"):
            output.sample = output.sample * float("inf")
        return output

    monkeypatch.setattr(type(backbone.unet), "forward", overflowing)
    with pytest.warns(UserWarning, match=r"not finite in torch.bfloat16; these are computed again in float32"):
        latents = backbone.denoise(noise, condition, dtype=torch.bfloat16, **how)
    assert torch.equal(latents, expected)


@pytest.mark.parametrize("device", [None, "auto"])
def test_auto_is_the_profiles_choice(monkeypatch, device):
    def locate(name, gpu_expected):
        raise FileNotFoundError("with a GPU" if gpu_expected else "without a GPU")

    monkeypatch.setattr("tmp_utils.model.backbone.describe_pipeline", locate)
    with pytest.raises(FileNotFoundError, match="without a GPU"):
        load_backbone(replace(load_profile("pocket"), device="cpu"), device)
    with pytest.raises(FileNotFoundError, match="with a GPU"):
        load_backbone("a/b", device)
