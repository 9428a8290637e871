from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tmp_utils.inputs.audio import load_clip
from tmp_utils.model import generate as module
from tmp_utils.model.backbone import unit_noise
from tmp_utils.model.generate import clip_seed, generate, generate_clips, planned_clips

PROMPTS = ["a recording of a guitar", "a jazz song with drums", "a guitar in a cathedral"]
SMALL = {"steps": 2, "clip_s": 0.64, "progress": False}


@pytest.mark.parametrize("guidance_scale", [1.0, 2.5])
def test_clips_are_those_of_the_pipeline_for_the_same_noise(backbone, guidance_scale):
    ours = generate(backbone, PROMPTS, [1, 2, 3], guidance_scale=guidance_scale, **SMALL)
    noise = unit_noise([1, 2, 3], backbone.latent_shape(0.64))
    numbers = {"audio_length_in_s": 0.64, "num_inference_steps": 2, "guidance_scale": guidance_scale}
    theirs = backbone.pipe(PROMPTS, latents=noise, **numbers).audios
    assert np.abs(theirs).max() > 0.01, "silence would agree with anything"
    np.testing.assert_allclose(np.stack(ours), theirs, atol=1e-4)


def test_a_clip_has_the_same_bits_in_any_company(backbone):
    together = generate(backbone, PROMPTS * 2, [1, 2, 3, 4, 5, 6], batch_size=4, **SMALL)
    alone = generate(backbone, [PROMPTS[1]], [5], batch_size=4, **SMALL)
    assert np.array_equal(together[4], alone[0])
    smaller = generate(backbone, [PROMPTS[1]], [5], batch_size=1, **SMALL)
    np.testing.assert_allclose(smaller[0], alone[0], atol=1e-4)


def test_the_seed_and_the_prompt_both_matter(backbone):
    a, b, c = generate(backbone, [PROMPTS[0], PROMPTS[0], PROMPTS[1]], [1, 2, 1], **SMALL)
    assert not np.array_equal(a, b) and not np.array_equal(a, c)
    assert a.dtype == np.float32 and a.shape == (10240,)


def test_seeds_of_clips_differ():
    seeds = {(s, p, k): clip_seed(s, p, k) for s in range(3) for p in ("x", "y") for k in range(4)}
    assert len(set(seeds.values())) == len(seeds) and all(0 <= seed < 2**31 for seed in seeds.values())


def test_unequal_lists_and_no_duration_are_refused(backbone):
    with pytest.raises(ValueError, match="2 prompts and 1 seeds"):
        generate(backbone, PROMPTS[:2], [1])
    with pytest.raises(ValueError, match="longer than 0 s"):
        generate(backbone, PROMPTS[:1], [1], clip_s=0.0)
    assert generate(backbone, [], []) == []


@pytest.fixture
def small(profile):
    counts = {"reconstruction_clips": 2, "clips_per_prompt": 2, "n_editability_prompts": 1}
    return replace(profile, clip_s=0.64, inference_steps=1, **counts)


def test_a_run_s_clips_are_planned_from_the_profile(small):
    plan = planned_clips(small, "<tones>", 0)
    assert list(plan["kind"]) == ["reconstruction"] * 2 + ["editability"] * 2
    assert plan["prompt"][0] == "a recording of a <tones>" and plan["seed"].nunique() == 4


def test_clips_and_manifest_are_written(backbone, concept, small, tmp_path):
    table = generate_clips(backbone, None, concept, small, 0, tmp_path, progress=False)
    columns = ["file", "prompt_id", "kind", "family", "prompt", "index", "seed", "duration_s", "peak", "level_lufs"]
    assert list(table.columns) == columns
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "clips.csv")[columns], table, check_dtype=False)
    expected = generate(backbone, list(table["prompt"]), list(table["seed"]), steps=1, clip_s=0.64, progress=False)
    for row, clip in zip(table.itertuples(), expected, strict=True):
        assert "guitar" in row.prompt and row.duration_s == 0.64
        assert row.peak == pytest.approx(np.abs(clip).max())
        np.testing.assert_allclose(load_clip(tmp_path / row.file) * max(1, row.peak), clip, atol=2e-4)


def test_an_interrupted_run_of_clips_is_finished_and_not_repeated(backbone, concept, small, tmp_path, monkeypatch):
    whole = generate_clips(backbone, None, concept, small, 0, tmp_path / "whole", batch_size=2, progress=False)
    real, calls = module.generate, []

    def counted(backbone, prompts, seeds, **numbers):
        calls.append(len(prompts))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(backbone, prompts, seeds, **numbers)

    monkeypatch.setattr(module, "generate", counted)
    folder = tmp_path / "part"
    with pytest.raises(KeyboardInterrupt):
        generate_clips(backbone, None, concept, small, 0, folder, batch_size=2, progress=False)
    resumed = generate_clips(backbone, None, concept, small, 0, folder, batch_size=2, progress=False)
    assert calls == [2, 2, 2]
    pd.testing.assert_frame_equal(resumed, whole, check_dtype=False)
    assert all((folder / f).read_bytes() == (tmp_path / "whole" / f).read_bytes() for f in whole["file"])
    generate_clips(backbone, None, concept, small, 0, folder, batch_size=2, progress=False)
    assert calls == [2, 2, 2], "nothing is left to do"


DAMAGES = {
    "cut": lambda data: data[: len(data) // 2],
    "emptied": lambda data: b"",
    "zeroed": lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
    "one bit": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
}


@pytest.mark.parametrize("damage", [*DAMAGES, "removed"])
@pytest.mark.parametrize("file", ["reconstruction-1.flac", "clips.csv", "SHA256SUMS"])
def test_what_was_damaged_in_an_interrupted_run_is_made_again(backbone, concept, small, tmp_path, file, damage):
    whole = generate_clips(backbone, None, concept, small, 0, tmp_path, progress=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    if damage == "removed":
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(DAMAGES[damage](before[file]))
    again = generate_clips(backbone, None, concept, small, 0, tmp_path, progress=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix == ".flac"} == {
        name: data for name, data in before.items() if name.endswith(".flac")
    }
    pd.testing.assert_frame_equal(again, whole, check_dtype=False, check_exact=True)


def test_clips_of_another_seed_in_the_folder_are_refused(backbone, concept, small, tmp_path):
    generate_clips(backbone, None, concept, small, 0, tmp_path, progress=False)
    with pytest.raises(ValueError, match="Give this run another folder"):
        generate_clips(backbone, None, concept, small, 1, tmp_path, progress=False)
