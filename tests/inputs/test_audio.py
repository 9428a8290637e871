"""Sound files, AudioLDM's log-mel, mixing and loudness."""

import struct

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch
from transformers.audio_utils import mel_filter_bank

from tmp_utils.inputs.audio import (
    CLIP_FRAMES,
    CLIP_S,
    HOP,
    MEL_FLOOR,
    N_FFT,
    RATE_HZ,
    fit_length,
    load_clip,
    log_mel,
    loudness_lufs,
    match_loudness,
    mel_filters,
    mix_at_snr,
    overs_counted,
    save_clip,
)


def sine(hz, duration_s, rate_hz=RATE_HZ, amplitude=0.5):
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(duration_s * rate_hz)) / rate_hz)).astype("float32")


def test_a_clip_survives_saving_and_loading_to_half_a_step_of_16_bits(tmp_path):
    clip = np.random.default_rng(0).uniform(-0.9, 0.9, RATE_HZ).astype("float32")
    for suffix in (".wav", ".flac"):
        again = load_clip(save_clip(tmp_path / f"clip{suffix}", clip))
        assert again.dtype == np.float32
        assert np.abs(again - clip).max() <= 1 / 2**15


def test_an_ogg_keeps_the_length_and_almost_the_sound(tmp_path):
    clip = sine(440, 20)
    again = load_clip(save_clip(tmp_path / "clip.ogg", clip))
    assert len(again) == len(clip)
    assert np.corrcoef(again, clip)[0, 1] > 0.999


def test_the_same_clip_gives_the_same_ogg_with_the_samples_that_the_encoder_gives(tmp_path):
    clip = sine(440, 2)
    once, again = (save_clip(tmp_path / f"{name}.ogg", clip) for name in ("once", "again"))
    soundfile.write(tmp_path / "encoder.ogg", clip, RATE_HZ, format="OGG", subtype="VORBIS")
    assert once.read_bytes() == again.read_bytes() != (tmp_path / "encoder.ogg").read_bytes()
    np.testing.assert_array_equal(load_clip(once), load_clip(tmp_path / "encoder.ogg"))  # checksums fit, too


def test_96_khz_24_bit_stereo_becomes_the_mean_of_its_channels_at_16_khz(tmp_path):
    left, right = sine(440, 1, 96_000, 0.6), sine(1000, 1, 96_000, 0.2)
    soundfile.write(tmp_path / "hi.wav", np.stack([left, right], axis=1), 96_000, subtype="PCM_24")
    clip = load_clip(tmp_path / "hi.wav")
    expected = (sine(440, 1, amplitude=0.6) + sine(1000, 1, amplitude=0.2)) / 2
    assert clip.shape == (RATE_HZ,)
    assert np.abs(clip - expected)[500:-500].max() < 2e-3


def test_the_right_channel_is_heard_too(tmp_path):
    tone = sine(440, 1)
    soundfile.write(tmp_path / "right.wav", np.stack([0 * tone, tone], axis=1), RATE_HZ)
    assert np.abs(load_clip(tmp_path / "right.wav")).max() == pytest.approx(0.25, abs=1e-3)


def test_resampling_keeps_what_fits_and_removes_what_would_alias(tmp_path):
    soundfile.write(tmp_path / "high.wav", sine(440, 2, 44_100) + sine(12_000, 2, 44_100, 0.4), 44_100)
    clip = load_clip(tmp_path / "high.wav")
    power = np.abs(np.fft.rfft(clip * np.hanning(len(clip)))) ** 2
    hz = np.fft.rfftfreq(len(clip), 1 / RATE_HZ)
    assert power[np.abs(hz - 4000) < 50].max() < 1e-8 * power[np.abs(hz - 440) < 50].max()


def test_a_name_with_spaces_and_accents_is_read_and_written(tmp_path):
    folder = tmp_path / "Été à Rome"
    folder.mkdir()
    path = save_clip(folder / "prise nº 1 – ñandú.wav", sine(440, 1))
    assert len(load_clip(path)) == RATE_HZ
    assert [p.name for p in folder.iterdir()] == [path.name]


