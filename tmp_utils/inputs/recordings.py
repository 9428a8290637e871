"""Recordings to learn from: a folder's files, and the part of each that is used.

Conventions: a recording is used from its start, for `CLIP_S` at most; with `how = "spread"` a folder's long ones give
several parts, so that they come from everywhere in them. The part must have an integrated loudness in
`LEVELS_LUFS`, and less than a fifth of it may be silent. Otherwise the loudest part of the first ten minutes is taken,
without silence at its ends. What was done to a file is noted.

sound_files      : folder -> its sound files; a warning names those left out.
chosen_files     : the files of a folder that are used; a warning names the rest.
load_recording   : file -> Recording, or an error that names the file, the fault and the remedy.
load_recordings  : Concept -> the recordings that are learned from and compared with.
at_own_rate      : Recording -> the same part at another rate, in stereo where the file is.
recordings_table : Concept -> file, seconds used, level, and what was done to it.
"""

import shutil
import warnings
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tmp_utils.inputs.audio import CLIP_S, MIN_CLIP_S, RATE_HZ, fit_length, loudness_lufs, refuse_unusable, resampled
from tmp_utils.inputs.containers import label
from tmp_utils.inputs.sounds import LIBSNDFILE_SUFFIXES, SUFFIXES, Sound, mix_down, read_sound, refuse_irregular

if TYPE_CHECKING:
    import pandas as pd

    from tmp_utils.inputs.concepts import Concept

N_CLIPS = 5  # of a folder: as many as the paper has of a concept
LEVELS_LUFS = (-50.0, 0.0)
MAX_SILENT = 0.2  # of a clip
NOTED_SILENCE_S = 0.5  # added to a short clip; the shipped ones of ten seconds get 0.24 s
SILENCE_DB = -70.0  # of full scale, as the absolute gate of ITU-R BS.1770-4
SILENCE_BELOW_LEVEL_DB = 40  # quieter blocks than this below the clip's level count as silent too
HOP_S = 0.05  # silence is measured in blocks of this
SEARCH_S = 600.0
OFFSET = 0.25  # of the sound's RMS; a synthesizer's asymmetric waves reach 0.2
OTHER_SCALE_PEAK = 32.0  # 30 dB over full scale: whole numbers that were stored as floats
INTEGER_SCALES = (2**15, 2**23, 2**31)


@dataclass(frozen=True)
class Recording:
    """The part of a file that is learned from.

    Attributes
    ----------
    path : the file.
    clip : float32 (n,) at 16 kHz, `CLIP_S` at most.
    start_s : where in the file it begins.
    level_lufs : its integrated loudness.
    gain, centred : what the file's samples were multiplied with, and whether their mean was taken off first.
    notes : what was done to it beyond averaging channels and resampling.
    """

    path: Path
    clip: np.ndarray
    start_s: float
    level_lufs: float
    notes: tuple[str, ...]
    gain: float = 1.0
    centred: bool = False


def sound_files(folder: Path) -> tuple[Path, ...]:
    """The sound files of a folder, sorted by name. Warns of sub-folders with sound, and of files that need ffmpeg.

    Raises
    ------
    ValueError, FileNotFoundError : no sound file, or one that is a pipe or a broken link.
    """
    entries = sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=lambda path: path.name)
    paths, left_out = [p for p in entries if p.suffix.lower() in SUFFIXES and not p.is_dir()], []
    if folders := [label(p) for p in entries if _holds_sound(p)]:
        left_out.append(f"{', '.join(folders)} (folders: move the sound files in them up)")
    if shutil.which("ffmpeg") is None:
        unreadable = [label(p) for p in paths if p.suffix.lower() not in LIBSNDFILE_SUFFIXES]
        paths = [p for p in paths if p.suffix.lower() in LIBSNDFILE_SUFFIXES]
        if unreadable:
            left_out.append(f"{', '.join(unreadable)} (they need ffmpeg: install it, or convert them to wav)")
    if not paths:
        reasons = "; ".join([f"expected {', '.join(SUFFIXES)}", *left_out])
        raise ValueError(f"{folder}: no sound files in it; {reasons}. Put about five clips there.")
    if left_out:
        warnings.warn(f"{folder.name}: left out: {'; '.join(left_out)}.", stacklevel=4)
    for path in paths:
        refuse_irregular(path)
    return tuple(paths)


def _holds_sound(path: Path) -> bool:
    if not path.is_dir() or path.is_symlink():
        return False
    return path.suffix.lower() in SUFFIXES or any(p.suffix.lower() in SUFFIXES for p in path.glob("*"))


