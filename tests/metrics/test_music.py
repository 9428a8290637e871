"""Tempo, loudness, key and scale, against sounds whose values are known."""

import sys

import numpy as np
import pytest

from tmp_utils.metrics import music

RATE_HZ = 16000


def seconds(duration_s=10.0, rate_hz=RATE_HZ):
    return np.arange(int(duration_s * rate_hz)) / rate_hz


def click_track(bpm, duration_s=10.0):
    """Return short decaying clicks at a steady tempo."""
    time_s = seconds(duration_s)
    since_click_s = time_s % (60 / bpm)
    return (np.sin(2 * np.pi * 1000 * since_click_s) * np.exp(-since_click_s / 0.02)).astype(np.float32)


def chord(*frequencies_hz):
    return (0.1 * sum(np.sin(2 * np.pi * f * seconds()) for f in frequencies_hz)).astype(np.float32)


@pytest.mark.parametrize("bpm", [90, 120, 140])
def test_a_click_track_reads_its_own_tempo_at_16_khz(bpm):
    pytest.importorskip("essentia")
    assert music.tempo_bpm(click_track(bpm), RATE_HZ) == pytest.approx(bpm, abs=1.0)


@pytest.mark.parametrize(
    ("frequencies_hz", "key", "scale"),
    [
        ((261.63, 329.63, 392.00), "C", "major"),
        ((440.00, 523.25, 659.26), "A", "minor"),
        ((277.18, 349.23, 415.30), "C#", "major"),
        ((311.13, 369.99, 466.16), "Eb", "minor"),
    ],
)
def test_a_triad_of_sines_reads_its_own_key_and_scale(frequencies_hz, key, scale):
    pytest.importorskip("essentia")
    heard_key, heard_scale, strength = music.key_and_scale(chord(*frequencies_hz), RATE_HZ)
    assert (heard_key, heard_scale) == (key, scale)
    assert strength > music.MIN_KEY_STRENGTH


@pytest.mark.parametrize("amplitude", [1.0, 0.1, 0.01])
def test_a_997_hz_sine_reads_its_closed_form_loudness(amplitude):
    # ITU-R BS.1770: a full-scale 997 Hz sine in one channel reads -3.01 LKFS.
    pytest.importorskip("essentia")
    tone = (amplitude * np.sin(2 * np.pi * 997 * seconds())).astype(np.float32)
    assert music.level_lufs(tone, RATE_HZ) == pytest.approx(-3.01 + 20 * np.log10(amplitude), abs=0.02)