def test_one_hour_of_audio_costs_only_the_part_that_is_asked_for(tmp_path, monkeypatch):
    path = tmp_path / "hour.wav"
    with soundfile.SoundFile(path, "w", 8_000, 1, "PCM_16") as sound:
        for minute in range(60):
            sound.write(np.full(8_000 * 60, minute / 100 + 0.01))
    frames_read, read = [], soundfile.SoundFile.read

    def counted(self, frames=-1, *args, **kwargs):
        frames_read.append(frames)
        return read(self, frames, *args, **kwargs)

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    clip = load_clip(path, start_s=30 * 60 + 5, duration_s=2)
    assert frames_read == [16_000]
    assert len(clip) == 2 * RATE_HZ
    assert np.median(clip) == pytest.approx(0.31, abs=1e-3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"these are not sounds\n" * 50, "not readable as sound"),
        (b"", "empty, 0 bytes"),
        (b"RIFF" + struct.pack("<I", 64_036) + b"WAVEfmt \x10\0\0\0", "cut short before its samples begin"),
    ],
)
def test_what_is_no_sound_is_refused(tmp_path, content, message):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.wav: {message}"):
        load_clip(tmp_path / "a.wav")
    with pytest.raises(FileNotFoundError, match=r"nothing\.wav: no such file"):
        load_clip(tmp_path / "nothing.wav")


@pytest.mark.parametrize("kept_bytes", [20_044, 44 + 31_000])
def test_a_truncated_wav_is_refused_with_what_it_still_holds(tmp_path, kept_bytes):
    path = save_clip(tmp_path / "cut.wav", sine(440, 2))
    path.write_bytes(path.read_bytes()[:kept_bytes])
    held_s = (kept_bytes - 44) / 2 / RATE_HZ
    with pytest.raises(ValueError, match=rf"cut\.wav: cut short; it holds {held_s:.2f} s of the 2\.00 s"):
        load_clip(path)


def test_a_truncated_flac_is_refused(tmp_path):
    path = save_clip(tmp_path / "cut.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 5 * RATE_HZ))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"cut\.flac: (cut short|not readable)"):
        load_clip(path)


def test_a_wav_written_to_a_pipe_does_not_count_as_truncated(tmp_path):
    path = save_clip(tmp_path / "pipe.wav", sine(440, 1))
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", 0xFFFFFFFF)
    path.write_bytes(data)
    assert len(load_clip(path)) == RATE_HZ


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.where(np.arange(RATE_HZ) // 3 == 50, np.nan, sine(440, 1)), "3 of 16000 samples are NaN"),
        (np.zeros(RATE_HZ), "silent"),
        (sine(440, 0.2), r"0\.20 s is too short to learn from; .* at least 0\.5 s"),
    ],
)
def test_a_sound_that_nothing_can_be_learned_from_is_refused(tmp_path, samples, message):
    soundfile.write(tmp_path / "a.wav", samples, RATE_HZ, subtype="FLOAT")
    with pytest.raises(ValueError, match=rf"a\.wav: {message}"):
        load_clip(tmp_path / "a.wav")


def test_starting_after_the_end_is_refused_with_the_end(tmp_path):
    path = save_clip(tmp_path / "short.wav", sine(440, 2))
    with pytest.raises(ValueError, match=r"start_s=5 is past its end at 2\.00 s"):
        load_clip(path, start_s=5)


def test_saving_leaves_nothing_behind_when_the_disk_refuses(tmp_path, monkeypatch):
    def full(self, block):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(soundfile.SoundFile, "write", full)
    with pytest.raises(OSError, match="No space left"):
        save_clip(tmp_path / "clip.wav", sine(440, 1))
    assert list(tmp_path.iterdir()) == []


def test_saving_refuses_nan_and_unknown_formats(tmp_path):
    with pytest.raises(ValueError, match="finite clip"):
        save_clip(tmp_path / "clip.wav", np.array([0.1, np.nan]))
    with pytest.raises(ValueError, match=r"cannot write \.aac; use one of \.wav, \.flac, \.ogg"):
        save_clip(tmp_path / "clip.aac", sine(440, 1))


def test_a_clip_over_full_scale_is_turned_down_with_a_warning_and_not_clipped(tmp_path):
    with pytest.warns(UserWarning, match=r"peak 2\.00 is over full scale; saved 6\.0 dB lower"):
        path = save_clip(tmp_path / "loud.wav", sine(440, 1, amplitude=2))
    assert np.abs(load_clip(path) - sine(440, 1, amplitude=1)).max() < 2e-4


def test_clips_over_full_scale_are_counted_in_one_line_by_the_outermost_block(tmp_path, recwarn):
    told = []
    with overs_counted(told.append):
        for amplitude in (0.5, 2, 4):
            with overs_counted(told.append):
                save_clip(tmp_path / "a.wav", sine(440, 1, amplitude=amplitude))
    assert told == ["2 of 3 clips were over full scale; saved up to 12.0 dB lower."] and not recwarn
    with overs_counted(told.append):
        save_clip(tmp_path / "a.wav", sine(440, 1, amplitude=0.5))
    assert len(told) == 1


