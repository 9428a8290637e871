import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from tmp_utils.model.adapter import Adapter
from tmp_utils.model.backbone import unit_noise
from tmp_utils.model.export import export_lora, export_pipeline, export_textual_inversion
from tmp_utils.model.generate import generate
from tmp_utils.model.pipelines import quiet


@pytest.fixture
def blank_adapter(backbone):
    """Makes adapters of given tensors."""

    def make(tensors, placeholder=None, words="zyx guitar"):
        return Adapter(
            method="x", setup="x", concept="tones", class_noun="guitar", rare_word="zyx", seed=0,
            placeholder=placeholder, words=words, backbone_id=backbone.id, backbone_hash=backbone.hash,
            hyperparameters={}, tensors=tensors,
        )  # fmt: skip

    return make


@pytest.fixture
def word(backbone, blank_adapter):
    def make(n_vectors):
        vectors = torch.randn(n_vectors, 16, generator=torch.Generator().manual_seed(n_vectors))
        return blank_adapter({"embedding": vectors}, "<tones>", "<tones>")

    return make


@pytest.mark.parametrize("n_vectors", [1, 3])
def test_diffusers_own_loader_reads_a_new_word(backbone, blank_folder, word, n_vectors, tmp_path):
    from diffusers import AudioLDMPipeline
    from diffusers.loaders import TextualInversionLoaderMixin

    class WithWords(TextualInversionLoaderMixin, AudioLDMPipeline):
        pass

    adapter = word(n_vectors)
    with quiet():
        theirs = WithWords.from_pretrained(blank_folder)
        theirs.load_textual_inversion(str(export_textual_inversion(adapter, tmp_path / "word.safetensors")))
    prompt = "a jazz song with a <tones> in a cathedral"
    spelt = theirs.maybe_convert_prompt(prompt, theirs.tokenizer)
    expected = theirs._encode_prompt([spelt], "cpu", 1, False)
    with adapter.applied(backbone):
        ours = backbone.embed_prompts([prompt])
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)
    assert float(ours[0] @ backbone.embed_prompts(["a jazz song with a guitar in a cathedral"])[0]) < 0.999


def test_only_a_new_word_is_a_textual_inversion_file(blank_adapter, tmp_path):
    with pytest.raises(ValueError, match="Use export_pipeline"):
        export_textual_inversion(blank_adapter({"unet.conv_in.bias": torch.zeros(8)}), tmp_path / "x")


def test_diffusers_own_loader_reads_low_rank_updates(backbone, blank_folder, blank_adapter, tmp_path):
    from diffusers import AudioLDMPipeline

    names = [n for n, m in backbone.unet.named_modules() if n.endswith("to_q")]
    draw = torch.Generator().manual_seed(0)
    tensors = {}
    for name in names:
        tensors[f"unet.{name}.lora_A.weight"] = torch.randn(4, 16, generator=draw)
        tensors[f"unet.{name}.lora_B.weight"] = torch.randn(16, 4, generator=draw)
    adapter = blank_adapter(tensors)
    with quiet():
        theirs = AudioLDMPipeline.from_pretrained(blank_folder)
        theirs.unet.load_lora_adapter(str(export_lora(adapter, tmp_path / "lora.safetensors")), prefix="unet")
    latents, condition = unit_noise([0], backbone.latent_shape(0.64)), backbone.null_condition
    with torch.no_grad():
        expected = theirs.unet(latents, 500, None, class_labels=condition).sample
        plain = backbone.unet(latents, 500, None, class_labels=condition).sample
        with adapter.applied(backbone):
            ours = backbone.unet(latents, 500, None, class_labels=condition).sample
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-3)
    assert float((ours - plain).abs().max()) > 1e-2


READER = """
import sys, numpy, torch
from diffusers import AudioLDMPipeline
pipe = AudioLDMPipeline.from_pretrained(sys.argv[1])
audio = pipe(sys.argv[2], 0.64, num_inference_steps=2, guidance_scale=2.5, latents=torch.load(sys.argv[3])).audios
numpy.save(sys.argv[4], audio)
"""


def test_an_exported_pipeline_sounds_the_same_in_a_fresh_process(backbone, blank_adapter, tmp_path):
    draw = torch.Generator().manual_seed(0)
    bias = backbone.unet.conv_in.bias + torch.randn(8, generator=draw)
    words = torch.randn(2, 16, generator=draw)
    adapter = blank_adapter({"embedding": words, "unet.conv_in.bias": bias}, "<tones>", "<tones>")
    folder = export_pipeline(adapter, backbone, tmp_path / "exported")
    noise = unit_noise([4], backbone.latent_shape(0.64))
    torch.save(noise, tmp_path / "noise.pt")
    prompt = "a recording of a <tones>"
    arguments = [folder, prompt.replace("<tones>", "<tones> <tones>_1"), tmp_path / "noise.pt", tmp_path / "out.npy"]
    subprocess.run([sys.executable, "-W", "ignore", "-c", READER, *map(str, arguments)], check=True)
    numbers = {"steps": 2, "clip_s": 0.64, "batch_size": 1, "progress": False}
    ours = generate(backbone, [prompt], [4], adapter=adapter, **numbers)[0]
    plain = generate(backbone, ["a recording of a guitar"], [4], **numbers)[0]
    theirs = np.load(tmp_path / "out.npy")[0]
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert np.abs(ours - plain).max() > 1e-2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["exported", "noise.pt", "out.npy"]


def test_exporting_leaves_the_backbone_alone(backbone, word, tmp_path):
    before = backbone.words.clone()
    export_pipeline(replace(word(2)), backbone, tmp_path / "exported")
    assert torch.equal(backbone.words, before) and backbone.adapter is None and not backbone.overrides
