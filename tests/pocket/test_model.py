"""The shipped pocket model: its files, its parts, and the floors of its proof."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open

from tmp_utils.inputs.audio import RATE_HZ
from tmp_utils.inputs.profiles import DATA_DIR, load_profile
from tmp_utils.inputs.prompts import editability_prompts
from tmp_utils.metrics.embed import load_embedder
from tmp_utils.model.backbone import load_backbone
from tmp_utils.model.generate import generate
from tmp_utils.model.pipelines import quiet
from tmp_utils.pocket.assemble import SIZE_LIMIT_BYTES
from tmp_utils.pocket.codec import goals_table
from tmp_utils.pocket.proof import FLOORS, proof_report, spectral_flatness

POCKET = DATA_DIR / "pocket"


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(load_profile("pocket"))


@pytest.fixture(scope="module")
def judge():
    return load_embedder(load_profile("pocket").embedder)


def test_the_files_are_small_in_half_precision_and_without_pickles():
    files = [path for path in POCKET.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= SIZE_LIMIT_BYTES
    assert not [path for path in files if path.suffix in {".bin", ".pt", ".pkl", ".ckpt"}]
    for path in POCKET.rglob("*.safetensors"):
        with safe_open(path, "pt") as weights:
            kinds = {weights.get_slice(name).get_dtype() for name in weights.keys()}  # noqa: SIM118
        assert "F32" not in kinds, path.name


def test_plain_diffusers_loads_the_model_and_generates():
    from diffusers import AudioLDMPipeline

    with quiet():
        pipe = AudioLDMPipeline.from_pretrained(POCKET)
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    clip = pipe("a recording of a flute", audio_length_in_s=1.28, num_inference_steps=2, generator=generator).audios[0]
    assert clip.shape == (round(1.28 * RATE_HZ),) and np.isfinite(clip).all() and clip.std() > 0


def test_the_judge_is_not_the_clap_that_conditions(backbone, judge):
    texts = ["a recording of a flute", "a rock song with a piano"]
    assert not np.allclose(judge.embed_prompts(texts), backbone.embed_prompts(texts).numpy(), atol=0.1)


@pytest.mark.parametrize("measure", FLOORS)
def test_the_proof_reaches_its_floor(measure):
    proof = pd.read_csv(POCKET / "proof.csv")
    assert proof[proof.family == "all"].set_index("measure").value[measure] >= FLOORS[measure]


def test_the_proof_covers_every_editability_prompt():
    proof = pd.read_csv(POCKET / "proof.csv")
    assert set(proof[proof.family != "all"].family) == {prompt.id for prompt in editability_prompts()}


def test_the_judge_scores_a_clip_higher_with_its_own_prompt_than_with_another(backbone, judge):
    texts = ["a recording of a piano", "a heavy metal song with a piano"]
    clips = generate(backbone, texts, [3, 3], steps=15, guidance_scale=2.5, clip_s=5.12, progress=False)
    scores = judge.embed_clips(clips) @ judge.embed_prompts(texts).T
    assert scores[0, 0] > scores[0, 1] and scores[1, 1] > scores[1, 0]
    assert all(np.abs(clip).max() > 0.01 for clip in clips)


def test_flatness_is_low_for_a_tone_and_that_of_exponential_power_for_noise():
    t = np.arange(RATE_HZ) / RATE_HZ
    tone = np.sin(2 * np.pi * 440 * t).astype(np.float32)
    noise = np.random.default_rng(0).standard_normal(RATE_HZ).astype(np.float32)
    assert spectral_flatness(tone) < 0.01 and spectral_flatness(noise) == pytest.approx(
        np.exp(-np.euler_gamma), abs=0.03
    )


def test_the_shipped_report_is_that_of_the_shipped_proof():
    report = (POCKET / "README.md").read_text(encoding="utf-8")
    settings = dict(line.removeprefix("- ").split(": ", 1) for line in report.splitlines() if line.startswith("- "))
    proof = pd.read_csv(POCKET / "proof.csv")
    goals = goals_table(proof, pd.read_csv(POCKET / "codec.csv"))
    assert settings["seed"] == "0" and proof_report(proof, goals, settings, report) == report
    assert set(goals["reached"]) == {"yes", "no"} and goals.set_index("measure")["reached"]["R@10"] == "no"