def test_fit_length_crops_from_the_offset_and_pads_with_zeros():
    assert fit_length(np.arange(5), 3, offset=1).tolist() == [1, 2, 3]
    assert fit_length(np.arange(1, 4), 5).tolist() == [1, 2, 3, 0, 0]
    assert fit_length(np.arange(3), 2, offset=9).tolist() == [0, 0]


def test_a_clip_of_10_24_s_is_1024_frames_of_64_mels_for_any_batch():
    mel = log_mel(torch.zeros(2, 3, round(CLIP_S * RATE_HZ)))
    assert mel.shape == (2, 3, CLIP_FRAMES, 64)
    assert torch.all(mel == np.log(np.float32(MEL_FLOOR)))


def test_the_mel_filters_are_slaneys():
    # Slaney's Auditory Toolbox (1998): 3 mels per 200 Hz up to 1 kHz, then 27 mels to 6.4 kHz; triangles of equal area
    step = np.log(6.4) / 27
    mels = np.linspace(0, 15 + np.log(8) / step, 66)
    low, centre, high = (
        np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * step))[k : k + 64] for k in range(3)
    )
    hz = np.linspace(0, RATE_HZ / 2, N_FFT // 2 + 1)[:, None]
    triangles = np.minimum((hz - low) / (centre - low), (high - hz) / (high - centre)).clip(0) * 2 / (high - low)
    assert np.abs(mel_filters() - triangles.T).max() < 1e-7


def test_log_mel_agrees_with_a_plain_computation_frame_by_frame():
    clip = np.random.default_rng(0).normal(0, 0.1, 8_000)
    padded = np.pad(clip, (N_FFT - HOP) // 2, mode="reflect")
    window = scipy.signal.get_window("hann", N_FFT)
    starts = range(0, len(padded) - N_FFT + 1, HOP)
    magnitudes = np.array([np.abs(np.fft.rfft(window * padded[s : s + N_FFT])) for s in starts])
    filters = mel_filter_bank(N_FFT // 2 + 1, 64, 0, 8000, RATE_HZ, norm="slaney", mel_scale="slaney")
    expected = np.log(np.maximum(magnitudes @ filters, 1e-5))
    ours = log_mel(torch.tensor(clip)).numpy()
    assert ours.shape == expected.shape == (50, 64)
    assert np.abs(ours - expected).max() < 1e-5


def test_doubling_the_amplitude_adds_log_2_to_the_mel():
    clip = torch.randn(16_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(log_mel(2 * clip), log_mel(clip) + np.log(2), atol=1e-6)


def test_a_tone_peaks_in_the_mel_bin_whose_filter_holds_it():
    mel = log_mel(torch.tensor(sine(1000, 1)))
    assert int(mel[50].argmax()) == int(mel_filters()[:, round(1000 / RATE_HZ * N_FFT)].argmax())


def test_mixing_reaches_the_asked_ratio_and_leaves_the_signal_alone():
    rng = np.random.default_rng(0)
    signal, noise = rng.normal(size=8_000).astype("float32"), 7 * rng.normal(size=3_000).astype("float32")
    for snr_db in (-5, 0, 20):
        added = mix_at_snr(signal, noise, snr_db) - signal
        assert 10 * np.log10(np.mean(signal**2) / np.mean(added**2)) == pytest.approx(snr_db, abs=1e-3)


def test_a_silent_background_cannot_be_mixed():
    with pytest.raises(ValueError, match="background is silent"):
        mix_at_snr(sine(440, 1), np.zeros(100), 20)


def test_loudness_of_a_full_scale_1_khz_sine_is_the_standards_minus_3():
    # BS.1770-4: a 0 dBFS 997 Hz sine in one channel reads -3.01 LKFS (at its own rate, 48 kHz)
    assert loudness_lufs(sine(997, 5, 48_000, 1.0), 48_000) == pytest.approx(-3.01, abs=0.05)


def test_loudness_of_silence_and_of_a_blip_is_undefined():
    assert np.isnan(loudness_lufs(np.zeros(RATE_HZ, "float32")))
    assert np.isnan(loudness_lufs(sine(440, 0.3)))


def test_match_loudness_reaches_the_level_and_refuses_silence():
    clip = np.random.default_rng(0).normal(0, 0.05, 3 * RATE_HZ).astype("float32")
    assert loudness_lufs(match_loudness(clip, -23.0)) == pytest.approx(-23.0, abs=0.01)
    with pytest.raises(ValueError, match="has no loudness"):
        match_loudness(np.zeros(RATE_HZ), -23.0)