@pytest.mark.parametrize("rate_hz", [16000, 44100, 48000])
def test_essentia_and_pyloudnorm_agree_within_a_tenth_of_a_lu(rate_hz):
    pytest.importorskip("essentia")
    pyloudnorm = pytest.importorskip("pyloudnorm")
    rng = np.random.default_rng(0)
    swell = 0.2 + 0.8 * np.sin(np.pi * seconds(10.0, rate_hz) / 10) ** 2
    clip = (0.1 * swell * np.sin(2 * np.pi * 440 * seconds(10.0, rate_hz))).astype(np.float32)
    clip += (0.01 * rng.normal(size=len(clip))).astype(np.float32)
    expected = pyloudnorm.Meter(rate_hz).integrated_loudness(clip)
    assert music.level_lufs(clip, rate_hz) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("clip", [np.zeros(RATE_HZ * 10, np.float32), chord(440)[: RATE_HZ // 2], np.zeros(0)])
def test_silence_and_clips_under_a_second_are_undefined(clip):
    assert np.isnan(music.tempo_bpm(clip, RATE_HZ))
    assert np.isnan(music.level_lufs(clip, RATE_HZ))
    assert music.key_and_scale(clip, RATE_HZ) == (None, None, 0.0)


def test_a_clip_under_the_absolute_gate_has_no_level():
    pytest.importorskip("essentia")
    tones = [10 ** (level_db / 20) * np.sin(2 * np.pi * 997 * seconds()) for level_db in (-60, -75)]
    levels = [music.level_lufs(tone, RATE_HZ) for tone in tones]
    assert levels[0] == pytest.approx(-63.01, abs=0.02) and np.isnan(levels[1])


def test_a_key_of_low_strength_is_undefined_and_its_strength_is_given(monkeypatch):
    pytest.importorskip("essentia")
    c_major = chord(261.63, 329.63, 392.00)
    strength = music.key_and_scale(c_major, RATE_HZ)[2]
    monkeypatch.setattr(music, "MIN_KEY_STRENGTH", strength + 0.01)
    assert music.key_and_scale(c_major, RATE_HZ) == (None, None, strength)


def test_nan_samples_and_two_channels_are_refused():
    with pytest.raises(ValueError, match="NaN or infinite"):
        music.tempo_bpm(np.full(RATE_HZ * 2, np.nan), RATE_HZ)
    with pytest.raises(ValueError, match="one channel"):
        music.level_lufs(np.zeros((RATE_HZ * 2, 2)), RATE_HZ)


def test_without_essentia_the_error_says_where_there_are_wheels(monkeypatch):
    monkeypatch.setitem(sys.modules, "essentia", None)
    with pytest.raises(ImportError, match="none for Windows or Linux on Arm"):
        music.tempo_bpm(click_track(120, 2.0), RATE_HZ)


def test_the_strict_tempo_rule_ends_at_5_bpm():
    assert music.tempo_agrees(125.0, 120.0)
    assert not music.tempo_agrees(125.1, 120.0)
    assert not music.tempo_agrees(float("nan"), 120.0)


def test_the_octave_rule_takes_halves_thirds_and_multiples_within_4_percent():
    accepted = [161, 80.5, 53.7, 322, 483, 161 * 1.04]
    refused = [107.7, 161 * 1.05, 120, float("nan")]
    assert all(music.tempo_agrees_by_octave(bpm, 161.0) for bpm in accepted)
    assert not any(music.tempo_agrees_by_octave(bpm, 161.0) for bpm in refused)


def test_a_drum_loop_read_at_half_its_tempo_agrees_by_octave_only():
    pytest.importorskip("essentia")
    target = music.MusicTarget.of(music.read_music([click_track(140)], RATE_HZ))
    readings = music.read_music([click_track(70)], RATE_HZ)
    if music.tempo_agrees(readings["tempo_bpm"][0], target.tempo_bpm):
        pytest.fail("70 BPM clicks were read as 140 BPM; choose another example of an octave error")
    row = music.agreement(readings, target, harmony=False).iloc[0]
    assert (row["tempo_agreement"], row["tempo_octave_agreement"]) == (0.0, 1.0)


def readings(tempos, levels, keys, scales, strengths=None):
    import pandas as pd

    strengths = strengths or [0.8] * len(tempos)
    columns = {
        "tempo_bpm": tempos,
        "level_lufs": levels,
        "key": keys,
        "scale": scales,
        "key_strength": strengths,
    }
    return pd.DataFrame(columns)


def test_the_target_is_the_mean_tempo_and_level_and_the_most_common_key_and_scale():
    target = music.MusicTarget.of(
        readings([100, 110, np.nan], [-20, -22, -24], ["C", "C", "G"], ["major", "minor", "minor"])
    )
    assert (target.tempo_bpm, target.level_lufs, target.key, target.scale) == (105, -22, "C", "minor")


def test_of_equally_common_keys_the_strongest_is_the_target():
    target = music.MusicTarget.of(readings([1, 1], [-20, -20], ["C", "G"], ["major", "major"], [0.5, 0.9]))
    assert target.key == "G"


def test_agreement_counts_an_undefined_reading_as_disagreeing_and_an_undefined_target_as_nothing():
    target = music.MusicTarget(100.0, 100.0, -20.0, None, None)
    generated = readings([104, np.nan], [-22.5, -22.6], ["C", None], ["major", None])
    table = music.agreement(generated, target)
    assert table["tempo_agreement"].tolist() == [1.0, 0.0]
    assert table["level_agreement"].tolist() == [1.0, 0.0]
    assert table[["key_agreement", "scale_agreement"]].isna().all().all()


def test_concepts_without_a_beat_or_harmony_have_no_such_columns():
    target = music.MusicTarget(100.0, 100.0, -20.0, "C", "major")
    generated = readings([100], [-20], ["C"], ["major"])
    assert list(music.agreement(generated, target, tempo=False, harmony=False)) == ["level_agreement"]
