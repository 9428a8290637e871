"""Sound files with odd headers, for the tests that read them."""

import struct
import subprocess

import numpy as np

RATE_HZ = 16_000
TONE = (0.3 * np.sin(np.arange(3 * RATE_HZ) / 5)).astype("float32")
NOISE = np.random.default_rng(0).uniform(-0.4, 0.4, 3 * RATE_HZ).astype("float32")


def wav(path, samples=NOISE, data_bytes=None, rate_hz=RATE_HZ, bytes_per_s=None, before=b"", after=b""):
    """Write a 16-bit wav with any header."""
    data = (samples * 32767).astype("<i2").tobytes()
    bytes_per_s = 2 * rate_hz if bytes_per_s is None else bytes_per_s
    fmt = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, rate_hz, bytes_per_s, 2, 16)
    size = len(data) if data_bytes is None else data_bytes
    body = b"WAVE" + fmt + before + b"data" + struct.pack("<I", size) + data + after
    path.write_bytes(b"RIFF" + struct.pack("<I", min(len(body), 0xFFFFFFFF)) + body)
    return path


def convert(source, path, *options):
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", source, *options, path], check=True)
    return path


def cut(path, share):
    path.write_bytes(path.read_bytes()[: round(share * path.stat().st_size)])
    return path


def level(frames):
    return float(np.sqrt(np.mean(np.square(frames))))
