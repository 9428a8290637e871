"""Schedulers other than DDIM: on Gaussian numbers, whose perfect UNet is a formula, and held against DDIM's scores."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from adapters import new_word
from diffusers import DDIMScheduler
from results_runs import ToneEmbedder, use_tone_embedder

from tmp_utils.commands import samplers
from tmp_utils.commands.samplers import Trial, measure_samplers, sampler_equivalence
from tmp_utils.findings.published import read_samplers
from tmp_utils.inputs.profiles import load_profile
from tmp_utils.metrics.embed import load_embedder, unit_rows
from tmp_utils.metrics.equivalence import fewest_steps
from tmp_utils.model.backbone import load_backbone
from tmp_utils.model.families.audioldm import AudioLDM
from tmp_utils.model.families.stable_audio import StableAudioOpen
from tmp_utils.model.generate import generate
from tmp_utils.model.pipelines import make_scheduler
from tmp_utils.model.tensors import EMBEDDING
from tmp_utils.runs.score import SECOND_EMBEDDER

MEAN, SPREAD = 0.7, 0.5  # of the Gaussian that the perfect UNet knows
SHAPE = (4, 1, 4, 4)
METRICS = ["clap_a", "clap_t", "fad", "musicnn_a_coded", "musicnn_fad_coded"]
FAST = ["DPMSolverMultistep", "UniPCMultistep"]


class PerfectUNet(torch.nn.Module):
    """Predicts exactly what a UNet trained without end on latents ~ N(MEAN, SPREAD^2) would."""

    def __init__(self, scheduler):
        super().__init__()
        self.kept, self.kind = scheduler.alphas_cumprod, scheduler.config.prediction_type
        self.calls, self.weight = 0, torch.nn.Parameter(torch.zeros(()))  # a backbone is where its weights are

    def forward(self, noisy, t, encoder_hidden_states=None, class_labels=None):
        self.calls += 1
        # UniPC and DPM-Solver++ ask at whole timesteps.
        signal, sigma = self.kept[int(t)].sqrt(), (1 - self.kept[int(t)]).sqrt()
        gain = signal * SPREAD**2 / (signal**2 * SPREAD**2 + sigma**2)
        clean = MEAN + gain * (noisy - signal * MEAN)
        noise = (noisy - signal * clean) / sigma
        answers = {"epsilon": noise, "v_prediction": signal * noise - sigma * clean, "sample": clean}
        return SimpleNamespace(sample=answers[self.kind])


def sampled(kind: str, name: str, steps: int) -> tuple[torch.Tensor, PerfectUNet]:
    own = DDIMScheduler(
        beta_start=0.0015,
        beta_end=0.0195,
        beta_schedule="scaled_linear",
        steps_offset=1,
        clip_sample=False,
        set_alpha_to_one=False,
        prediction_type=kind,
    )
    unet = PerfectUNet(own)
    backbone = AudioLDM("perfect", "", None, SimpleNamespace(unet=unet, scheduler=own))
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    numbers = {"steps": steps, "guidance_scale": 1.0, "scheduler": make_scheduler(name, own)}
    return backbone.denoise(noise, torch.zeros(len(noise), 2), **numbers), unet


def transported() -> torch.Tensor:
    """Where the probability flow takes the noise: a Gaussian flow keeps every number's place in its distribution."""
    return MEAN + SPREAD * torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("name", FAST)
def test_a_faster_sampler_is_nearer_the_exact_flow_in_fewer_steps(kind, name):
    exact = transported()
    fast, unet = sampled(kind, name, 15)
    ddim, _ = sampled(kind, "DDIM", 15)
    assert unet.calls == 15
    assert float((fast - exact).abs().mean()) < 0.02 * SPREAD
    assert float((fast - exact).abs().mean()) < 0.2 * float((ddim - exact).abs().mean())


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_prediction_types_are_one_process_seen_three_ways(kind):
    """As near as whole timesteps allow: the UNet is asked at the one nearest to the sampler's own noise level."""
    for name in (*FAST, "DDIM"):
        torch.testing.assert_close(sampled(kind, name, 10)[0], sampled("epsilon", name, 10)[0], atol=1e-2, rtol=0)


