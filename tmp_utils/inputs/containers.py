"""Sound files as people have them: the samples in a file, compared with what its container promises.

Conventions: frames are float32 (n, channels), full scale 1.0, in the file's own rate. libsndfile reads wav, flac, ogg,
mp3 and aiff; everything else, and what libsndfile cannot read to its end, goes through ffmpeg if that is installed.
Headers are read here only where neither of them tells: a wav's sizes (Microsoft's RIFF; EBU Tech 3306 for RF64) and an
ogg's pages (RFC 3533).

read_sound       : a part of a file -> Sound, or one error that names the file and the remedy.
mix_down         : Sound -> mono, without channels that cancel each other and without the subwoofer's.
refuse_irregular : links that lead nowhere, pipes, names that are not UTF-8.
shown            : a file's name on one line.
SUFFIXES         : the names of files that are taken for sound.
"""

import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, inf
from pathlib import Path

import numpy as np
import soundfile

LIBSNDFILE_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".oga", ".opus")
AUDIO_SUFFIXES = (".m4a", ".aac", ".wma", ".amr", ".caf", ".mka")  # these and the next need ffmpeg
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".3gp", ".avi")
SUFFIXES = LIBSNDFILE_SUFFIXES + AUDIO_SUFFIXES + VIDEO_SUFFIXES
DEMUXERS = "wav,w64,aiff,flac,ogg,mp3,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,asf,caf,amr,avi"  # none opens others
TIMED = ("mov", "matroska", "asf", "avi")  # containers whose duration is no estimate
RATES_HZ = (4_000, 1_000_000)
STREAMED_BYTES = 0x7FFFF000  # sox, arecord, gstreamer and ffmpeg write this or more for a length that they do not know
SLACK_BYTES = 64  # some writers count their header as sound
SLACK_S = 0.1  # decoders' own delays
BLOCK = 65_536  # frames read at once, so that a false length costs no memory
CANCELLED = 0.1  # a mix with less than this part of the power that unrelated channels would leave
FFMPEG_TIMEOUT_S = 300
LFE_IN_OGG = {6: 5, 7: 6, 8: 7}  # Vorbis I specification, 4.3.9
LFE = {6: 3, 8: 3}  # everywhere else, where no channel mask says
MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class Sound:
    """A part of a file.

    Attributes
    ----------
    frames : float32 (n, channels).
    rate_hz : the file's own.
    lfe : the channel of low-frequency effects; None if there is none.
    notes : what a listener should know about how it was read.
    """

    frames: np.ndarray
    rate_hz: int
    lfe: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        return len(self.frames) / self.rate_hz


@dataclass(frozen=True)
class Container:
    """What a file's header says.

    Attributes
    ----------
    source : what libsndfile reads: the file, or its samples under a corrected header.
    promise : the promised length in units of the present one; infinite if the end is missing and nothing says how much.
    doubt : why libsndfile's length of an mp3 is a guess; empty if it is none.
    begins_as_mp3 : whether its first bytes are an mp3's; libsndfile looks for them anywhere, in a video too.
    md5 : of a flac's samples; empty where the header does not tell.
    mask : the loudspeakers of its channels, as wavs count them (one bit each); None where the header does not tell.
    notes : as those of `Sound`.
    """

    source: Path | io.BufferedIOBase
    promise: float = 1.0
    doubt: str = ""
    begins_as_mp3: bool = False
    md5: bytes = b""
    mask: int | None = None
    notes: tuple[str, ...] = ()


def shown(path: Path) -> str:
    """A file's name on one line, in characters that every terminal prints."""
    name = os.fsencode(path.name).decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)


def refuse_irregular(path: Path) -> None:
    """Refuse what is not a file, or has a name that is not UTF-8.

    Raises
    ------
    FileNotFoundError : it does not exist, or is a link that leads nowhere.
    ValueError : it is a folder or a pipe, or its name is in another encoding.
    """
    name = shown(path)
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


