"""What the header of a sound file promises, compared with the file; read only where no decoder tells.

Conventions: sizes are in bytes. Wavs follow Microsoft's RIFF and EBU Tech 3306 (RF64), oggs RFC 3533; other formats are
left to their decoder.
"""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

import numpy as np
import soundfile

STREAMED_BYTES = 0x7FFFF000  # sox, arecord, gstreamer and ffmpeg write this or more for a length that they do not know
SLACK_BYTES = 64  # some writers count their header as sound
MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class Container:
    """What a file's header promises.

    Attributes
    ----------
    source : what libsndfile reads: the file, or its samples under a corrected header.
    promise : the promised length divided by the present one; infinite if the end is missing and its length unknown.
    begins_as_mp3 : whether the first bytes are an mp3's; libsndfile looks for mp3 anywhere, even in a video.
    mp3_samples : the length that an mp3 gives, with its encoder's delay; 0 if none, so that libsndfile guesses.
    md5 : of a flac's samples; empty if unknown.
    notes : faults that a listener should check.
    """

    source: Path | io.BufferedIOBase
    promise: float = 1.0
    begins_as_mp3: bool = False
    mp3_samples: int = 0
    md5: bytes = b""
    notes: tuple[str, ...] = ()


def label(path: Path) -> str:
    """A file's name on one line, in characters that every terminal prints."""
    name = os.fsencode(path.name).decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)


def examine(path: Path) -> Container:
    """Compare what a file's header promises with the file.

    Raises
    ------
    ValueError : the file is empty, ends before its samples begin, or is an ogg with damaged pages.
    """
    file_bytes = path.stat().st_size
    if not file_bytes:
        raise ValueError(f"{label(path)}: empty, 0 bytes. Copy or download it again.")
    with path.open("rb") as file:
        start = _after_id3(file)
        file.seek(start)
        head = file.read(128).ljust(128)
        if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
            container = _examine_wav(file, start)
            if container.promise == inf:
                raise ValueError(f"{label(path)}: cut short before its samples begin. Copy or download it again.")
            return replace(container, source=path) if container.source is file else container
        if head[:4] == b"OggS":
            file.seek(start)
            return _examine_ogg(path, file.read())
        if head[:1] == b"\0":  # an mp3 may begin with zeros
            file.seek(start)
            head = file.read(8192).lstrip(b"\0")[:128].ljust(128)
    if head[:4] in (b"FORM", b"riff"):  # aiff, and Sony's w64
        is_w64 = head[:4] == b"riff"
        promised = int.from_bytes(head[16:24], "little") if is_w64 else 8 + int.from_bytes(head[4:8], "big")
        notes = _contradiction(head[64:80]) if is_w64 and head[40:44] == b"fmt " else ()
        if file_bytes - promised > 8 and promised > 8:  # a pipe's aiff promises nothing
            notes += (f"it has {file_bytes} bytes and its header promises {promised}: check by ear that it is whole",)
        whole = promised - file_bytes <= SLACK_BYTES or promised >= (2**62 if is_w64 else STREAMED_BYTES)
        return Container(path, 1.0 if whole else promised / file_bytes, notes=notes)
    if head[:4] == b"fLaC":
        return Container(path, md5=head[26:42] if any(head[26:42]) else b"")
    is_mp3 = head[0] == 0xFF and head[1] >= 0xE0 and head[2] < 0xF0  # a sync word, and a bit rate that exists
    return Container(path, begins_as_mp3=is_mp3, mp3_samples=_mp3_samples(head) if is_mp3 else 0)


def _mp3_samples(head: bytes) -> int:
    """The length in an mp3's first frame, where its encoder wrote one (Xing, LAME, Fraunhofer)."""
    for at in (13, 21, 36):  # after 9, 17 or 32 bytes of side information
        mark, flags = head[at : at + 4], head[at + 7]
        if (mark in (b"Xing", b"Info") and flags & 1) or mark == b"VBRI":
            frames_at = at + (14 if mark == b"VBRI" else 8)
            return int.from_bytes(head[frames_at : frames_at + 4], "big") * (1152 if head[1] & 0x08 else 576)
    return 0


def _after_id3(file: io.BufferedIOBase) -> int:
    """Where a file's sound begins: after its ID3v2 tag, if it has one."""
    head = file.read(10).ljust(10)
    if head[:3] != b"ID3":
        return 0
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))