@pytest.mark.parametrize("name", FAST)
def test_clips_depend_on_seed_and_prompt_alone_with_a_faster_sampler_too(backbone, name):
    prompts, numbers = ["a jazz song", "a guitar", "drums"], {"steps": 3, "clip_s": 0.64, "progress": False}
    together = generate(backbone, prompts, [1, 2, 3], scheduler=name, **numbers)
    alone = generate(backbone, prompts[1:2], [2], scheduler=name, **numbers)
    assert (together[1] == alone[0]).all()
    assert not (together[1] == generate(backbone, prompts[1:2], [2], **numbers)[0]).all()
    assert type(backbone.scheduler).__name__ == "DDIMScheduler"


def test_a_sampler_s_second_run_is_its_first(backbone):
    scheduler = make_scheduler("DPMSolverMultistep", backbone.scheduler)
    noise = torch.randn(1, *backbone.latent_shape(0.64), generator=torch.Generator().manual_seed(0))
    numbers = {"steps": 3, "guidance_scale": 2.5, "scheduler": scheduler}
    first, again = (backbone.denoise(noise, backbone.null_condition, **numbers) for _ in range(2))
    assert torch.equal(first, again)


def test_an_unknown_sampler_is_refused(backbone):
    with pytest.raises(ValueError, match='scheduler "Magic": not one of diffusers'):
        generate(backbone, ["a guitar"], [0], scheduler="Magic")


def test_clips_of_several_new_words_share_batches(backbone, concept):
    a, b = (new_word(backbone, concept, seed) for seed in (0, 1))
    prompts, numbers = ["a recording of a <tones>", "a jazz song with a <tones>"] * 2, {"steps": 2, "clip_s": 0.64}
    mixed = generate(backbone, prompts, [1, 2, 3, 4], adapter=[a, b, b, a], progress=False, **numbers)
    for own, places in ((a, [0, 3]), (b, [1, 2])):
        asked = [prompts[k] for k in places], [(1, 2, 3, 4)[k] for k in places]
        for place, clip in zip(places, generate(backbone, *asked, adapter=own, progress=False, **numbers), strict=True):
            assert (mixed[place] == clip).all()
    assert backbone.adapter is None and not backbone.overrides
    with pytest.raises(ValueError, match="4 prompts and 2 adapters"):
        generate(backbone, prompts, [1, 2, 3, 4], adapter=[a, b])
    a.tensors = {EMBEDDING: a.tensors[EMBEDDING], "unet.conv_in.bias": torch.zeros(8)}
    with pytest.raises(ValueError, match="changes the backbone's weights"):
        generate(backbone, prompts[:1], [1], adapter=[a])


def test_half_precision_is_near_single(backbone):
    numbers = {"steps": 2, "clip_s": 0.64, "progress": False}
    single, half, auto = (
        generate(backbone, ["a guitar"], [1], precision=precision, **numbers)[0]
        for precision in ("fp32", "bf16", "auto")
    )
    assert (single == auto).all() and not (single == half).all()
    assert abs(single - half).mean() < 0.1 * abs(single).mean()


class EvenEmbedder(ToneEmbedder):
    """Any prompt is all bands alike."""

    def embed_prompts(self, prompts):
        return unit_rows(np.ones((len(prompts), 16)))


def test_samplers_are_held_against_ddim(backbone, monkeypatch):
    """DDIM itself is equivalent to itself exactly; one step of another is not."""
    monkeypatch.setattr(samplers, "PAPERS_SAMPLER", ("DDIM", 6))
    monkeypatch.setattr(samplers, "RESAMPLES", 20)
    prompts, rng = ["a recording of a guitar", "a jazz song", "the sound of drums"] * 2, np.random.default_rng(0)
    near, far = (list(0.1 * rng.normal(size=(12, 10240))) for _ in range(2))
    settings = SimpleNamespace(guidance_scale=2.5, clip_s=0.64)
    make = samplers._maker(backbone, settings, [(prompts, range(6), None)])
    tried = [("DDIM", 6), ("UniPCMultistep", 1)]
    trial = Trial(make, prompts, [near, far], [far, near], np.array([0, 0, 0, 1, 1, 1]))
    table = sampler_equivalence(EvenEmbedder("tones"), ToneEmbedder("musicnn:tones"), trial, tried)
    itself, other = table[table["scheduler"] == "DDIM"], table[table["scheduler"] == "UniPCMultistep"]
    assert list(table["metric"]) == METRICS * 2 and (table["n"] == 6).all()
    second = table["metric"].str.startswith("musicnn")
    assert (table["embedder"] == second.map({True: "musicnn:tones", False: "tones"})).all()
    assert (itself["difference"] == 0).all() and itself["equivalent"].all()
    assert not other.set_index("metric").loc["clap_t", "equivalent"]
    assert fewest_steps(table) == {"DDIM": 6, "UniPCMultistep": None}