def read_sound(path: Path, start_s: float = 0.0, duration_s: float | None = None) -> Sound:
    """Read a part of a sound file, in its own rate and with all its channels.

    Parameters
    ----------
    start_s, duration_s : the part; `duration_s=None` reads to the end. A file that ends earlier gives fewer frames.

    Raises
    ------
    FileNotFoundError : there is no such file.
    ValueError : it is not sound, is damaged, needs ffmpeg where there is none, or lacks some of the part; the message
        gives the seconds that are there and those promised.
    """
    refuse_irregular(path)
    container = _examine(path)
    sound, total_s, fault = None, None, ""
    try:
        with soundfile.SoundFile(container.source) as file:
            total_s = file.frames / file.samplerate
            sound = _through_libsndfile(file, start_s, duration_s, container.mask)
            if container.md5 and len(sound.frames) == file.frames and _md5(sound, file.subtype) != container.md5:
                sound = replace(sound, notes=("its samples fail the checksum in its header, so it may be damaged",))
            doubtful = container.doubt and file.format == "MP3"
        if doubtful and (duration_s is None or sound.duration_s < duration_s or not container.begins_as_mp3):
            sound, total_s, fault = None, None, container.doubt
    except soundfile.LibsndfileError as error:
        fault = error.error_string.strip().removeprefix("Error : ").rstrip(".")
        total_s = None if container.doubt else total_s
    if sound is None:
        sound, probed_s = _through_ffmpeg(path, start_s, duration_s, fault)
        if total_s is None:
            total_s = probed_s
        else:
            sound = replace(sound, notes=(f"libsndfile stopped at a fault ({fault}); ffmpeg read on", *sound.notes))
    low_hz, high_hz = RATES_HZ
    if not low_hz <= sound.rate_hz <= high_hz:
        raise ValueError(
            f"{shown(path)}: its header gives a sampling rate of {sound.rate_hz} Hz; expected {low_hz} to {high_hz}. "
            "Export it again."
        )
    end_s, notes = start_s + sound.duration_s, container.notes + sound.notes
    if total_s is None:
        total_s = end_s
        if duration_s is not None and sound.duration_s < duration_s:
            notes += (f"its header does not tell its length; {end_s:.2f} s are in it",)
    if start_s and not sound.duration_s:
        raise ValueError(f"{shown(path)}: start_s={start_s} is past its end at {total_s:.2f} s. Start earlier.")
    promised_s = inf if container.promise == inf else container.promise * total_s
    if min(promised_s, inf if duration_s is None else start_s + duration_s) - end_s > SLACK_S:
        raise ValueError(f"{shown(path)}: {_cut(end_s, promised_s)}. Copy or download it again.")
    if container.promise > 1:
        notes += (f"{_cut(total_s, promised_s)}, but the part used is whole",)
    return replace(sound, notes=notes)


def _cut(present_s: float, promised_s: float) -> str:
    if promised_s == inf:
        return f"cut short; it holds {present_s:.2f} s, and its end is missing"
    return f"cut short; it holds {present_s:.2f} s of the {promised_s:.2f} s its header promises"


def _through_libsndfile(file: soundfile.SoundFile, start_s: float, duration_s: float | None, mask: int | None) -> Sound:
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
    lfe = _lfe(file.channels, mask, LFE_IN_OGG if file.format == "OGG" else LFE)
    return Sound(np.concatenate(blocks), file.samplerate, lfe)


