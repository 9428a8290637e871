"""What stays of a source, and where the balance lies: on signals and curves whose answers are known."""

import numpy as np
import pandas as pd
import pytest

from tmp_utils.inputs.audio import RATE_HZ
from tmp_utils.metrics.preservation import (
    at_equal_likeness,
    balance,
    chroma,
    chroma_correlation,
    crossing_point,
    landmarks,
    mean_curve,
    onset_correlation,
    onset_envelope,
    sweet_spot,
)

STRENGTHS = np.linspace(0, 1, 11)
FALLING, RISING = 1 - STRENGTHS, STRENGTHS
MEASURES = [chroma_correlation, onset_correlation]


def notes(pitches, seconds_each=0.5, harmonics=1):
    """A melody of MIDI pitches, each note decaying."""
    t = np.arange(round(seconds_each * RATE_HZ)) / RATE_HZ
    hz = 440 * 2 ** ((np.asarray(pitches) - 69) / 12)
    tones = [sum(np.sin(2 * np.pi * f * k * t) / k for k in range(1, harmonics + 1)) for f in hz]
    return np.concatenate([tone * np.exp(-4 * t) for tone in tones]).astype(np.float32)


MELODY = [60, 64, 67, 72, 65, 69]


@pytest.mark.parametrize("pitch", [57, 60, 66, 81])
def test_a_tones_energy_lies_in_its_pitch_class(pitch):
    classes = chroma(notes([pitch], 2.0))
    assert classes.shape == (21, 12)
    assert (classes[1:-2].argmax(1) == pitch % 12).all()
    assert classes[5, pitch % 12] / classes[5].sum() > 0.8


@pytest.mark.parametrize("measure", MEASURES)
def test_a_clip_agrees_with_itself_at_any_gain(measure):
    source = notes(MELODY)
    assert measure(source, source) == pytest.approx(1)
    assert measure(0.05 * source, source) == pytest.approx(1, abs=1e-3)


def test_chroma_depends_on_the_notes_and_not_on_timbre_or_octave():
    source = notes(MELODY)
    assert chroma_correlation(notes(MELODY, harmonics=2), source) > 0.9
    assert chroma_correlation(notes([pitch + 12 for pitch in MELODY]), source) > 0.9
    assert chroma_correlation(notes([pitch + 6 for pitch in MELODY]), source) < 0.1
    assert abs(chroma_correlation(np.random.default_rng(0).normal(size=len(source)), source)) < 0.2


def test_onsets_depend_on_the_rhythm_and_not_on_the_notes():
    source = notes(MELODY)
    assert onset_correlation(notes([pitch + 6 for pitch in MELODY]), source) > 0.9
    assert onset_correlation(np.roll(source, round(0.02 * RATE_HZ)), source) > 0.8
    assert onset_correlation(np.roll(source, round(0.25 * RATE_HZ)), source) < 0.3
    assert abs(onset_correlation(np.random.default_rng(0).normal(size=len(source)), source)) < 0.2


def test_an_envelope_peaks_where_clicks_are():
    clicks = np.zeros(2 * RATE_HZ, dtype=np.float32)
    clicks[[8_000, 20_000]] = 1.0
    envelope = onset_envelope(clicks)
    peaks = [envelope[:90].argmax(), 90 + envelope[90:].argmax()]
    assert peaks == pytest.approx([50, 125], abs=4)


