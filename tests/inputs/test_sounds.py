"""Sound files as people have them: read whole, or refused by name."""

import shutil
import subprocess

import numpy as np
import pytest
import soundfile
from odd_sounds import NOISE, RATE_HZ, TONE, convert, cut, level, wav

from tmp_utils.inputs.sounds import Sound, mix_down, read_sound

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def test_an_unusual_rate_is_noted(tmp_path):
    for rate_hz in (8000, 11025, 22050, 44100, 48000, 192000):
        assert read_sound(wav(tmp_path / "a.wav", rate_hz=rate_hz)).notes == ()
    (note,) = read_sound(wav(tmp_path / "a.wav", rate_hz=44096)).notes
    assert note.startswith("an unusual sampling rate, 44096 Hz")


@pytest.mark.parametrize("rate_hz", [1, 7])
def test_a_rate_that_no_recording_has_is_refused(tmp_path, rate_hz):
    with pytest.raises(ValueError, match=rf"a\.wav: a sampling rate of {rate_hz} Hz; expected 4000"):
        read_sound(wav(tmp_path / "a.wav", rate_hz=rate_hz))


@pytest.mark.parametrize(
    "kind", [{"format": "RF64"}, {"format": "W64"}, {"format": "AIFF"}, {"format": "FLAC"}, {"format": "MP3"}]
)
def test_a_file_that_lacks_some_of_the_part_is_refused_with_both_lengths(tmp_path, kind):
    soundfile.write(tmp_path / "a.wav", NOISE, RATE_HZ, **kind)
    assert len(read_sound(tmp_path / "a.wav").frames) == len(NOISE)
    with pytest.raises(ValueError, match=r"a\.wav: (cut short; it holds 1\.[0-9]+ s of the 3\.00 s|not readable)"):
        read_sound(cut(tmp_path / "a.wav", 0.5), duration_s=10)


def test_a_wav_that_lacks_a_hundredth_of_a_second_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.wav: cut short; it holds 2\.99 s of the 3\.00 s"):
        read_sound(cut(wav(tmp_path / "a.wav"), 0.9966))


def test_a_part_before_the_cut_is_read_and_the_cut_is_noted(tmp_path):
    path = cut(wav(tmp_path / "a.wav"), 0.5)
    sound = read_sound(path, duration_s=1)
    assert len(sound.frames) == RATE_HZ
    assert sound.notes == ("cut short; it holds 1.50 s of the 3.00 s its header promises, but the part used is whole",)


@needs_ffmpeg
def test_an_mp3_that_does_not_give_its_length_is_read_to_its_end(tmp_path):
    wav(tmp_path / "a.wav", np.concatenate([NOISE, np.zeros(9 * RATE_HZ, "float32"), NOISE]))
    convert(tmp_path / "a.wav", tmp_path / "a.mp3", "-q:a", "0", "-write_xing", "0")
    with soundfile.SoundFile(tmp_path / "a.mp3") as file:
        assert file.frames < 14 * RATE_HZ  # libsndfile's guess, from the first frames
    sound = read_sound(tmp_path / "a.mp3", duration_s=20)
    assert sound.duration_s == pytest.approx(15, abs=0.15)
    assert level(sound.frames[-2 * RATE_HZ : -RATE_HZ]) == pytest.approx(level(NOISE), rel=0.1)
    assert sound.notes == (f"its header does not give its length; {sound.duration_s:.2f} s were read",)


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.m4a", ()),
        ("a.wav", ("-c:a", "aac", "-f", "mp4")),
        ("a.aac", ()),
        ("a.webm", ("-c:a", "libopus")),
        ("a.mp3", ("-c:a", "aac", "-f", "mp4")),
        ("-f.mka", ("-c:a", "flac", "-f", "matroska")),
    ],
)
def test_phones_recordings_are_read_whatever_their_name(tmp_path, name, options):
    (tmp_path / "in").mkdir()
    convert(wav(tmp_path / "in" / "x.wav", TONE), tmp_path / name, *options)
    sound = read_sound(tmp_path / name, duration_s=10)
    assert sound.duration_s == pytest.approx(3, abs=0.2)
    assert level(sound.frames[RATE_HZ:-RATE_HZ]) == pytest.approx(level(TONE), rel=0.05)


