"""Sound files in and out, log-mel spectrograms, mixing and loudness.

Conventions: a clip is a mono float32 array (n,) at 16 kHz, full scale 1.0. Mels are natural-log magnitudes
(..., frames, 64), AudioLDM's definition (Liu et al. 2023, https://arxiv.org/abs/2301.12503), so that 10.24 s
is 1024 frames. Times are in seconds, rates in Hz, levels in LUFS (ITU-R BS.1770-4).

load_clip      : file -> clip, reading only the part that is needed.
save_clip      : clip -> 16-bit file, whole or not at all.
overs_counted  : one line about all clips of a block that were over full scale, instead of a warning for each.
resampled      : a clip at another rate.
fit_length     : crop or zero-pad to n samples.
loop_to_length : crop or repeat to n samples.
mel_filters    : the 64 Slaney mel filters.
log_mel        : clips -> log-mel spectrograms (torch).
mix_at_snr     : add a background at a signal-to-noise ratio.
loudness_lufs  : integrated loudness.
match_loudness : gain to a loudness.
"""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr

from tmp_utils.files import write_bytes
from tmp_utils.inputs.containers import label, with_stream_number
from tmp_utils.inputs.sounds import mix_down, read_sound

if TYPE_CHECKING:
    import torch

RATE_HZ = 16_000
N_FFT = 1024
HOP = 160
N_MELS = 64
F_MAX_HZ = 8_000
MEL_FLOOR = 1e-5  # magnitudes are clamped here before the logarithm
CLIP_FRAMES = 1024
CLIP_S = CLIP_FRAMES * HOP / RATE_HZ  # 10.24
MIN_CLIP_S = 0.5
SILENCE_PEAK = 1e-4  # -80 dBFS: below this there is nothing to learn from
MIN_LOUDNESS_S = 0.4  # one gating block of BS.1770
CLIP_SUFFIX = ".flac"  # of clips that are scored: 16 bits as in a wav, in two thirds of the space
PLAYED_SUFFIX = ".ogg"  # of clips that are only played, in a sixth
_SUBTYPES = {".wav": "PCM_16", ".flac": "PCM_16", ".ogg": "VORBIS"}
_peaks: ContextVar[list[float] | None] = ContextVar("peaks of the clips saved in a block", default=None)


def load_clip(
    path: str | Path, rate_hz: int = RATE_HZ, start_s: float = 0.0, duration_s: float | None = None
) -> np.ndarray:
    """Read a sound file as mono at one rate.

    Parameters
    ----------
    path : a file that `sounds.read_sound` reads, at any rate. Its channels are averaged; if some are left out, a
        warning names them.
    rate_hz : rate of the result.
    start_s, duration_s : the part to read; `duration_s=None` reads to the end. A file that ends earlier gives
        a shorter clip.

    Returns
    -------
    float32 (n,) at `rate_hz`.

    Raises
    ------
    FileNotFoundError : no such file.
    ValueError : not sound, cut short, NaN in it, silent, or shorter than `MIN_CLIP_S`.
    """
    path = Path(path)
    if start_s < 0 or (duration_s is not None and duration_s <= 0):
        raise ValueError(f"{path.name}: start_s={start_s} must be >= 0 and duration_s={duration_s} must be > 0.")
    sound = read_sound(path, start_s, duration_s)
    refuse_unusable(label(path), sound.frames, sound.duration_s)
    mono, notes = mix_down(sound)
    peak = float(np.abs(mono).max())
    if peak < SILENCE_PEAK:
        raise ValueError(
            f"{label(path)}: silent (peak {peak:.1e}, expected at least {SILENCE_PEAK:.0e} after averaging its "
            "channels). Choose another part of the recording or leave this file out."
        )
    if notes := sound.notes + notes:
        warnings.warn(f"{label(path)}: {'; '.join(notes)}.", stacklevel=2)
    return resampled(mono, sound.rate_hz, rate_hz)


