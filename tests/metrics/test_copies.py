"""Copies are called copies when they are later, transposed, faster and noisy; other takes of a concept are not."""

import numpy as np
import pytest
import soxr

from tmp_utils.inputs.concepts import load_clips, load_concept
from tmp_utils.metrics import copies
from tmp_utils.metrics.copies import CopyTest, copy_test_power, planted_copies
from tmp_utils.metrics.scores import COPY_TOOL, copy_rows
from tmp_utils.metrics.table import bounds_of

RATE_HZ = 16000
IDENTITY = {"profile": "pocket", "concept": "sitar", "method": "TI", "setup": "BL", "seed": 0}


def melody(seed, semitones=0, speed=1.0, seconds=10):
    """Notes of 0.2 to 0.6 s drawn by the seed from two octaves above A4, with three harmonics that fade."""
    rng, notes = np.random.default_rng(seed), []
    while sum(map(len, notes)) < seconds * RATE_HZ:
        hz = 440 * 2 ** ((rng.integers(0, 24) + semitones) / 12)
        t = np.arange(int(rng.uniform(0.2, 0.6) / speed * RATE_HZ)) / RATE_HZ
        notes.append(np.exp(-4 * t) * sum(np.sin(2 * np.pi * hz * k * t) / k for k in (1, 2, 3)))
    return 0.1 * np.concatenate(notes)[: seconds * RATE_HZ].astype(np.float32)


def melody_alignment(clip, other):
    return CopyTest((other,), threshold=0, takes=0, copies=0).rated([clip])["alignment"][0]


def noisy_codec(clip):
    """White noise 10 dB below the clip, half the level and nothing above 5 kHz: what a poor vocoder may leave."""
    noise = np.random.default_rng(len(clip)).normal(size=len(clip))
    noisy = clip + noise * np.sqrt(np.mean(np.square(clip)) / 10)
    there = soxr.resample(noisy, RATE_HZ, 10000)
    return np.resize(0.5 * soxr.resample(there, 10000, RATE_HZ), len(clip)).astype(np.float32)


@pytest.mark.parametrize(
    "disguise", [{}, {"semitones": 4}, {"semitones": -6}, {"semitones": 2, "speed": 2 ** (2 / 12)}]
)
def test_a_melody_aligns_with_itself_in_another_key_and_at_the_speed_that_goes_with_it(disguise):
    assert melody_alignment(melody(0, **disguise), melody(0)) > 0.75 > 0.45 > melody_alignment(melody(1), melody(0))


def test_the_same_clip_aligns_perfectly_at_any_level_and_up_to_three_seconds_later():
    clip = melody(0)
    assert melody_alignment(0.01 * clip, clip) == pytest.approx(1)
    later = np.concatenate([melody(1, seconds=2), clip])[: len(clip)]
    assert melody_alignment(later, clip) > 0.9
    assert melody_alignment(clip, later) > 0.9
    too_late = np.concatenate([melody(1, seconds=5), clip])[: len(clip)]
    assert melody_alignment(too_late, clip) < 0.5


def test_silence_and_a_held_tone_align_with_nothing():
    tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(10 * RATE_HZ) / RATE_HZ)
    assert melody_alignment(np.zeros(10 * RATE_HZ), melody(0)) == 0
    assert abs(melody_alignment(tone, melody(0))) < 0.3


def test_clips_of_other_lengths_align_where_they_overlap():
    assert melody_alignment(melody(0)[: 4 * RATE_HZ], melody(0)) > 0.9


def test_the_threshold_lies_between_other_takes_and_copies():
    training = [melody(seed) for seed in range(4)]
    test = CopyTest.calibrated(training, [noisy_codec(clip) for clip in training])
    assert test.takes < test.threshold < test.copies
    assert test.threshold == pytest.approx(0.6 * test.takes + 0.4 * test.copies)
    rated = test.rated([noisy_codec(melody(2, semitones=-2)), noisy_codec(melody(9))])
    assert rated["copy"].tolist() == [True, False]
    assert rated["nearest"][0] == 2 and rated["alignment"][0] > test.threshold > rated["alignment"][1]


