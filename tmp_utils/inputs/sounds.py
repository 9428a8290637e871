"""Sound files as people have them, decoded: wav, flac, ogg, mp3 and aiff by libsndfile, the rest by ffmpeg.

Conventions: frames are float32 (n, channels), full scale 1.0, at the file's rate. What libsndfile cannot read to its
end goes through ffmpeg too, if that is installed. What is decoded is compared with what the container promises.

read_sound       : a part of a file -> Sound, or one error that names the file and the remedy.
mix_down         : Sound -> mono, without channels that cancel each other and without the subwoofer's.
refuse_irregular : refuse links that lead nowhere, pipes, names that are not UTF-8.
SUFFIXES         : the names of files that count as sound.
"""

import hashlib
import io
import json
import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from math import ceil, inf
from pathlib import Path

import numpy as np
import soundfile

from tmp_utils.inputs.containers import Container, examine, label

LIBSNDFILE_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".oga", ".opus")
AUDIO_SUFFIXES = (".m4a", ".aac", ".wma", ".amr", ".caf", ".mka")  # these and the next need ffmpeg
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".3gp", ".avi")
SUFFIXES = LIBSNDFILE_SUFFIXES + AUDIO_SUFFIXES + VIDEO_SUFFIXES
DEMUXERS = "wav,w64,aiff,flac,ogg,mp3,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,asf,caf,amr,avi"  # none opens others
TIMED = ("mov", "matroska")  # containers whose duration is no estimate
RATES_HZ = (4_000, 1_000_000)
MAX_FRAMES = 2**53  # libsndfile gives more for a flac from a pipe
MP3_DELAYS = 5_000  # samples that encoder and decoder add, at most
SLACK_S = 0.1  # decoders' delays
BLOCK = 65_536  # frames read at once, so that a false length costs no memory
CANCELLED = 0.1  # a mix with less than this part of the power that unrelated channels would leave
FFMPEG_TIMEOUT_S = 300
LFE_IN_OGG = {6: 5, 7: 6, 8: 7}  # channel of low-frequency effects by number of channels: Vorbis I, 4.3.9
LFE = {6: 3, 7: 3, 8: 3}  # the same elsewhere


@dataclass(frozen=True)
class Sound:
    """A part of a file.

    Attributes
    ----------
    frames : float32 (n, channels).
    rate_hz : the file's.
    lfe : the channel of low-frequency effects, or None.
    notes : what a listener should know about how it was read.
    """

    frames: np.ndarray
    rate_hz: int
    lfe: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        return len(self.frames) / self.rate_hz


def refuse_irregular(path: Path) -> None:
    """Refuse what is not a file, or has a name that is not UTF-8.

    Raises
    ------
    FileNotFoundError, PermissionError : it does not exist, is a link that leads nowhere, or may not be read.
    ValueError : it is a folder or a pipe, or its name is in another encoding.
    """
    name = label(path)
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name}: its name, or its folder's, is not in UTF-8. Rename it.") from error
    if path.is_symlink() and not path.exists():
        target = path.readlink()
        raise FileNotFoundError(f"{name}: a link to {target}, which leads nowhere. Delete the link or mend it.")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file. Check the spelling, or the folder it should be in.")
    if not path.is_file():
        raise ValueError(f"{name}: a {'folder' if path.is_dir() else 'pipe or device'}, not a file. Move it elsewhere.")
    if not os.access(path, os.R_OK):
        raise PermissionError(f"{name}: no permission to read it. Change its permissions or copy it.")