def _md5(sound: Sound, subtype: str) -> bytes:
    """The checksum of samples as flac's encoders compute it, over little-endian integers (RFC 9639, 8.2)."""
    bits = int(subtype.removeprefix("PCM_").removeprefix("S"))
    integers = (sound.frames.astype(np.float64) * 2 ** (bits - 1)).astype("<i4")
    packed = integers.view(np.uint8).reshape(-1, 4)[:, : bits // 8]
    return hashlib.md5(packed.tobytes(), usedforsecurity=False).digest()


def _lfe(channels: int, mask: int | None, customary: dict[int, int]) -> int | None:
    if not mask:
        return customary.get(channels)
    return (mask & 0b111).bit_count() if mask & 0b1000 else None


def _through_ffmpeg(path: Path, start_s: float, duration_s: float | None, fault: str) -> tuple[Sound, float | None]:
    """A part of a file, and the duration that its container promises (None if that would be an estimate)."""
    name = shown(path)
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
    decoded = io.BytesIO(done.stdout)
    try:
        frames, rate_hz = soundfile.read(decoded, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        reason = report[-1] if report else "no sound in it"
        raise ValueError(
            f"{name}: not readable as sound ({fault}; ffmpeg: {reason}). Play it to see whether it is damaged, or "
            "leave it out."
        ) from error
    lfe = _lfe(frames.shape[1], _examine_wav(decoded).mask, LFE)
    notes = (f"ffmpeg found damage: {report[0]}",) if report else ()
    return Sound(frames, rate_hz, lfe, notes), _probed_s(path)


def _run(program: str, *before: str, path: Path, options: list[str]) -> subprocess.CompletedProcess:
    only_files = ["-v", "error", "-format_whitelist", DEMUXERS, "-protocol_whitelist", "file"]
    command = [program, *before, *only_files, "-i", f"file:{path.absolute()}", *options]
    try:
        return subprocess.run(command, capture_output=True, timeout=FFMPEG_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        fault = f"{program} did not read it in {FFMPEG_TIMEOUT_S} s"
        raise ValueError(f"{shown(path)}: {fault}. Convert it to wav.") from error


def _probed_s(path: Path) -> float | None:
    """The duration of a file's sound, if its container tells more than an estimate."""
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


def _examine(path: Path) -> Container:
    """Compare what a file's header promises with the file; formats other than these are left to their decoder."""
    file_bytes = path.stat().st_size
    if not file_bytes:
        raise ValueError(f"{shown(path)}: empty, 0 bytes. Copy or download it again.")
    with path.open("rb") as file:
        start = _after_id3(file)
        file.seek(start)
        head = file.read(8192).ljust(24)
        if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
            container = _examine_wav(file, start)
            if container.promise == inf:
                raise ValueError(f"{shown(path)}: cut short before its samples begin. Copy or download it again.")
            return replace(container, source=path) if container.source is file else container
        if head[:4] == b"OggS":
            file.seek(start)
            return _examine_ogg(path, file.read())
    if head[:4] in (b"FORM", b"riff"):  # aiff, and Sony's w64
        is_w64 = head[:4] == b"riff"
        promised = int.from_bytes(head[16:24], "little") if is_w64 else 8 + int.from_bytes(head[4:8], "big")
        notes = _contradiction(head[64:80]) if is_w64 and head[40:44] == b"fmt " else ()
        if file_bytes - promised > SLACK_BYTES:
            notes += (f"it has {file_bytes} bytes, and its header promises {promised}: listen whether it is whole",)
        whole = promised - file_bytes <= SLACK_BYTES or (promised >= STREAMED_BYTES and not is_w64)
        return Container(path, 1.0 if whole else promised / file_bytes, notes=notes)
    if head[:4] == b"fLaC":
        return Container(path, md5=head[26:42] if any(head[26:42]) else b"")
    frame = head.lstrip(b"\0")[:64].ljust(64)
    is_mp3 = frame[0] == 0xFF and frame[1] >= 0xE0 and frame[2] < 0xF0  # a sync word, and a bit rate that there is
    counted = is_mp3 and any(frame[at : at + 4] in (b"Xing", b"Info", b"VBRI") for at in (13, 21, 36))
    return Container(path, doubt="" if counted else "an mp3 that does not tell its length", begins_as_mp3=is_mp3)


def _after_id3(file: io.BufferedIOBase) -> int:
    """Where a file's sound begins: after its ID3v2 tag, if it has one."""
    head = file.read(10).ljust(10)
    if head[:3] != b"ID3":
        return 0
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))


def _examine_wav(file: io.BufferedIOBase, start: int = 0) -> Container:
    """Compare a wav's sizes with the file; those that libsndfile would take for true are corrected in memory."""
    end = file.seek(0, os.SEEK_END)
    fmt, long_bytes, corrected, mask, notes = b"", None, False, None, ()
    place, promised, first = start + 12, 0, start + 12
    for name, place, promised, shifted in _chunks(file, first, end):
        corrected |= shifted
        file.seek(place)
        if name == b"fmt ":
            fmt = file.read(min(promised, 64))
            notes = _contradiction(fmt)
            mask = int.from_bytes(fmt[20:24], "little") if fmt[:2] == b"\xfe\xff" else None
        elif name == b"ds64":
            long_bytes = int.from_bytes(file.read(16)[8:], "little")
        elif name == b"data":
            break
    else:
        return Container(file, promise=inf if place + promised + 8 > end else 1.0)
    if promised == 0xFFFFFFFF and long_bytes:
        promised = long_bytes
    present, promise = end - place, 1.0
    if promised > present:
        counts_header = promised - present <= SLACK_BYTES or promised in (end, end - 8)
        streamed = promised >= STREAMED_BYTES and long_bytes is None
        if not (counts_header or streamed):
            promise = promised / present if present else inf
    elif _sound_goes_on(file, place + promised, end):
        notes += (f"its header promises {promised} bytes of sound; all {present} that are there are read",)
        corrected = True
    if corrected:
        file.seek(place)
        file = io.BytesIO(_chunk(b"RIFF", b"WAVE" + _chunk(b"fmt ", fmt) + _chunk(b"data", file.read(present))))
    return Container(file, promise, mask=mask, notes=notes)


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", min(len(data), 0xFFFFFFFF)) + data + b"\0" * (len(data) % 2)


def _chunks(file: io.BufferedIOBase, place: int, end: int) -> Iterator[tuple[bytes, int, int, bool]]:
    """Name, place and size of each chunk, and whether the byte that pads an odd size is missing before it."""
    padded = False
    while place + 8 <= end:
        file.seek(place - 1)
        head = file.read(9)
        shifted = padded and not _is_name(head[1:5]) and _is_name(head[:4])
        name, size = struct.unpack("<4sI", head[:8] if shifted else head[1:])
        if not _is_name(name):
            return
        place += 8 - shifted
        yield name, place, size, shifted
        padded = size % 2 == 1
        place += size + padded


def _is_name(name: bytes) -> bool:
    return all(0x20 <= byte < 0x7F for byte in name)


def _sound_goes_on(file: io.BufferedIOBase, place: int, end: int) -> bool:
    """Whether what follows a wav's samples is neither chunks, nor a tag, nor zeros."""
    file.seek(place)
    rest = file.read(8192)
    if len(rest) <= SLACK_BYTES or not any(rest) or rest[:3] in (b"ID3", b"TAG"):
        return False
    *_, (_, last, size, _) = [(b"", 0, 0, False), *_chunks(file, place + place % 2, end)]
    return not end - 8 <= last + size <= end + 1


def _contradiction(fmt: bytes) -> tuple[str, ...]:
    """A note if a wav's rate, channels, bits and bytes per second do not fit together."""
    head = fmt[:20].ljust(20, b"\0")
    kind, channels, rate_hz, bytes_per_s, block_bytes, bits, _, per_block = struct.unpack("<HHIIHHHH", head)
    adpcm = kind in (0x02, 0x11)
    if not adpcm and kind not in (0x01, 0x03, 0xFFFE):
        return ()
    expected = rate_hz * block_bytes / (max(per_block, 1) if adpcm else 1)
    fits = bytes_per_s == 0 or abs(bytes_per_s - expected) <= (0.05 * expected if adpcm else 0)
    if fits and (adpcm or block_bytes * 8 >= channels * bits):
        return ()
    return (
        f"its header contradicts itself ({rate_hz} Hz, {channels} x {bits} bits, {block_bytes} bytes a frame, "
        f"{bytes_per_s} bytes a second): listen whether speed and pitch are right",
    )


def _examine_ogg(path: Path, data: bytes) -> Container:
    """Check the checksums and numbers of an ogg's pages, and whether the last is there; join chained streams."""
    place, numbers, starts, ended = 0, {}, [0], False
    while place < len(data) and not (ended and data[place : place + 4] != b"OggS"):
        head = data[place : place + 27].ljust(27, b"\0")
        kind, serial, number, checksum, segments = struct.unpack("<5xB8xIIIB", head)
        page = data[place : place + 27 + segments + sum(data[place + 27 : place + 27 + segments])]
        if len(data) - place < 27 + segments or len(page) < 27 + segments + sum(page[27 : 27 + segments]):
            ended = False
            break
        if head[:4] != b"OggS" or numbers.setdefault(serial, number) != number or _ogg_checksum(page) != checksum:
            raise ValueError(
                f"{shown(path)}: damaged; a page {place} bytes from its start (of {len(data)}) is missing or fails its "
                "checksum. Copy or download it again."
            )
        if kind & 2 and any(following > 1 for following in numbers.values()):
            starts.append(place)
            numbers.clear()
        numbers[serial], ended = number + 1, bool(kind & 4)
        place += len(page)
    promise = 1.0 if ended else inf
    if len(starts) == 1:
        return Container(path, promise)
    parts = [data[start:end] for start, end in zip(starts, [*starts[1:], place], strict=True)]
    return Container(_joined(path, parts), promise, notes=(f"{len(parts)} streams, one after the other, were joined",))


def _joined(path: Path, parts: list[bytes]) -> io.BytesIO:
    """Chained ogg streams as one wav; libsndfile reads only the first."""
    try:
        decoded = [soundfile.read(io.BytesIO(part), dtype="float32", always_2d=True) for part in parts]
    except soundfile.LibsndfileError as error:
        raise ValueError(
            f"{shown(path)}: one of its {len(parts)} streams is not readable. Convert it to wav."
        ) from error
    kinds = {(rate_hz, frames.shape[1]) for frames, rate_hz in decoded}
    if len(kinds) > 1:
        raise ValueError(
            f"{shown(path)}: {len(parts)} streams of different rates or channels after one another. Convert it to wav."
        )
    joined = io.BytesIO()
    soundfile.write(joined, np.concatenate([frames for frames, _ in decoded]), decoded[0][1], "FLOAT", format="WAV")
    joined.seek(0)
    return joined


def _ogg_checksum(page: bytes) -> int:
    """The CRC of RFC 3533 through zlib's, which is its mirror image and inverts first and last."""
    blank = page[:22] + bytes(4) + page[26:]
    mirrored = zlib.crc32(blank.translate(MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)


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
