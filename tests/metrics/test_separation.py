"""Separation and leakage against closed forms and independent code."""

import numpy as np
import pytest
import torch

from tmp_utils.inputs.audio import RATE_HZ, log_mel
from tmp_utils.inputs.masks import shares
from tmp_utils.metrics.separation import both_scores, mask_scores, mel_l1, si_sdr, word_scores

T = np.arange(round(0.64 * RATE_HZ)) / RATE_HZ
LOW, HIGH = (0.1 * np.sin(2 * np.pi * hz * T) for hz in (300, 3000))
RNG = np.random.default_rng(0)


def test_the_ratio_of_a_target_with_orthogonal_noise_is_that_of_their_powers():
    noise = RNG.normal(size=len(LOW))
    noise -= noise.mean() + (noise @ LOW) / (LOW @ LOW) * LOW  # LOW has whole periods, so its mean is 0
    noise -= noise.mean()
    expected = 10 * np.log10((LOW @ LOW) / (0.01 * noise @ noise))
    assert si_sdr(LOW + 0.1 * noise, LOW) == pytest.approx(expected, abs=1e-6)
    assert si_sdr(-7 * (LOW + 0.1 * noise), LOW) == pytest.approx(expected, abs=1e-6)
    assert si_sdr(3 * LOW, LOW) > 200
    with pytest.raises(ValueError, match="a clip is silent"):
        si_sdr(0 * LOW, LOW)
    with pytest.raises(ValueError, match="of one length"):
        si_sdr(LOW[1:], LOW)


def test_the_difference_of_mels_is_that_of_levels():
    mel = log_mel(torch.tensor(LOW + HIGH, dtype=torch.float32))
    assert mel_l1(mel + np.log(10 ** (1 / 20)), mel) == pytest.approx(0.115, abs=1e-3)


def test_ideal_masks_are_better_than_halves_and_halves_as_good_as_none():
    mixture, parts = LOW + HIGH, [LOW, HIGH]
    ideal = shares(log_mel(torch.tensor(np.stack(parts), dtype=torch.float32)))
    scores = {
        name: mask_scores(mixture, masks, parts)
        for name, masks in {
            "ideal": ideal,
            "halves": torch.full_like(ideal, 0.5),
            "none": torch.ones_like(ideal),
        }.items()
    }
    assert min(scores["ideal"]["si_sdr"]) > 25
    assert scores["halves"]["si_sdr"] == pytest.approx(scores["none"]["si_sdr"], abs=1e-3)
    assert scores["none"]["si_sdr"] == pytest.approx([0, 0], abs=0.1)  # equal powers
    assert max(scores["ideal"]["mel_l1"]) < min(scores["none"]["mel_l1"])


def test_closeness_and_leakage_are_means_over_all_pairs_of_clips():
    generated, own, other, third = (RNG.normal(size=(n, 6)) for n in (3, 4, 5, 2))

    def mean_cosine(a, b):
        return np.mean([x @ y / np.sqrt(x @ x) / np.sqrt(y @ y) for x in a for y in b])

    scores = word_scores(generated, [other, own, third], own=1)
    assert scores["closeness"] == pytest.approx(mean_cosine(generated, own))
    leaked = np.mean([mean_cosine(generated, other), mean_cosine(generated, third)])
    assert scores["leakage"] == pytest.approx(leaked)
    assert scores["difference"] == pytest.approx(scores["closeness"] - leaked)


def test_a_clip_with_one_of_two_sounds_does_not_count_as_half_of_both():
    first, second = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    halves = np.concatenate([first, second])
    assert both_scores(halves, [first, second]) == pytest.approx(0)
    together = (first + second) / np.sqrt(2)
    assert both_scores(together, [first, second]) == pytest.approx(np.sqrt(0.5))


def test_a_word_of_identical_sounds_has_no_difference():
    part = RNG.normal(size=(4, 6))
    assert word_scores(RNG.normal(size=(3, 6)), [part, part], own=0)["difference"] == 0