def refuse_unusable(name: str, frames: np.ndarray, duration_s: float) -> None:
    """Refuse frames (n, channels) that are too few or not finite.

    Raises
    ------
    ValueError : names the file and the fault.
    """
    if duration_s < MIN_CLIP_S:
        raise ValueError(
            f"{name}: {duration_s:.2f} s is too short to learn from; a clip needs at least {MIN_CLIP_S} s. "
            "Record a longer clip or leave this one out of the concept's folder."
        )
    bad = int((~np.isfinite(frames)).any(axis=1).sum())
    if bad:
        raise ValueError(f"{name}: {bad} of {len(frames)} samples are NaN or infinite. Export the file again.")


def save_clip(path: str | Path, clip: np.ndarray, rate_hz: int = RATE_HZ) -> Path:
    """Write a clip as 16-bit wav or flac, or as ogg vorbis, chosen by the suffix.

    The file appears whole or not at all; the same clip gives the same bytes. A clip that exceeds full scale is saved at
    a lower level, with a warning, rather than clipped.

    Parameters
    ----------
    clip : float (n,), finite, full scale 1.0.

    Raises
    ------
    ValueError : another suffix, not one-dimensional, empty, or not finite.
    """
    path, clip = Path(path), np.asarray(clip, dtype=np.float32)
    if path.suffix.lower() not in _SUBTYPES:
        raise ValueError(f"{path.name}: cannot write {path.suffix or 'no suffix'}; use one of {', '.join(_SUBTYPES)}.")
    if clip.ndim != 1 or clip.size == 0 or not np.isfinite(clip).all():
        raise ValueError(f"{path.name}: expected a non-empty finite clip (n,), got shape {clip.shape} or NaN in it.")
    peak = float(np.abs(clip).max())
    if (counted := _peaks.get()) is not None:
        counted.append(peak)
    if peak > 1:
        fall_db = 20 * np.log10(peak)
        if counted is None:
            warnings.warn(
                f"{path.name}: peak {peak:.2f} is over full scale; saved {fall_db:.1f} dB lower.", stacklevel=2
            )
        clip = clip / peak
    suffix, data = path.suffix.lower(), io.BytesIO()
    with soundfile.SoundFile(data, "w", rate_hz, 1, _SUBTYPES[suffix], format=suffix[1:].upper()) as sound:
        for block in np.array_split(clip, ceil(len(clip) / rate_hz)):  # vorbis overflows on one long write
            sound.write(block)
    content = data.getvalue()
    return write_bytes(path, with_stream_number(content) if suffix == ".ogg" else content)


@contextmanager
def overs_counted(report: Callable = print) -> Iterator[None]:
    """Report in one line how many clips saved in the block, or in blocks within it, were over full scale."""
    if _peaks.get() is not None:
        yield
        return
    token = _peaks.set(peaks := [])
    try:
        yield
    finally:
        _peaks.reset(token)
        if over := [peak for peak in peaks if peak > 1]:
            most_db = 20 * np.log10(max(over))
            report(f"{len(over)} of {len(peaks)} clips were over full scale; saved up to {most_db:.1f} dB lower.")