def chosen_files(folder: Path, files: tuple[Path, ...], how: str) -> tuple[Path, ...]:
    """The files that are used: the first `N_CLIPS`, or as many spread over all; a warning names the others."""
    if len(files) <= N_CLIPS:
        return files
    ranks = range(N_CLIPS) if how == "first" else [k * (len(files) - 1) // (N_CLIPS - 1) for k in range(N_CLIPS)]
    used = tuple(files[k] for k in ranks)
    rest = ", ".join(label(path) for path in files if path not in used)
    warnings.warn(
        f"{folder.name}: {len(files)} sound files. {N_CLIPS} of them are learned from and compared with: "
        f"{', '.join(map(label, used))}. Not used: {rest}. Move files out of the folder to choose others.",
        stacklevel=4,
    )
    return used


def load_recording(path: Path) -> Recording:
    """Read the part of a sound file that is used.

    Raises
    ------
    FileNotFoundError : no such file.
    ValueError : it cannot be read whole, or its loudest part is silent for more than a fifth, too faint, or too short.
    """
    sound = read_sound(path, duration_s=CLIP_S)
    clip, level_lufs, notes, *change = _clip_of(path, sound)
    start, first_fault = 0, _fault(clip, level_lufs)
    if first_fault:
        sound = read_sound(path, duration_s=SEARCH_S)
        clip, _, notes, *change = _clip_of(path, sound)
        start, end = _loudest_part(clip)
        clip = clip[start:end]
        level_lufs = loudness_lufs(clip)
        if fault := _fault(clip, level_lufs):
            raise ValueError(
                f"{label(path)}: its loudest part {fault}. Choose another part of the recording, cut out pauses, make "
                "it louder, or leave the file out."
            )
        part = f"{start / RATE_HZ:.2f} to {end / RATE_HZ:.2f} s are used"
        notes += (f"{part}, since its beginning {first_fault}",)
    first, last = (round(at / RATE_HZ * sound.rate_hz) for at in (start, start + len(clip)))
    hole_s = _longest_hole(sound.frames[first:last]) / sound.rate_hz
    if hole_s > HOP_S:
        notes += (f"{hole_s:.2f} s of it are zeros, which may be a hole in the file",)
    return Recording(path, clip, start / RATE_HZ, level_lufs, sound.notes + notes, *change)


def at_own_rate(recording: Recording, rate_hz: int, channels: int) -> np.ndarray:
    """The same part of the file, float32 (channels, n), at another rate and with the same change of level.

    A file of as many channels keeps them, unless they cancel each other; the mean of any other's is on every channel.
    """
    sound = read_sound(recording.path, recording.start_s, len(recording.clip) / RATE_HZ)
    mono, notes = mix_down(sound)
    frames = sound.frames if sound.frames.shape[1] == channels and not notes else np.repeat(mono[:, None], channels, 1)
    if recording.centred:
        frames = frames - frames.mean(0)
    own = resampled(frames * np.float32(recording.gain), sound.rate_hz, rate_hz)
    return fit_length(own.T, round(len(recording.clip) / RATE_HZ * rate_hz))


def load_recordings(concept: "Concept", n: int | None = None) -> list[Recording]:
    """Read the recordings that a concept is learned from and compared with: the first `n` of them, or all.

    Raises
    ------
    FileNotFoundError, ValueError : a file is unusable; the message names it.
    """
    if concept.how == "first":
        return [load_recording(path) for path in concept.clips[:n]]
    return _spread([_parts(path) for path in concept.clips])[:n]


def _parts(path: Path) -> list[Recording]:
    """The usable windows of `CLIP_S` in the first ten minutes of a file; of a shorter one, its used part."""
    sound = read_sound(path, duration_s=SEARCH_S)
    clip, _, notes, *change = _clip_of(path, sound)
    window, parts = round(CLIP_S * RATE_HZ), []
    for start in range(0, len(clip) - window + 1, window):
        part, start_s = clip[start : start + window], start / RATE_HZ
        level_lufs = loudness_lufs(part)
        if not _fault(part, level_lufs):
            parts.append(Recording(path, part, start_s, level_lufs, sound.notes + notes, *change))
    return parts or [load_recording(path)]


def _spread(files: list[list[Recording]]) -> list[Recording]:
    """`N_CLIPS` parts of all files: each gives one before any gives a second, and a file's are spread over it."""
    counts = [0] * len(files)
    while sum(counts) < min(N_CLIPS, sum(map(len, files))):
        k = min((k for k, parts in enumerate(files) if counts[k] < len(parts)), key=counts.__getitem__)
        counts[k] += 1
    chosen = zip(files, counts, strict=True)
    return [parts[int((k + 0.5) * len(parts) / count)] for parts, count in chosen for k in range(count)]


def _clip_of(path: Path, sound: Sound) -> tuple[np.ndarray, float, tuple[str, ...], float, bool]:
    """Mono at 16 kHz, on the scale of 1.0 and around zero; its level in LUFS; notes; gain, and whether centred."""
    refuse_unusable(label(path), sound.frames, sound.duration_s)
    mono, notes = mix_down(sound)
    peak, gain = float(np.abs(mono).max()), 1.0
    if peak > OTHER_SCALE_PEAK:
        scale = next((scale for scale in INTEGER_SCALES if peak <= 2 * scale), peak)
        mono, gain = mono / np.float32(scale), 1 / scale
        notes += (f"divided by {scale:.0f}, since its peak was {peak:.0f} and full scale is 1",)
    offset = float(mono.mean(dtype=np.float64))
    if centred := abs(offset) > max(OFFSET * float(mono.std()), 1e-4):
        mono = mono - np.float32(offset)
        notes += (f"a constant offset of {offset:.3f} was removed",)
    clip = resampled(mono, sound.rate_hz, RATE_HZ)
    level_lufs = loudness_lufs(clip)
    if level_lufs > LEVELS_LUFS[1]:
        fall_db = max(20 * np.log10(float(np.abs(clip).max())), level_lufs + 0.1)
        clip = clip * np.float32(10 ** (-fall_db / 20))
        notes += (f"turned down by {fall_db:.1f} dB, since its level was {level_lufs:.1f} LUFS",)
        level_lufs -= fall_db
        gain *= 10 ** (-fall_db / 20)
    return clip, level_lufs, notes, gain, centred


def _longest_hole(frames: np.ndarray) -> int:
    """The longest run of frames (n, channels) that are exactly zero."""
    sounding = np.flatnonzero(frames.any(axis=1))
    return int(np.diff(sounding, prepend=-1, append=len(frames)).max(initial=1)) - 1


def _fault(clip: np.ndarray, level_lufs: float) -> str:
    """Why a clip cannot be learned from; empty if it can."""
    if (duration_s := len(clip) / RATE_HZ) < MIN_CLIP_S:
        return f"has {duration_s:.2f} s of sound, where {MIN_CLIP_S} s are needed"
    if isnan(level_lufs):
        return "is silent"
    if not LEVELS_LUFS[0] <= level_lufs <= LEVELS_LUFS[1]:
        low_lufs, high_lufs = LEVELS_LUFS
        return f"has a level of {level_lufs:.1f} LUFS, expected {low_lufs:.0f} to {high_lufs:.0f}"
    share = float(_silent(clip).mean())
    return f"is silent for {share:.0%}" if share > MAX_SILENT else ""


def _blocks_db(clip: np.ndarray) -> np.ndarray:
    """Power of each block of `HOP_S`, in dB of full scale."""
    hop = round(HOP_S * RATE_HZ)
    blocks = clip[: len(clip) // hop * hop].reshape(-1, hop)
    return 10 * np.log10(np.square(blocks, dtype=np.float64).mean(axis=1) + 1e-20)


def _silent(clip: np.ndarray) -> np.ndarray:
    """Whether each block of `HOP_S` is silent."""
    blocks_db = _blocks_db(clip)
    level_db = 10 * np.log10(np.mean(10 ** (blocks_db / 10)))
    return blocks_db < max(SILENCE_DB, level_db - SILENCE_BELOW_LEVEL_DB)


def _loudest_part(clip: np.ndarray) -> tuple[int, int]:
    """First and last sample of the loudest `CLIP_S`, without the silence at its ends."""
    hop, window = round(HOP_S * RATE_HZ), round(CLIP_S * RATE_HZ)
    energy = np.concatenate([[0.0], np.cumsum(10 ** (_blocks_db(clip) / 10))])
    width = min(window // hop, len(energy) - 1)
    first = int(np.argmax(energy[width:] - energy[:-width])) * hop if width else 0
    sounding = np.flatnonzero(~_silent(clip[first : first + window]))
    if not len(sounding):
        return first, min(first + window, len(clip))
    return first + int(sounding[0]) * hop, min(first + int(sounding[-1] + 1) * hop, len(clip))


def recordings_table(concept: "Concept") -> "pd.DataFrame":
    """What is used of each of a concept's files: file, start_s, seconds, level_lufs, and what was done to it."""
    import pandas as pd

    rows = [
        {
            "file": label(recording.path),
            "start_s": round(recording.start_s, 2),
            "seconds": round(len(recording.clip) / RATE_HZ, 2),
            "level_lufs": round(recording.level_lufs, 1),
            "done": "; ".join((*recording.notes, *_filled(concept, recording))),
        }
        for recording in load_recordings(concept)
    ]
    return pd.DataFrame(rows)


def _filled(concept: "Concept", recording: Recording) -> tuple[str, ...]:
    missing_s = CLIP_S - len(recording.clip) / RATE_HZ
    if concept.short == "loop":
        return (f"repeated to fill {CLIP_S} s",) if missing_s > 0 else ()
    return (f"{missing_s:.2f} s of silence added, which is learned too",) if missing_s > NOTED_SILENCE_S else ()