def test_a_test_without_power_says_so():
    test = CopyTest((), threshold=0.9, takes=0.9, copies=0.8)
    assert "copies cannot be told from other takes here" in test.note
    same = [melody(0)] * 3
    assert not CopyTest.calibrated(same, same).rated(same)["copy"].any()


@pytest.mark.parametrize("name", ["banjo", "taiko_ensemble"])
def test_planted_copies_of_shipped_concepts_are_called_copies_and_other_takes_are_not(name):
    training = load_clips(load_concept(name))
    planted = planted_copies(training, noisy_codec)
    power = copy_test_power([(training, planted["as it is"], planted)])
    assert power.index.tolist() == [
        *("as it is", "0.3 s later", "2 semitones higher", "2 semitones lower", "other takes"),
    ]
    assert (power["n"] == 5).all()
    assert power.loc[["as it is", "0.3 s later"], "called"].tolist() == [5, 5]
    assert (power["called"][2:4] >= 4).all()
    assert power.loc["other takes", "called"] <= 2 * (name == "taiko_ensemble")  # two of its clips have one pattern
    assert power.loc["as it is", ["ci_low", "ci_high"]].tolist() == pytest.approx([0.565518, 1.0], abs=1e-6)


def test_what_is_two_seconds_late_is_found_and_what_is_too_late_is_not():
    training = [melody(seed) for seed in range(4)]
    planted = planted_copies(training, noisy_codec, harder=True)
    called = copy_test_power([(training, planted["as it is"], planted)])["called"]
    assert (called["2 s later"], called["first half alone"], called["5 s later"]) == (4, 4, 0)


def test_power_counts_over_concepts():
    training = [melody(seed) for seed in range(3)]
    coded = [noisy_codec(clip) for clip in training]
    one = (training, coded, {"as it is": coded, "none of them": [melody(seed) for seed in (20, 21, 22)]})
    power = copy_test_power([one, one])
    assert power["n"].tolist() == [6, 6, 6]
    assert power["called"].tolist() == [6, 0, 0]


def test_sets_that_do_not_match_are_refused_and_a_run_s_row_fails_with_the_reason():
    training = [melody(seed) for seed in range(3)]
    with pytest.raises(ValueError, match=r"3 training clips and 2 coded ones .* needs 3 or more"):
        CopyTest.calibrated(training, training[:2])
    (row,) = copy_rows(training, training[:2], training[:2], IDENTITY).to_dict("records")
    assert row["status"] == "failed" and "needs 3 or more" in row["note"]


def test_the_row_is_the_share_of_copies_with_wilson_s_interval():
    training = [melody(seed) for seed in range(3)]
    coded = [noisy_codec(clip) for clip in training]
    table = copy_rows([coded[0], melody(8), melody(9), melody(10)], training, coded, IDENTITY)
    assert table.loc[0, ["metric", "value", "n", "embedder"]].tolist() == ["copied", 0.25, 4, COPY_TOOL]
    # statsmodels.stats.proportion.proportion_confint(1, 4, method="wilson")
    assert table.loc[0, ["ci_low", "ci_high"]].tolist() == pytest.approx([0.045587, 0.699358], abs=1e-6)
    assert "other takes up to" in table.loc[0, "note"]
    assert bounds_of("copied") == (0, 1)


def test_semitone_bands_are_loudest_at_a_note_s_semitone():
    note = 0.1 * np.sin(2 * np.pi * 440 * 2 ** (7 / 12) * np.arange(RATE_HZ) / RATE_HZ)
    bands = copies.semitone_bands(note)
    assert bands.shape == (21, 48)
    assert bands[10].argmax() == 12 + 7  # E5, counted from A3