@needs_ffmpeg
@pytest.mark.parametrize("kind", ["flac", "aiff", "w64", "caf", "mp3", "ogg", "adts", "matroska", "wav"])
def test_what_a_pipe_writes_without_knowing_its_length_is_whole(tmp_path, kind):
    command = ["ffmpeg", "-v", "error", "-i", wav(tmp_path / "x.wav"), "-f", kind, "-"]
    (tmp_path / "a.bin").write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    assert read_sound(tmp_path / "a.bin", duration_s=10).duration_s == pytest.approx(3, abs=0.15)


@needs_ffmpeg
def test_a_cut_m4a_is_refused_with_both_lengths(tmp_path):
    convert(wav(tmp_path / "x.wav"), tmp_path / "a.m4a", "-movflags", "faststart")
    with pytest.raises(ValueError, match=r"a\.m4a: cut short; it holds 1\..* s of the 3\.00 s"):
        read_sound(cut(tmp_path / "a.m4a", 0.6), duration_s=10)


@needs_ffmpeg
def test_a_playlist_that_names_other_files_is_not_followed(tmp_path):
    wav(tmp_path / "secret.wav")
    (tmp_path / "a.mp3").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{tmp_path / 'secret.wav'}\n")
    with pytest.raises(ValueError, match=r"a\.mp3: not readable as sound"):
        read_sound(tmp_path / "a.mp3")


def test_without_ffmpeg_the_error_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: None)
    (tmp_path / "a.m4a").write_bytes(bytes(4) + b"ftypM4A " + bytes(100))
    with pytest.raises(ValueError, match=r"a\.m4a: not readable as sound without ffmpeg, which is not installed"):
        read_sound(tmp_path / "a.m4a")


def test_links_folders_and_names_are_refused_by_name(tmp_path):
    (tmp_path / "gone.wav").symlink_to("/nowhere/at_all.wav")
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    (tmp_path / "folder.wav").mkdir()
    for name, message in (
        ("gone.wav", r"gone\.wav: a link to /nowhere/at_all\.wav, which leads nowhere"),
        ("loop.wav", r"loop\.wav: a link to loop\.wav, which leads nowhere"),
        ("folder.wav", r"folder\.wav: a folder, not a file"),
        ("Caf\udc82.wav", r"Caf\\x82\.wav: its name, or its folder's, is not in UTF-8"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            read_sound(tmp_path / name)


def test_channels_are_averaged_unless_they_cancel():
    stereo = np.stack([NOISE, TONE], axis=1)
    mono, notes = mix_down(Sound(stereo, RATE_HZ))
    assert np.array_equal(mono, stereo.mean(axis=1, dtype=np.float32)) and notes == ()
    hiss = np.random.default_rng(1).normal(0, 1e-3, (len(NOISE), 2)).astype("float32")
    mono, notes = mix_down(Sound(np.stack([NOISE, -0.97 * NOISE], axis=1) + hiss, RATE_HZ))
    assert np.abs(mono - NOISE).max() < 0.01
    assert notes == ("its channels cancel each other, so only channel 1 is used",)
    silent_right, notes = mix_down(Sound(np.stack([NOISE, 0 * NOISE], axis=1), RATE_HZ))
    assert np.allclose(silent_right, NOISE / 2) and notes == ()


def test_the_subwoofer_is_left_out_of_a_5_1_mix(tmp_path):
    channels = np.stack([NOISE, NOISE, NOISE, TONE, NOISE, NOISE], axis=1)
    soundfile.write(tmp_path / "a.wav", channels, RATE_HZ, "PCM_24", format="WAVEX")
    sound = read_sound(tmp_path / "a.wav")
    mono, notes = mix_down(sound)
    assert sound.lfe == 3 and notes == ("mixed without its subwoofer channel",)
    assert np.abs(mono - NOISE).max() < 1e-4