@pytest.mark.parametrize("measure", MEASURES)
def test_a_silent_clip_correlates_with_nothing_and_a_silent_source_has_no_correlation(measure):
    source, silence = notes(MELODY), np.zeros(len(MELODY) * RATE_HZ // 2)
    assert measure(silence, source) == 0
    assert np.isnan(measure(source, silence))


@pytest.mark.parametrize("measure", MEASURES)
def test_clips_that_cannot_be_compared_are_refused(measure):
    with pytest.raises(ValueError, match=r"\(16000,\) arrived; expected clip and source \(n,\) of one length"):
        measure(np.ones(8000), np.ones(16_000))
    with pytest.raises(ValueError, match="NaN or infinite"):
        measure(np.full(16_000, np.nan), np.ones(16_000))


def test_straight_lines_cross_half_way_and_give_the_papers_range():
    assert crossing_point(STRENGTHS, FALLING, RISING) == pytest.approx(0.5)
    spot = sweet_spot(STRENGTHS, FALLING, RISING)
    assert (spot.best, spot.low, spot.high) == pytest.approx((0.5, 0.4, 0.6))


def test_the_crossing_point_lies_between_grid_points_by_a_straight_line():
    assert crossing_point([0, 0.4, 1], [0.9, 0.7, 0.2], [0.1, 0.5, 0.8]) == pytest.approx(0.4 + 0.6 * 0.2 / 0.8)
    assert crossing_point([0, 1], [0.1, 0.1], [0.2, 0.9]) == 0
    assert np.isnan(crossing_point([0, 1], [0.9, 0.8], [0.2, 0.3]))


def test_the_sweet_spot_does_not_depend_on_the_curves_scales():
    spot = sweet_spot(STRENGTHS, 0.2 + 0.6 * FALLING, 0.5 + 0.1 * RISING)
    assert spot == sweet_spot(STRENGTHS, FALLING, RISING)


def test_the_sweet_spot_follows_the_curves():
    late = sweet_spot(STRENGTHS, 1 - STRENGTHS**3, STRENGTHS**3)
    assert late.best == pytest.approx(0.5 ** (1 / 3), abs=0.01) and late.low > 0.6
    wide = sweet_spot(STRENGTHS, 1 - STRENGTHS**4, 1 - (1 - STRENGTHS) ** 4)
    assert wide.high - wide.low > 0.3


def test_where_nothing_is_exchanged_there_is_no_sweet_spot():
    assert np.isnan(balance(FALLING, np.full(11, 0.5))).all()
    for to_source, to_target in [(FALLING, np.full(11, 0.5)), (FALLING, FALLING), (RISING, RISING)]:
        spot = sweet_spot(STRENGTHS, to_source, to_target)
        assert np.isnan([spot.best, spot.low, spot.high]).all()


def curves(noise=0.0, sources=("a", "b", "c"), seeds=(0, 1)):
    rng = np.random.default_rng(0)
    rows = [
        {
            "source": source,
            "seed": seed,
            "strength": s,
            "source_similarity": 1 - s + noise * rng.normal(),
            "target_similarity": s + noise * rng.normal(),
        }
        for source in sources
        for seed in seeds
        for s in STRENGTHS
    ]
    return pd.DataFrame(rows)


def test_landmarks_hold_the_true_values_and_narrow_with_less_noise():
    loud, quiet = landmarks(curves(0.1)), landmarks(curves(0.01))
    truth = pd.Series({"crossing": 0.5, "best": 0.5, "low": 0.4, "high": 0.6})
    assert ((quiet["value"] - truth).abs() < 0.02).all()
    assert loud.loc["crossing", "ci_low"] <= 0.5 <= loud.loc["crossing", "ci_high"]
    assert ((loud["ci_high"] - loud["ci_low"]) > (quiet["ci_high"] - quiet["ci_low"])).all()
    assert (loud["defined"] == 1).all()


def test_landmarks_of_one_source_and_seed_have_no_interval():
    table = landmarks(curves(sources=("a",), seeds=(0,)))
    assert table.loc["crossing", "value"] == pytest.approx(0.5)
    assert table[["ci_low", "ci_high", "defined"]].isna().all(axis=None)


def test_landmarks_depend_on_the_seed_alone():
    table = curves(0.1)
    assert landmarks(table, seed=1).equals(landmarks(table.sample(frac=1, random_state=0), seed=1))
    assert not landmarks(table, seed=1).equals(landmarks(table, seed=2))


def test_landmarks_refuse_a_missing_strength():
    with pytest.raises(ValueError, match="lacks a strength"):
        landmarks(curves().iloc[1:])


def test_a_mean_curve_weighs_sources_alike_and_counts_them():
    table = pd.concat([curves(sources=("a",)), curves(sources=("b",), seeds=range(8)).assign(target_similarity=0.0)])
    curve = mean_curve(table, "target_similarity")
    assert list(curve["value"]) == pytest.approx(list(STRENGTHS / 2))
    assert set(curve["n"]) == {2}


def test_methods_are_compared_where_they_are_as_like_the_source():
    strength = np.linspace(0, 1, 6)
    rows = []
    for method, gain, end in (
        ("noising", 0.0, 0.0),
        ("ddim-inversion", 0.2, 0.5),
    ):  # the second stays nearer to the source
        for source in ("one", "two", "three"):
            likeness = 1 - (1 - end) * strength
            points = pd.DataFrame(
                {"strength": strength, "source_similarity": likeness, "target_similarity": 1 - likeness}
            )
            points["target_similarity"] += gain
            rows.append(points.assign(transfer=method, source=source, seed=0))
    table = at_equal_likeness(pd.concat(rows))
    assert sorted(set(table["source_similarity"].round(3))) == [0.625, 0.75, 0.875] and set(table["n"]) == {3}
    values = table.pivot(index="source_similarity", columns="transfer", values="target_similarity")
    assert np.allclose(values["noising"], 1 - values.index) and np.allclose(
        values["ddim-inversion"], 1.2 - values.index
    )
    bent = pd.DataFrame({"strength": range(5), "source_similarity": [0.9, 0.5, 0.3, 0.5, 0.1]})
    bent = bent.assign(target_similarity=[0.1, 0.3, 0.5, 0.9, 1.0], transfer="x", source="one", seed=0)
    assert at_equal_likeness(bent, 1)["target_similarity"].tolist() == [pytest.approx(0.3)]  # 0.5 is passed three times
    short = pd.concat(rows).query("source != 'three' or source_similarity > 0.7")
    fewer = at_equal_likeness(short).set_index(["transfer", "source_similarity"])["n"]
    assert set(fewer) == {2, 3}