def test_a_clip_is_compared_with_its_own_concept(monkeypatch):
    monkeypatch.setattr(samplers, "RESAMPLES", 2)
    rng, embedder = np.random.default_rng(0), EvenEmbedder("tones")
    tones = [np.sin(2 * np.pi * hz * np.arange(10240) / 16000) for hz in (300, 4000)]
    training = [[tone + 0.01 * rng.normal(size=10240) for _ in range(3)] for tone in tones]
    clips = [tone + 0.01 * rng.normal(size=10240) for tone in tones for _ in range(4)]
    for places, near in (([0] * 4 + [1] * 4, True), ([1] * 4 + [0] * 4, False)):
        trial = Trial(lambda *sampler: clips, ["a tone"] * 8, training, training[::-1], np.array(places))
        table = sampler_equivalence(embedder, ToneEmbedder("musicnn:tones"), trial, [("DDIM", 6)]).set_index("metric")
        assert (table.loc["clap_a", "reference"] > 0.9) == near
        assert (table.loc["musicnn_a_coded", "reference"] > 0.9) != near  # beside the coded clips, here swapped


def test_a_backbone_that_takes_no_other_sampler_says_so_before_anything_is_trained_or_generated(monkeypatch, profile):
    waves = StableAudioOpen("waves", "", None, None)
    monkeypatch.setattr(samplers, "load_profile", lambda name: profile)
    monkeypatch.setattr("tmp_utils.model.backbone.load_backbone", lambda source: waves)
    with pytest.raises(ValueError, match='scheduler "DPMSolverMultistep": this backbone takes first-order steps only'):
        measure_samplers(profile.name)
    with pytest.raises(ValueError, match="DDIMScheduler: this backbone takes first-order steps only"):
        waves.process(2, DDIMScheduler())


def test_the_pocket_profiles_steps_are_equivalent_but_for_the_distances_that_its_comment_names():
    table, profile = read_samplers("pocket"), load_profile("pocket")
    ours = table[(table.scheduler == profile.scheduler) & (table.steps == profile.inference_steps)]
    failed = ours.loc[~ours.equivalent, ["model", "metric"]]
    assert set(failed.itertuples(index=False, name=None)) == {
        (model, "musicnn_fad_coded") for model in ("TI-BL", "DB-BL")
    }
    uni_pc = table[(table.scheduler == "UniPCMultistep") & (table.steps == profile.inference_steps)]
    assert len(uni_pc) == len(ours) == 3 * len(METRICS) and uni_pc.equivalent.all()
    assert set(table.backbone) == {load_backbone(profile).hash[:12]}
    assert set(table.embedder) == {load_embedder(spec).name for spec in (profile.embedder, SECOND_EMBEDDER)}
    assert table.groupby("model", sort=False).metric.unique().map(list).tolist() == [METRICS] * 3


def test_samplers_are_measured_on_a_profiles_own_backbone_untrained_and_trained(backbone, profile, monkeypatch):
    monkeypatch.setattr(samplers, "load_profile", lambda name: profile)
    loaded = use_tone_embedder(monkeypatch)
    monkeypatch.setattr("tmp_utils.inputs.concepts.list_concepts", lambda: ["sitar"])  # five clips, not 145
    monkeypatch.setattr(samplers, "PAPERS_SAMPLER", ("DDIM", 2))
    monkeypatch.setattr(samplers, "RESAMPLES", 10)
    monkeypatch.setattr(samplers, "SCHEDULERS", ("DDIM",))
    table = measure_samplers(profile.name, nouns=("guitar",), steps=(2,), concepts=("sitar", "koto"))
    assert list(table.metric) == METRICS * 3
    n_edits = profile.n_editability_prompts
    per_concept = samplers.N_RECONSTRUCTIONS + min(samplers.N_EDITS, n_edits)
    assert dict(zip(table.model, table.n, strict=True)) == {
        "untrained": n_edits,
        "TI-BL": 2 * per_concept,
        "DB-BL": 2 * per_concept,
    }
    np.testing.assert_allclose(table.difference, 0, atol=1e-5)
    assert set(table.backbone) == {backbone.hash[:12]} and loaded == [profile.embedder, SECOND_EMBEDDER]
    assert read_samplers("paper") is None
