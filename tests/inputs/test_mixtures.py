"""Mixtures: their levels, what adds up, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tmp_utils.inputs import mixtures
from tmp_utils.inputs.audio import RATE_HZ, log_mel, loudness_lufs, save_clip
from tmp_utils.inputs.concepts import list_concepts, load_concept
from tmp_utils.inputs.masks import masked_clip, masked_mels, shares
from tmp_utils.inputs.mixtures import MIXTURE_LUFS, Mixture, list_mixtures, load_mixture, mix, own_mixture
from tmp_utils.inputs.profiles import DATA_DIR

T = np.arange(2 * RATE_HZ) / RATE_HZ


def tone(hz, gain=0.1):
    return (gain * np.sin(2 * np.pi * hz * T)).astype("float32")


LOW, HIGH = tone(300), tone(3000, 0.02)
TWO = Mixture("two", ("drum beat", "violin"), ("a", "b"), (LOW + HIGH, LOW + HIGH), (), "own recording")


def test_the_table_mixes_shipped_concepts_of_different_nouns():
    rows = list_mixtures()
    kinds = [row.kind for row in rows]
    assert kinds.count("unlike") + kinds.count("like") >= 8 and min(kinds.count("unlike"), kinds.count("like")) >= 3
    assert kinds.count("recordings") == 3 and kinds.count("song") == 3
    searched = {"accordion", "gymnopedie", "rumba"}  # the learning rates were chosen on these
    for row in rows:
        first, second = mixtures.load_parts(row)
        assert first.class_noun != second.class_noun and {row.first, row.second}.isdisjoint(searched)
        assert row.first in list_concepts() and (row.second in list_concepts() or (DATA_DIR / row.second).is_dir())


def test_the_parts_of_a_song_are_cut_from_the_same_seconds_at_one_gain():
    mixture = load_mixture("freedom")
    guitar, band = mixture.parts
    assert mixture.class_nouns == ("guitar", "band")
    assert len(mixture.clips) == 5
    assert np.array_equal(mixture.clips[0], guitar[0] + band[0])
    assert loudness_lufs(mixture.clips[0]) == pytest.approx(MIXTURE_LUFS, abs=0.01)
    difference = loudness_lufs(guitar[0]) - loudness_lufs(band[0])
    assert difference == pytest.approx(-4.1, abs=0.1)  # of the two tracks in their package


def test_parts_have_the_stated_difference_in_level_and_sum_to_the_mixture():
    first, second = mix([[LOW], [HIGH]], 3.0, "tones")
    assert loudness_lufs(first[0]) - loudness_lufs(second[0]) == pytest.approx(3.0, abs=0.01)
    assert loudness_lufs(first[0] + second[0]) == pytest.approx(MIXTURE_LUFS, abs=0.01)
    kept, _ = mix([[LOW], [HIGH]], None, "tones")
    assert np.corrcoef(kept[0], LOW)[0, 1] == pytest.approx(1)


def test_a_part_that_is_silent_is_named():
    with pytest.raises(ValueError, match=r"tones, clip 1, part 2: silent"):
        mix([[LOW], [0 * LOW]], 0.0, "tones")


def test_one_sound_equal_nouns_and_more_sounds_than_clips_are_refused():
    with pytest.raises(ValueError, match="a mixture has two sounds or more"):
        replace(TWO, class_nouns=("violin",))
    with pytest.raises(ValueError, match='"violin" stands for two of its sounds'):
        replace(TWO, class_nouns=("violin", "Violin "))
    with pytest.raises(ValueError, match="3 sounds in 2 clips"):
        replace(TWO, class_nouns=("violin", "flute", "guitar"))


def test_a_concept_with_itself_is_refused(monkeypatch):
    row = list_mixtures()[0].model_copy(update={"second": "breakbeat"})
    monkeypatch.setattr(mixtures, "list_mixtures", lambda: [row])
    with pytest.raises(ValueError, match="breakbeat with itself is one concept"):
        load_mixture(row.name)


def test_a_folder_and_nouns_are_a_mixture_without_parts(tmp_path):
    for k in range(2):
        save_clip(tmp_path / f"{k}.wav", LOW + HIGH)
    own = own_mixture(tmp_path, ["drum beat", " violin"])
    assert own.class_nouns == ("drum beat", "violin") and own.parts == () and len(own.clips) == 2
    assert loudness_lufs(own.clips[0]) == pytest.approx(MIXTURE_LUFS, abs=0.01)
    with pytest.raises(ValueError, match="1 of 2 class nouns are empty"):
        own_mixture(tmp_path, ["drum beat", " "])


def test_the_rows_of_songs_name_a_folder_that_is_a_concept():
    stem = load_concept(DATA_DIR / "stems" / "freedom_backing")
    assert stem.class_noun == "band" and len(stem.clips) == 5


def test_the_ideal_masks_of_two_disjoint_bands_separate_them():
    mels = log_mel(torch.tensor(np.stack([LOW, HIGH])))
    masks = shares(mels)
    assert torch.allclose(masks.sum(0), torch.ones(()))
    peaks = mels.mean(1).argmax(1)
    inner = masks[:, 5:-5]  # without the reflected edges
    assert inner[0, :, peaks[0]].min() > 0.99 and inner[1, :, peaks[1]].min() > 0.99
    for mask, part in zip(masks, (LOW, HIGH), strict=True):
        assert np.corrcoef(masked_clip(LOW + HIGH, mask), part)[0, 1] > 0.999


def test_masked_parts_sum_to_the_mixture_and_equal_sounds_share_it_in_halves():
    mel = log_mel(torch.tensor(LOW + HIGH))
    random = torch.softmax(torch.randn(3, *mel.shape, generator=torch.Generator().manual_seed(0)), 0)
    parts = masked_mels(mel, random).exp().sum(0)
    assert torch.allclose(parts, mel.exp(), rtol=1e-3, atol=1e-4)
    halves = shares(torch.stack([mel, mel]))
    assert torch.allclose(halves, torch.full_like(halves, 0.5))
    assert np.abs(masked_clip(LOW, torch.ones(200, 64)) - LOW).max() < 1e-6
    assert np.abs(masked_clip(LOW, halves[0]) - LOW / 2).max() < 1e-6


def test_the_share_of_a_silent_sound_is_nothing_where_the_other_sounds():
    mels = log_mel(torch.tensor(np.stack([LOW, 0 * LOW])))
    peak = mels[0].mean(0).argmax()
    assert shares(mels)[0, :, peak].min() > 0.999
    with pytest.raises(ValueError, match="200 frames, and the mask 100"):
        masked_clip(LOW, torch.ones(100, 64))