def resampled(clip: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """The clip, float32, at another rate; itself where the rates are the same."""
    return clip if from_hz == to_hz else soxr.resample(clip, from_hz, to_hz).astype(np.float32)


def fit_length(clip: np.ndarray, n: int, offset: int = 0) -> np.ndarray:
    """Take `n` samples from `offset` on, with zeros after the clip's end.

    Returns
    -------
    (..., n), of the clip's type.
    """
    part = np.asarray(clip)[..., offset : offset + n]
    return np.pad(part, [(0, 0)] * (part.ndim - 1) + [(0, n - part.shape[-1])])


def loop_to_length(clip: np.ndarray, n: int) -> np.ndarray:
    """Crop a clip to `n` samples, or repeat it from its first to its last rise through zero, so that nothing clicks.

    Returns
    -------
    (..., n), of the clip's type. A clip (its mean, in stereo) that rises through zero less than twice is repeated
        whole.
    """
    clip = np.asarray(clip)
    if clip.shape[-1] >= n:
        return clip[..., :n]
    mono = clip if clip.ndim == 1 else clip.mean(0)
    rises = np.flatnonzero((mono[:-1] < 0) & (mono[1:] >= 0)) + 1
    start, stop = (rises[0], rises[-1]) if len(rises) > 1 else (0, len(mono))
    return clip[..., np.concatenate([np.arange(stop), np.resize(np.arange(start, stop), n - stop)])]


@lru_cache
def mel_filters() -> np.ndarray:
    """The 64 triangular filters of equal area on the Slaney mel scale (Auditory Toolbox, 1998), 0-8000 Hz.

    Returns
    -------
    float32 (64, 513), read-only.
    """
    from transformers.audio_utils import mel_filter_bank  # takes half a second

    bank = mel_filter_bank(N_FFT // 2 + 1, N_MELS, 0, F_MAX_HZ, RATE_HZ, norm="slaney", mel_scale="slaney")
    filters = np.ascontiguousarray(bank.T, dtype=np.float32)
    filters.flags.writeable = False
    return filters


def log_mel(clips: "torch.Tensor") -> "torch.Tensor":
    """Log-mel spectrograms as AudioLDM defines them; differentiable, on the clips' device.

    Parameters
    ----------
    clips : float (..., n) at 16 kHz, n > 432.

    Returns
    -------
    (..., frames, 64) with frames = n // 160: natural log of the mel-weighted magnitude, clamped at 1e-5.
    """
    import torch

    pad = (N_FFT - HOP) // 2
    if clips.shape[-1] <= pad:
        raise ValueError(f"log_mel: {clips.shape[-1]} samples; at least {pad + 1} are needed to reflect the edges.")
    flat = clips.reshape(-1, 1, clips.shape[-1])
    padded = torch.nn.functional.pad(flat, (pad, pad), mode="reflect")[:, 0]
    window = torch.hann_window(N_FFT, device=clips.device, dtype=clips.dtype)
    spectrum = torch.stft(padded, N_FFT, HOP, window=window, center=False, return_complex=True).abs()
    filters = torch.tensor(mel_filters(), device=clips.device, dtype=clips.dtype)
    mel = (filters @ spectrum).clamp(min=MEL_FLOOR).log().transpose(-1, -2)
    return mel.reshape(*clips.shape[:-1], *mel.shape[-2:])


def mix_at_snr(signal: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Add `noise`, repeated or cropped to the signal's length, at a signal-to-noise ratio of mean powers.

    Returns
    -------
    float32 of the signal's shape (..., n); the signal in it is unchanged, and the noise is the same on every channel.

    Raises
    ------
    ValueError : the noise is silent.
    """
    signal = np.asarray(signal, dtype=np.float32)
    noise = np.broadcast_to(np.resize(np.asarray(noise, dtype=np.float32), signal.shape[-1]), signal.shape)
    noise_power = np.mean(noise.astype(np.float64) ** 2)
    if noise_power == 0:
        raise ValueError("mix_at_snr: the background is silent, so no gain gives it a level. Choose another.")
    gain = np.sqrt(np.mean(signal.astype(np.float64) ** 2) / noise_power / 10 ** (snr_db / 10))
    return signal + np.float32(gain) * noise


def loudness_lufs(clip: np.ndarray, rate_hz: int = RATE_HZ) -> float:
    """Integrated loudness by ITU-R BS.1770-4; NaN where it is undefined (silence, or under 0.4 s)."""
    if len(clip) < MIN_LOUDNESS_S * rate_hz or np.abs(clip).max() < SILENCE_PEAK:
        return float("nan")
    import pyloudnorm

    level_lufs = float(pyloudnorm.Meter(rate_hz).integrated_loudness(np.asarray(clip, dtype=np.float64)))
    return level_lufs if np.isfinite(level_lufs) else float("nan")


def match_loudness(clip: np.ndarray, level_lufs: float) -> np.ndarray:
    """Scale a clip to an integrated loudness; its peaks may then exceed 1.

    Raises
    ------
    ValueError : the clip is silent or under 0.4 s, so that it has no loudness.
    """
    now_lufs = loudness_lufs(clip)
    if np.isnan(now_lufs):
        raise ValueError(
            f"match_loudness: {len(clip) / RATE_HZ:.2f} s with peak {np.abs(clip).max(initial=0):.1e} has no "
            "loudness; a clip must last 0.4 s and sound. Leave it out of the comparison."
        )
    return np.asarray(clip, dtype=np.float32) * np.float32(10 ** ((level_lufs - now_lufs) / 20))