def _examine_wav(file: io.BufferedIOBase, start: int) -> Container:
    """Compare a wav's sizes with the file; sizes that libsndfile would wrongly trust are corrected in memory."""
    end = file.seek(0, os.SEEK_END)
    fmt, long_bytes, corrected, notes = b"", None, False, ()
    place, promised, first = start + 12, 0, start + 12
    for name, place, promised, shifted in _chunks(file, first, end):
        corrected |= shifted
        file.seek(place)
        if name == b"fmt ":
            fmt = file.read(min(promised, 64))
            notes = _contradiction(fmt)
        elif name == b"ds64":
            long_bytes = int.from_bytes(file.read(16)[8:], "little")
            if long_bytes in (0, 2**64 - 1):  # from a pipe
                long_bytes, corrected = None, True
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
        notes += (f"its header promises {promised} bytes of sound; all {present} in the file are read",)
        corrected = True
    if corrected:
        file.seek(place)
        file = io.BytesIO(_chunk(b"RIFF", b"WAVE" + _chunk(b"fmt ", fmt) + _chunk(b"data", file.read(present))))
    return Container(file, promise, notes=notes)


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
    if len(rest) <= 8 or not any(rest) or rest[:3] in (b"ID3", b"TAG"):
        return False
    *_, (_, last, size, _) = [(b"", 0, 0, False), *_chunks(file, place + place % 2, end)]
    return not end - 8 <= last + size <= end + 1


def _contradiction(fmt: bytes) -> tuple[str, ...]:
    """A note if a wav's rate, channels, bits and bytes per second do not fit together."""
    kind, channels, rate_hz, bytes_per_s, block_bytes, bits = struct.unpack("<HHIIHH", fmt[:16].ljust(16, b"\0"))
    pcm = kind in (0x01, 0x03, 0xFFFE)
    if not pcm or (bytes_per_s in (0, rate_hz * block_bytes) and block_bytes * 8 >= channels * bits):
        return ()
    return (
        f"its header contradicts itself ({rate_hz} Hz, {channels} x {bits} bits, {block_bytes} bytes a frame, "
        f"{bytes_per_s} bytes a second): check speed and pitch by ear",
    )


def _examine_ogg(path: Path, data: bytes) -> Container:
    """Check the checksums and numbers of an ogg's pages, and that the last is present; join chained streams."""
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
                f"{label(path)}: damaged; a page {place} bytes from its start (of {len(data)}) is missing or fails its "
                "checksum. Copy or download it again."
            )
        if kind & 2 and any(following > 1 for following in numbers.values()):
            starts.append(place)
            numbers.clear()
        numbers[serial], ended = number + 1, bool(kind & 4)
        place += len(page)
    parts = [data[start:end] for start, end in zip(starts, [*starts[1:], place], strict=True)]
    notes = (f"{len(parts)} streams, one after the other, were joined",) if len(parts) > 1 else ()
    source = _joined(path, parts) if len(parts) > 1 else path
    return Container(source, 1.0 if ended else inf, notes=notes)


def with_stream_number(ogg: bytes) -> bytes:
    """The same ogg under stream number 0: encoders draw one at random, so that no two of their files agree."""
    pages, place = bytearray(ogg), 0
    while place < len(ogg):
        segments = ogg[place + 26]
        end = place + 27 + segments + sum(ogg[place + 27 : place + 27 + segments])
        struct.pack_into("<I", pages, place + 14, 0)
        struct.pack_into("<I", pages, place + 22, _ogg_checksum(bytes(pages[place:end])))
        place = end
    return bytes(pages)


def _joined(path: Path, parts: list[bytes]) -> io.BytesIO:
    """Chained ogg streams as one wav; libsndfile reads only the first."""
    try:
        decoded = [soundfile.read(io.BytesIO(part), dtype="float32", always_2d=True) for part in parts]
        frames = np.concatenate([frames for frames, _ in decoded])  # a ValueError if channels differ
        (rate_hz,) = {rate_hz for _, rate_hz in decoded}
    except (soundfile.LibsndfileError, ValueError) as error:
        fault = f"{len(parts)} streams, one after the other, of different rates or channels, or one not readable"
        raise ValueError(f"{label(path)}: {fault}. Convert it to wav.") from error
    joined = io.BytesIO()
    soundfile.write(joined, frames, rate_hz, "FLOAT", format="WAV")
    joined.seek(0)
    return joined


def _ogg_checksum(page: bytes) -> int:
    """The CRC of RFC 3533 through zlib's, which is its mirror image and inverts first and last."""
    blank = page[:22] + bytes(4) + page[26:]
    mirrored = zlib.crc32(blank.translate(MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
