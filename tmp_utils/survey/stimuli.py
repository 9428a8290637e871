"""The sounds of a questionnaire: clips made to sound alike, and the foils of its catch trials.

Conventions: clips are mono float32 (n,) at 16 kHz. Those of a question last equally long, have the same fades, and are
at `LEVEL_LUFS` (EBU R 128); where one would clip there, all of the question are lowered together.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile

from tmp_utils.inputs.audio import CLIP_S, RATE_HZ, match_loudness

LEVEL_LUFS = -23.0
PEAK = 0.98  # the highest sample that any clip of a questionnaire may have
FADE_S = 0.02


def alike(clips: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], float]:
    """Make the clips of a question alike.

    Parameters
    ----------
    clips : "first", "second" and perhaps "reference".

    Returns
    -------
    The same at one level, faded, none longer than the shorter of the two; and the level in LUFS.

    Raises
    ------
    ValueError : one is silent.
    """
    n, level_lufs = min(len(clips["first"]), len(clips["second"])), LEVEL_LUFS
    made = {role: match_loudness(_faded(clip[:n]), level_lufs) for role, clip in clips.items()}
    peak = max(float(np.abs(clip).max()) for clip in made.values())
    if peak > PEAK:
        level_lufs += 20 * np.log10(PEAK / peak)
        made = {role: clip * np.float32(PEAK / peak) for role, clip in made.items()}
    return made, level_lufs


def as_wav(path: Path) -> bytes:
    """The same samples as a wav, in which a byte is always as long as another: so the bytes that were sent tell how
    much could be heard, and any browser plays it.
    """
    samples, rate_hz = soundfile.read(path, dtype="int16")
    wav = io.BytesIO()
    soundfile.write(wav, samples, rate_hz, format="WAV", subtype="PCM_16")
    return wav.getvalue()


def pink_noise(seed: int) -> np.ndarray:
    """float32 (163840,): noise with equal power in every octave."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=round(CLIP_S * RATE_HZ)))
    clip = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)))
    return (0.1 * clip / np.abs(clip).max()).astype(np.float32)


def _faded(clip: np.ndarray) -> np.ndarray:
    ramp = np.sin(np.linspace(0, np.pi / 2, round(FADE_S * RATE_HZ), dtype=np.float32)) ** 2
    clip = clip.copy()
    clip[: len(ramp)] *= ramp
    clip[-len(ramp) :] *= ramp[::-1]
    return clip
