"""Headers that promise more or less than the file holds: read whole, or refused by name."""

import struct

import numpy as np
import pytest
import soundfile
from odd_sounds import NOISE, RATE_HZ, TONE, cut, wav

from tmp_utils.inputs.sounds import read_sound


@pytest.mark.parametrize("data_bytes", [0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_wav_from_a_pipe_is_whole(tmp_path, data_bytes):
    sound = read_sound(wav(tmp_path / "a.wav", data_bytes=data_bytes))
    assert len(sound.frames) == len(NOISE) and sound.notes == ()


@pytest.mark.parametrize("data_bytes", [0, 2**64 - 1])
def test_an_rf64_from_a_pipe_is_whole(tmp_path, data_bytes):
    soundfile.write(tmp_path / "a.wav", NOISE, RATE_HZ, "PCM_16", format="RF64")
    data = bytearray((tmp_path / "a.wav").read_bytes())
    assert data[:4] == b"RF64"
    place = data.index(b"ds64")
    data[place + 16 : place + 24] = data_bytes.to_bytes(8, "little")
    (tmp_path / "a.wav").write_bytes(data)
    assert len(read_sound(tmp_path / "a.wav").frames) == len(NOISE)


@pytest.mark.parametrize("excess", [16, 44])
def test_a_wav_that_counts_its_header_as_sound_is_whole(tmp_path, excess):
    assert len(read_sound(wav(tmp_path / "a.wav", data_bytes=2 * len(NOISE) + excess)).frames) == len(NOISE)


@pytest.mark.parametrize("data_bytes", [0, 2 * RATE_HZ])
def test_a_wav_whose_sound_goes_on_after_its_promised_end_is_read_to_its_end(tmp_path, data_bytes):
    sound = read_sound(wav(tmp_path / "a.wav", data_bytes=data_bytes))
    assert np.abs(sound.frames[:, 0] - NOISE).max() < 1e-4
    assert sound.notes == (
        f"its header promises {data_bytes} bytes of sound; all {2 * len(NOISE)} in the file are read",
    )


@pytest.mark.parametrize(
    "after", [b"LIST\x08\0\0\0INFOabcd" + b"note\x50\0\0\0" + bytes(80), bytes(3000), b"TAG" + b"x" * 125]
)
def test_what_follows_the_samples_is_no_sound_if_it_is_chunks_zeros_or_a_tag(tmp_path, after):
    sound = read_sound(wav(tmp_path / "a.wav", after=after))
    assert len(sound.frames) == len(NOISE) and sound.notes == ()


def test_an_odd_chunk_without_its_pad_byte_is_forgiven(tmp_path):
    path = wav(tmp_path / "a.wav", before=b"LIST" + struct.pack("<I", 5) + b"INFO1")
    assert np.abs(read_sound(path).frames[:, 0] - NOISE).max() < 1e-4


def test_a_header_that_contradicts_itself_is_noted(tmp_path):
    (note,) = read_sound(wav(tmp_path / "a.wav", bytes_per_s=2 * 44_100)).notes
    assert "contradicts itself (16000 Hz, 1 x 16 bits, 2 bytes a frame, 88200 bytes a second)" in note
    assert read_sound(wav(tmp_path / "a.wav", bytes_per_s=0)).notes == ()


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.95])
@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_without_its_last_page_is_refused(tmp_path, share, subtype):
    soundfile.write(tmp_path / "a.ogg", NOISE, RATE_HZ, subtype)
    assert len(read_sound(tmp_path / "a.ogg").frames) == len(NOISE)
    with pytest.raises(ValueError, match=r"a\.ogg: (cut short; it holds .* s, and its end is missing|not readable)"):
        read_sound(cut(tmp_path / "a.ogg", share), duration_s=10)


def test_an_ogg_with_a_damaged_page_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.ogg", NOISE, RATE_HZ)
    data = bytearray((tmp_path / "a.ogg").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "a.ogg").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.ogg: damaged; a page .* fails its checksum"):
        read_sound(tmp_path / "a.ogg")


def test_chained_oggs_are_joined_and_noted(tmp_path):
    for name, samples in (("a.ogg", NOISE), ("b.ogg", TONE)):
        soundfile.write(tmp_path / name, samples, RATE_HZ)
    (tmp_path / "both.ogg").write_bytes((tmp_path / "a.ogg").read_bytes() + (tmp_path / "b.ogg").read_bytes())
    sound = read_sound(tmp_path / "both.ogg")
    assert sound.notes == ("2 streams, one after the other, were joined",)
    assert np.corrcoef(sound.frames[:, 0], np.concatenate([NOISE, TONE]))[0, 1] > 0.9


def test_a_flac_whose_samples_fail_its_checksum_is_noted(tmp_path):
    soundfile.write(tmp_path / "a.flac", NOISE, RATE_HZ, "PCM_24")
    assert read_sound(tmp_path / "a.flac").notes == ()
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[30] ^= 1  # of the checksum itself
    (tmp_path / "a.flac").write_bytes(data)
    assert read_sound(tmp_path / "a.flac").notes == (
        "its samples fail the checksum in its header, so it may be damaged",
    )