def read_sound(path: Path, start_s: float = 0.0, duration_s: float | None = None) -> Sound:
    """Read a part of a sound file, at its rate and with all its channels.

    Parameters
    ----------
    start_s, duration_s : the part; `duration_s=None` reads to the end. A file that ends earlier gives fewer frames.

    Raises
    ------
    FileNotFoundError : no such file.
    ValueError : not sound, damaged, unreadable without ffmpeg, or lacking some of the part; the message gives the
        seconds present and promised.
    """
    refuse_irregular(path)
    container = examine(path)
    sound, total_s = _decode(path, container, start_s, duration_s)
    if not RATES_HZ[0] <= sound.rate_hz <= RATES_HZ[1]:
        limits = f"expected {RATES_HZ[0]} to {RATES_HZ[1]}"
        raise ValueError(f"{label(path)}: a sampling rate of {sound.rate_hz} Hz; {limits}. Export it again.")
    end_s, notes = start_s + sound.duration_s, container.notes + sound.notes
    if sound.rate_hz % 4000 and sound.rate_hz % 11025:
        notes += (f"an unusual sampling rate, {sound.rate_hz} Hz: check speed and pitch by ear",)
    if total_s is None:
        total_s = end_s
        if duration_s is not None and sound.duration_s < duration_s:
            notes += (f"its header does not give its length; {end_s:.2f} s were read",)
    if start_s and not sound.duration_s:
        raise ValueError(f"{label(path)}: start_s={start_s} is past its end at {total_s:.2f} s. Start earlier.")
    promised_s = inf if container.promise == inf else container.promise * total_s
    missing_s = min(promised_s, inf if duration_s is None else start_s + duration_s) - end_s
    if missing_s > (SLACK_S if container.promise == 1 else 1e-3):
        raise ValueError(f"{label(path)}: {_cut(end_s, promised_s)}. Copy or download it again.")
    if container.promise > 1:
        notes += (f"{_cut(total_s, promised_s)}, but the part used is whole",)
    return replace(sound, notes=notes)


def _decode(path: Path, container: Container, start_s: float, duration_s: float | None) -> tuple[Sound, float | None]:
    """A part of a file by libsndfile, or else by ffmpeg, and the file's length where that is no guess."""
    sound, total_s, fault = None, None, "its header does not give its length"
    try:
        with soundfile.SoundFile(container.source) as file:
            mp3_guess = file.format == "MP3" and abs(container.mp3_samples - file.frames) > MP3_DELAYS
            guessed = mp3_guess or file.frames > MAX_FRAMES
            total_s = None if guessed else file.frames / file.samplerate
            sound = _through_libsndfile(file, start_s, duration_s)
            if container.md5 and len(sound.frames) == file.frames and _md5(sound, file.subtype) != container.md5:
                sound = replace(sound, notes=("its samples fail the checksum in its header, so it may be damaged",))
        if guessed and not (container.begins_as_mp3 and duration_s and sound.duration_s >= duration_s):
            sound = None
    except soundfile.LibsndfileError as error:
        fault = error.error_string.strip().removeprefix("Error : ").rstrip(".")
    if sound is None:
        sound, probed_s = _through_ffmpeg(path, start_s, duration_s, fault)
        if total_s is not None:
            sound = replace(sound, notes=(f"libsndfile stopped at a fault ({fault}); ffmpeg read on", *sound.notes))
        total_s = probed_s if total_s is None else total_s
    return sound, total_s


def _cut(present_s: float, promised_s: float) -> str:
    if promised_s == inf:
        return f"cut short; it holds {present_s:.2f} s, and its end is missing"
    return f"cut short; it holds {present_s:.2f} s of the {promised_s:.2f} s its header promises"


def _through_libsndfile(file: soundfile.SoundFile, start_s: float, duration_s: float | None) -> Sound:
    first = min(round(start_s * file.samplerate), file.frames)
    missing = file.frames - first
    if duration_s is not None:
        missing = min(missing, ceil(duration_s * file.samplerate))
    if first:
        file.seek(first)
    blocks = [np.zeros((0, file.channels), np.float32)]
    while missing > 0:
        blocks.append(file.read(min(missing, BLOCK), dtype="float32", always_2d=True))
        missing = missing - BLOCK if len(blocks[-1]) == BLOCK else 0
    lfe = (LFE_IN_OGG if file.format == "OGG" else LFE).get(file.channels)
    return Sound(np.concatenate(blocks), file.samplerate, lfe)


