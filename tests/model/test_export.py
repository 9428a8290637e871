import copy
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AudioLDMPipeline

from tmp_utils.model.adapter import Adapter
from tmp_utils.model.backbone import unit_noise
from tmp_utils.model.export import export_lora, export_pipeline, export_textual_inversion, with_new_words
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


READER = """
import json, sys, numpy, torch
from pathlib import Path
from diffusers import AudioLDMPipeline
from diffusers.loaders import TextualInversionLoaderMixin

class WithWords(TextualInversionLoaderMixin, AudioLDMPipeline):
    pass

folder, latents = Path(sys.argv[1]), torch.load(Path(sys.argv[1]) / "noise.pt")
for name, (base, file, prompt) in json.loads((folder / "jobs.json").read_text()).items():
    pipe = WithWords.from_pretrained(base)
    if name == "word":
        pipe.load_textual_inversion(file)
    if name == "lora":
        pipe.unet.load_lora_adapter(file, prefix="unet")
    audio = pipe(prompt, 0.64, num_inference_steps=2, guidance_scale=2.5, latents=latents).audios[0]
    numpy.save(folder / f"{name}.npy", audio)
"""


def by_diffusers(backbone, adapter, prompt, noise):
    """The clip that diffusers' own pipeline makes in this process, of the parts in memory."""
    with adapter.applied(backbone), quiet():
        parts = {"vae": backbone.vae, "unet": backbone.unet, "vocoder": backbone.vocoder}
        pipe = AudioLDMPipeline(**parts, **with_new_words(backbone), scheduler=copy.deepcopy(backbone.scheduler))
        return pipe(prompt, 0.64, num_inference_steps=2, guidance_scale=2.5, latents=noise).audios[0]


def test_exports_give_the_same_clip_in_plain_diffusers_in_a_fresh_process(
    backbone, blank_folder, adapters, learned, tmp_path
):
    """Bit for bit, but for low-rank updates, which diffusers does not merge into the weights."""
    base, noise = str(blank_folder), unit_noise([5], backbone.latent_shape(0.64))
    torch.save(noise, tmp_path / "noise.pt")
    prompts = {name: f"a recording of a {adapter.words}" for name, adapter in adapters.items()}
    jobs = {
        name: (str(export_pipeline(adapter, backbone, tmp_path / name)), "", prompts[name])
        for name, adapter in adapters.items()
    }
    for name in jobs:
        parts = json.loads((tmp_path / name / "model_index.json").read_text()).values()
        assert {part[0] for part in parts if isinstance(part, list)} == {"diffusers", "transformers"}
    word = export_textual_inversion(adapters["TI-BL"], tmp_path / "word" / "word.safetensors")
    lora = export_lora(adapters["DB-LoRA-BL"], tmp_path / "lora" / "lora.safetensors")
    jobs |= {"word": (base, str(word), prompts["TI-BL"]), "lora": (base, str(lora), prompts["DB-LoRA-BL"])}
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    subprocess.run([sys.executable, "-W", "ignore", "-c", READER, str(tmp_path)], check=True)
    for job in jobs:
        name = {"word": "TI-BL", "lora": "DB-LoRA-BL"}.get(job, job)
        theirs, ours = np.load(tmp_path / f"{job}.npy"), learned(name)
        np.testing.assert_allclose(theirs, ours, atol=1e-4)
        if job != "lora":
            assert np.array_equal(theirs, by_diffusers(backbone, adapters[name], prompts[name], noise)), job
        assert np.abs(theirs - learned("")).max() > 1e-3, "the adapter can be heard"


def test_exporting_leaves_the_backbone_alone(backbone, word, tmp_path):
    before = backbone.words.clone()
    export_pipeline(replace(word(2)), backbone, tmp_path / "exported")
    assert torch.equal(backbone.words, before) and backbone.adapter is None and not backbone.overrides
