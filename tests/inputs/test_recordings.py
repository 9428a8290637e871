"""What is learned from a recording: its level, its silence, its scale, and the folder that it is in."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from tmp_utils.inputs.audio import CLIP_S, RATE_HZ, load_clip, loop_to_length, save_clip
from tmp_utils.inputs.concepts import list_concepts, load_clips, load_concept
from tmp_utils.inputs.recordings import at_own_rate, load_recording, recordings_table, sound_files

TONE = (0.3 * np.sin(np.arange(4 * RATE_HZ) / 5)).astype("float32")
SILENCE = np.zeros(11 * RATE_HZ, "float32")


def recording(path, samples, subtype="FLOAT"):
    soundfile.write(path, samples, RATE_HZ, subtype)
    return load_recording(path)


def test_a_plain_recording_is_what_load_clip_reads(tmp_path):
    path = save_clip(tmp_path / "a.wav", TONE)
    assert np.array_equal(load_recording(path).clip, load_clip(path))
    assert load_recording(path).notes == () and load_recording(path).start_s == 0


def test_shipped_clips_are_used_as_they_are():
    concept = load_concept(list_concepts()[0])
    table = recordings_table(concept)
    assert list(table["file"]) == [path.name for path in concept.clips]
    assert not table["done"].any() and not table["start_s"].any() and table["level_lufs"].between(-30, -10).all()


def test_silence_before_the_sound_is_skipped_and_noted(tmp_path):
    late = recording(tmp_path / "a.wav", np.concatenate([SILENCE, TONE]))
    assert late.start_s == 11 and np.array_equal(late.clip, TONE)
    assert late.notes == ("11.00 to 15.00 s are used, since its beginning is silent",)
    longer = recording(tmp_path / "b.wav", np.concatenate([SILENCE, *[TONE] * 5]))
    assert longer.start_s >= 10.95 and len(longer.clip) > 10 * RATE_HZ


def test_a_short_recording_that_is_mostly_silence_loses_its_ends(tmp_path):
    quiet = SILENCE[: 2 * RATE_HZ]
    middle = recording(tmp_path / "a.wav", np.concatenate([quiet, TONE, quiet]))
    assert (middle.start_s, len(middle.clip)) == (2, len(TONE))
    assert "2.00 to 6.00 s are used, since its beginning is silent for 50%" in middle.notes


@pytest.mark.parametrize(
    ("samples", "fault"),
    [
        (np.eye(1, 11 * RATE_HZ, 100)[0], "its loudest part has 0.05 s of sound, where 0.5 s are needed"),
        (3e-4 * np.sin(2 * np.pi * 50 * np.arange(11 * RATE_HZ) / RATE_HZ), "its loudest part is silent"),
        (1e-3 * TONE / 0.3, "its loudest part has a level of -6[0-9].[0-9] LUFS, expected -50 to 0"),
        (
            np.tile(np.concatenate([TONE[: RATE_HZ // 2], SILENCE[:RATE_HZ]]), 8),
            "its loudest part is silent for 6[0-9]%",
        ),
        (SILENCE, "its loudest part is silent"),
    ],
)
def test_a_click_a_hum_and_gaps_are_refused(tmp_path, samples, fault):
    with pytest.raises(ValueError, match=rf"a\.wav: {fault}\. Choose another part of the recording"):
        recording(tmp_path / "a.wav", samples)


def test_a_constant_offset_is_removed(tmp_path):
    shifted = recording(tmp_path / "a.wav", 0.5 * TONE + 0.5)
    assert np.abs(shifted.clip - 0.5 * TONE)[100:-100].max() < 1e-3
    assert shifted.notes == ("a constant offset of 0.500 was removed",)


def test_floats_on_an_integer_scale_are_divided_by_it(tmp_path):
    for bits in (16, 24):
        scaled = recording(tmp_path / "a.wav", TONE * 2 ** (bits - 1))
        assert np.allclose(scaled.clip, TONE, atol=1e-6)
        assert scaled.notes[0].startswith(f"divided by {2 ** (bits - 1)}, since its peak was")


def test_a_recording_over_0_lufs_is_turned_down(tmp_path):
    hot = recording(tmp_path / "a.wav", 20 * TONE)
    assert np.abs(hot.clip).max() == pytest.approx(1) and "turned down by 15.6 dB" in hot.notes[0]


def test_a_hole_of_zeros_is_noted(tmp_path):
    holed = TONE.copy()
    holed[RATE_HZ : RATE_HZ + 4_000] = 0
    (note,) = recording(tmp_path / "a.wav", holed).notes
    assert note == "0.25 s of it are zeros, which may be a hole in the file"


def test_notes_reach_whoever_loads_a_concept(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([TONE, -TONE], axis=1), RATE_HZ)
    concept = load_concept(tmp_path, "bell")
    with pytest.warns(UserWarning, match=r"a\.wav: its channels cancel each other, so only channel 1 is used\."):
        (clip,) = load_clips(concept)
    assert len(clip) == round(CLIP_S * RATE_HZ) and np.abs(clip[: len(TONE) - 100] - TONE[:-100]).max() < 1e-4
    (row,) = recordings_table(concept).to_dict("records")
    assert (row["file"], row["seconds"]) == ("a.wav", 4) and "cancel" in row["done"]


def test_sub_folders_with_sound_are_named(tmp_path):
    (tmp_path / "take1").mkdir()
    save_clip(tmp_path / "take1" / "a.wav", TONE)
    with pytest.raises(ValueError, match=r"no sound files in it; .*; take1 \(folders: move the sound files"):
        sound_files(tmp_path)
    save_clip(tmp_path / "b.wav", TONE)
    with pytest.warns(UserWarning, match=r"left out: take1 \(folders"):
        assert [path.name for path in sound_files(tmp_path)] == ["b.wav"]


def test_files_that_need_ffmpeg_are_taken_or_named(tmp_path, monkeypatch):
    save_clip(tmp_path / "b.wav", TONE)
    for name in ("a.m4a", "c.mp4", ".hidden.m4a", "notes.txt"):
        (tmp_path / name).touch()
    monkeypatch.setattr(shutil, "which", lambda program: f"/usr/bin/{program}")
    assert [path.name for path in sound_files(tmp_path)] == ["a.m4a", "b.wav", "c.mp4"]
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.warns(UserWarning, match=r"left out: a\.m4a, c\.mp4 \(they need ffmpeg"):
        assert [path.name for path in sound_files(tmp_path)] == ["b.wav"]


def test_a_short_clip_is_repeated_without_a_step_and_the_table_says_so(tmp_path):
    chirp = np.sin(2 * np.pi * (200 * np.arange(6.0, step=1 / RATE_HZ) + 3)).astype(np.float32)
    save_clip(tmp_path / "a.wav", 0.3 * chirp * np.linspace(1, 0.5, len(chirp), dtype=np.float32))
    concept = load_concept(tmp_path, "bell")
    (clip,) = load_clips(concept)
    largest_step = 0.3 * 2 * np.pi * 200 / RATE_HZ  # of this sine, between two samples
    assert np.abs(np.diff(clip)).max() < 1.05 * largest_step
    assert np.square(clip[-RATE_HZ:]).mean() > 0.01
    (row,) = recordings_table(concept).to_dict("records")
    assert (row["seconds"], row["done"]) == (6.0, "repeated to fill 10.24 s")
    (row,) = recordings_table(replace(concept, short="silence")).to_dict("records")
    assert (row["seconds"], row["done"]) == (6.0, "4.24 s of silence added, which is learned too")
    flat = np.full(RATE_HZ, 0.5, np.float32)  # never rises through zero
    assert np.array_equal(loop_to_length(flat, 3 * RATE_HZ), np.tile(flat, 3))
    assert np.array_equal(loop_to_length(chirp, 100), chirp[:100])


def test_of_twelve_files_five_are_used_for_everything_and_the_rest_is_named(tmp_path):
    for k in range(12):
        save_clip(tmp_path / f"{k:02d}.wav", (0.5 + 0.02 * k) * TONE)
    with pytest.warns(UserWarning, match=r"5 of them .*: 00.wav, .* 04.wav. Not used: 05.wav, .* 11.wav"):
        concept = load_concept(tmp_path, "bell")
    assert [path.name for path in concept.clips] == [f"{k:02d}.wav" for k in range(5)]
    assert len(load_clips(concept)) == len(recordings_table(concept)) == 5
    (tmp_path / "concept.toml").write_text('how = "spread"')
    with pytest.warns(UserWarning, match=r"00.wav, 02.wav, 05.wav, 08.wav, 11.wav. Not used: 01.wav"):
        load_concept(tmp_path, "bell")
    (tmp_path / "concept.toml").write_text('how = "all"')
    with pytest.raises(ValueError, match=r"concept.toml: how = 'all'; expected 'first' or 'spread'"):
        load_concept(tmp_path, "bell")


def test_spread_takes_parts_from_all_over_long_files_and_each_file_once_before_any_twice(tmp_path):
    rng = np.random.default_rng(0)
    for name, seconds in (("a.wav", 65), ("b.wav", 4), ("c.wav", 22)):
        save_clip(tmp_path / name, 0.1 * rng.normal(size=seconds * RATE_HZ))
    (tmp_path / "concept.toml").write_text('how = "spread"')
    concept = load_concept(tmp_path, "noise")
    table = recordings_table(concept)
    used = list(zip(table["file"], (table["start_s"] / CLIP_S).round().astype(int), strict=True))
    assert used == [("a.wav", 1), ("a.wav", 4), ("b.wav", 0), ("c.wav", 0), ("c.wav", 1)]
    whole = load_clip(tmp_path / "a.wav")
    window = round(CLIP_S * RATE_HZ)
    assert np.array_equal(load_clips(concept)[1], whole[4 * window : 5 * window])
    assert len(load_clips(concept, 2)) == 2
    alone = replace(concept, clips=concept.clips[:1])
    assert list(recordings_table(alone)["start_s"]) == [round(k * CLIP_S, 2) for k in (0, 1, 3, 4, 5)]


def test_the_same_part_is_read_in_stereo_at_another_rate(tmp_path):
    """After 11 s of silence, 20 dB down to full scale, without its offset; the mean of both channels is the clip."""
    rate_hz, t = 44_100, np.arange(4 * 44_100) / 44_100
    sides = np.stack([np.sin(2 * np.pi * 330 * t), 0.5 * np.sin(2 * np.pi * 550 * t)], 1)
    soundfile.write(tmp_path / "a.wav", np.concatenate([np.zeros((11 * rate_hz, 2)), 10 * sides]), rate_hz, "FLOAT")
    found = load_recording(tmp_path / "a.wav")
    left, right = at_own_rate(found, rate_hz, 2)
    assert len(left) == len(right) == round(len(found.clip) / RATE_HZ * rate_hz) and found.gain < 0.2
    assert np.corrcoef(left, sides[: len(left), 0])[0, 1] > 0.999 and np.corrcoef(left, right)[0, 1] < 0.1
    mono = at_own_rate(found, RATE_HZ, 2).mean(0)
    np.testing.assert_allclose(mono[100:-100], found.clip[100:-100], atol=1e-3)


def test_mono_is_on_both_channels_and_channels_that_cancel_are_one(tmp_path):
    soundfile.write(tmp_path / "mono.wav", TONE, RATE_HZ, "FLOAT")
    soundfile.write(tmp_path / "cancels.wav", np.stack([TONE, -TONE], 1), RATE_HZ, "FLOAT")
    for name in ("mono", "cancels"):
        both = at_own_rate(load_recording(tmp_path / f"{name}.wav"), RATE_HZ, 2)
        assert both.shape == (2, len(TONE)) and np.array_equal(both[0], both[1]) and np.array_equal(both[0], TONE)


def test_short_stereo_is_repeated_on_both_channels_alike(tmp_path):
    (tmp_path / "own").mkdir()
    soundfile.write(tmp_path / "own" / "a.wav", np.stack([TONE, TONE / 2], 1), RATE_HZ, "FLOAT")
    (clip,) = load_clips(load_concept(tmp_path / "own"), 1, RATE_HZ, 2)
    assert clip.shape == (2, round(CLIP_S * RATE_HZ)) and np.allclose(clip[0], 2 * clip[1])
    assert np.allclose(clip.mean(0), loop_to_length(0.75 * TONE, clip.shape[1]))