def _md5(sound: Sound, subtype: str) -> bytes:
    """The checksum of samples as flac's encoders compute it, over little-endian integers (RFC 9639, 8.2)."""
    bits = int(subtype.removeprefix("PCM_").removeprefix("S"))
    integers = (sound.frames.astype(np.float64) * 2 ** (bits - 1)).astype("<i4")
    packed = integers.view(np.uint8).reshape(-1, 4)[:, : bits // 8]
    return hashlib.md5(packed.tobytes(), usedforsecurity=False).digest()


def _through_ffmpeg(path: Path, start_s: float, duration_s: float | None, fault: str) -> tuple[Sound, float | None]:
    """A part of a file, and the duration that its container promises (None if that would be an estimate)."""
    name = label(path)
    if shutil.which("ffmpeg") is None:
        raise ValueError(
            f"{name}: not readable as sound without ffmpeg, which is not installed ({fault}). Install ffmpeg, or "
            "convert the file to wav."
        )
    part = ["-ss", str(start_s), *([] if duration_s is None else ["-t", str(duration_s)])]
    done = _run(
        "ffmpeg", "-nostdin", path=path, options=["-map", "0:a:0", *part, "-c:a", "pcm_f32le", "-f", "wav", "-"]
    )
    report = done.stderr.decode(errors="replace").replace(f"file:{path.absolute()}", name).strip().splitlines()
    try:
        frames, rate_hz = soundfile.read(io.BytesIO(done.stdout), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        reason = report[-1] if report else "no sound in it"
        raise ValueError(
            f"{name}: not readable as sound ({fault}; ffmpeg: {reason}). Play it to see whether it is damaged, or "
            "leave it out."
        ) from error
    notes = (f"ffmpeg reports damage: {report[0]}",) if report else ()
    return Sound(frames, rate_hz, LFE.get(frames.shape[1]), notes), _probed_s(path)


def _run(program: str, *before: str, path: Path, options: list[str]) -> subprocess.CompletedProcess:
    only_files = ["-v", "error", "-format_whitelist", DEMUXERS, "-protocol_whitelist", "file"]
    command = [program, *before, *only_files, "-i", f"file:{path.absolute()}", *options]
    try:
        return subprocess.run(command, capture_output=True, timeout=FFMPEG_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        fault = f"{program} did not read it in {FFMPEG_TIMEOUT_S} s"
        raise ValueError(f"{label(path)}: {fault}. Convert it to wav.") from error


def _probed_s(path: Path) -> float | None:
    """The duration of a file's sound, unless its container only estimates it."""
    if shutil.which("ffprobe") is None:
        return None
    entries = "stream=codec_type,duration:format=format_name,duration"
    done = _run("ffprobe", path=path, options=["-show_entries", entries, "-of", "json"])
    report = json.loads(done.stdout or b"{}")
    streams, container = report.get("streams", []), report.get("format", {})
    if not container.get("format_name", "").startswith(TIMED):
        return None
    sounds = [stream for stream in streams if stream["codec_type"] == "audio"]
    whole = container.get("duration") if len(sounds) == len(streams) else None  # a video may outlast its sound
    duration = sounds[0].get("duration", whole) if sounds else None
    return None if duration is None else float(duration)


def mix_down(sound: Sound) -> tuple[np.ndarray, tuple[str, ...]]:
    """The mean of a sound's channels; the strongest alone where they cancel each other.

    Returns
    -------
    float32 (n,), and notes on what was done beyond taking the mean.
    """
    frames, notes = sound.frames, ()
    if sound.lfe is not None and sound.lfe < frames.shape[1]:
        frames, notes = np.delete(frames, sound.lfe, axis=1), ("mixed without its subwoofer channel",)
    mono = frames.mean(axis=1, dtype=np.float32)
    if frames.shape[1] > 1 and len(frames):
        power = frames.var(axis=0)
        if mono.var() < CANCELLED * power.mean() / frames.shape[1]:
            strongest = int(np.argmax(power > 0.99 * power.max()))  # the first of equals
            mono = np.ascontiguousarray(frames[:, strongest])
            notes += (f"its channels cancel each other, so only channel {strongest + 1} is used",)
    return mono, notes
