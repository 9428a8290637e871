"""Examples: backgrounds at the set ratio, class clips made once, too few clips refused."""

from dataclasses import replace

import pytest
import torch
from training_runs import learn

from tmp_utils.inputs.profiles import load_setup
from tmp_utils.personalize import examples as examples_module
from tmp_utils.personalize.examples import MIX_VERSIONS, make_examples, prior_latents

pytestmark = pytest.mark.usefixtures("short_clips")


def test_mix_makes_other_versions_at_the_asked_ratio(backbone, concept, profile, tmp_path, monkeypatch):
    import numpy as np

    noise = np.random.default_rng(0).normal(size=163840).astype(np.float32)
    monkeypatch.setattr(examples_module, "backgrounds", lambda recorded: [noise, noise[::-1]])
    setup, clip = load_setup("TI", "MIX"), np.sin(np.arange(20480) / 9)
    versions = examples_module._versions(clip.astype(np.float32), setup, 0, 0, [noise, noise[::-1]], 16_000)
    ratios = [10 * np.log10(np.mean(clip**2) / np.mean((version - clip) ** 2)) for version in versions]
    assert len(ratios) == MIX_VERSIONS and np.allclose(ratios, setup.mix_snr_db, atol=0.1)
    mixed = make_examples(backbone, concept, setup, 0)
    assert mixed.mean.shape[:2] == (5, MIX_VERSIONS)
    assert mixed.digest != make_examples(backbone, concept, setup, 1).digest
    assert mixed.digest == make_examples(backbone, concept, setup, 0).digest


def test_class_clips_are_made_once(backbone, profile, tmp_path, monkeypatch):
    arguments = (backbone, "a recording of a guitar", (4, 16, 8), 5, profile)
    first = prior_latents(*arguments, tmp_path)
    monkeypatch.setattr(backbone.unet, "forward", None)
    assert torch.equal(prior_latents(*arguments, tmp_path), first) and first.shape == (5, 4, 16, 8)
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]


def test_damaged_class_clips_are_made_again_with_a_warning(backbone, profile, tmp_path):
    arguments = (backbone, "a recording of a guitar", (4, 16, 8), 2, profile)
    first = prior_latents(*arguments, tmp_path)
    (path,) = tmp_path.iterdir()
    for content in (b"", path.read_bytes()[:-8]):
        path.write_bytes(content)
        with pytest.warns(UserWarning, match="damaged .* made again"):
            assert torch.equal(prior_latents(*arguments, tmp_path), first)
    assert torch.equal(prior_latents(*arguments, tmp_path), first)


def test_too_few_clips_are_refused(backbone, concept, profile):
    with pytest.raises(ValueError, match="2 clips, but TI-3-AC learns from 3"):
        learn(backbone, replace(concept, clips=concept.clips[:2]), load_setup("TI", "3-AC"), profile)
