"""Whether a sound file is all there: libsndfile quietly reads what is left of one that was cut short.

refuse_cut_wav : a wav that promises more samples than its file has bytes for is an error.
cut_message    : how that is said, for other formats too.
"""

import os
import struct
from pathlib import Path

UNKNOWN_LENGTHS = (0, 0xFFFFFFFF)  # what a wav written to a pipe says of its own length


def refuse_cut_wav(path: Path) -> None:
    """Compare a wav's promised data with the bytes that are there; files of other kinds pass.

    Raises
    ------
    ValueError : the file is cut short; the message gives the seconds there are and were promised.
    """
    with path.open("rb") as file:
        riff = file.read(12)
        if riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
            return
        file_bytes, bytes_per_s = path.stat().st_size, 0
        while len(header := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", header)
            if name == b"fmt ":
                bytes_per_s = struct.unpack("<I", file.read(size)[8:12].ljust(4, b"\0"))[0]
            elif name == b"data":
                present = file_bytes - file.tell()
                if size not in UNKNOWN_LENGTHS and present < size and bytes_per_s:
                    raise ValueError(cut_message(path, present / bytes_per_s, size / bytes_per_s))
                return
            else:
                file.seek(size, os.SEEK_CUR)
            file.seek(size % 2, os.SEEK_CUR)
    raise ValueError(f"{path.name}: cut short before its samples begin. Copy or download it again.")


def cut_message(path: Path, present_s: float, promised_s: float) -> str:
    """What to say of a file that holds `present_s` seconds and promises `promised_s`."""
    return (
        f"{path.name}: cut short; it holds {present_s:.2f} s of the {promised_s:.2f} s its header promises. "
        "Copy or download it again."
    )
