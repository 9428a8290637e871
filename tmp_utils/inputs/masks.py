"""Masks: how much of each mel bin belongs to which of several sounds.

Conventions: mels are natural-log magnitudes (frames, 64), as `audio.log_mel` makes them. Masks are (k, frames, 64) for
k sounds, each in [0, 1]; they sum to one in every bin, so that the masked magnitudes sum to the mixture's. That
magnitudes add up is an approximation: two sounds in one bin may also cancel.
"""

import numpy as np
import torch

from tmp_utils.inputs.audio import HOP, MEL_FLOOR, N_FFT, mel_filters


def shares(mels: torch.Tensor) -> torch.Tensor:
    """Masks (k, frames, 64) of log-mels (k, frames, 64): m_i = Y_i / (Y_1 + ... + Y_k) of magnitudes Y = exp(mel).

    Of the stems' mels these are the ideal ratio masks (Narayanan and Wang 2013,
    https://doi.org/10.1109/ICASSP.2013.6639038).
    """
    return torch.softmax(mels, 0)


def masked_mels(mel: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Log-mels (k, frames, 64) of the parts of a mixture (frames, 64), not below the floor of every log-mel."""
    return (mel + masks.clamp(min=MEL_FLOOR**2).log()).clamp(min=np.log(MEL_FLOOR))


def masked_clip(clip: np.ndarray, mask: torch.Tensor) -> np.ndarray:
    """The part of a clip (n,) under a mask (frames, 64), n = 160 frames; float32 (n,).

    Each frequency of the short-time spectrum is weighted by the mask of the mel bins that it is in, and keeps the
    mixture's phase. A mask of ones gives the clip back.
    """
    pad, window = (N_FFT - HOP) // 2, torch.hann_window(N_FFT, dtype=torch.float64)
    padded = np.pad(np.asarray(clip, dtype=np.float64), pad, mode="reflect")
    frames = torch.from_numpy(padded).unfold(0, N_FFT, HOP) * window
    if len(frames) != len(mask):
        raise ValueError(f"{len(clip)} samples have {len(frames)} frames, and the mask {len(mask)}. Cut them alike.")
    parts = torch.fft.irfft(torch.fft.rfft(frames) * _by_frequency(mask), N_FFT) * window
    flat = torch.stack([parts, (window**2).expand_as(parts)]).transpose(1, 2)
    summed, weights = torch.nn.functional.fold(flat, (1, len(padded)), (1, N_FFT), stride=(1, HOP))[:, 0, 0]
    return (summed / weights)[pad : pad + len(clip)].float().numpy()


def _by_frequency(mask: torch.Tensor) -> torch.Tensor:
    """A mask (frames, 513) of frequencies: the mean of the mel bins that each is in, weighted by their filters.

    Frequencies below the first filter and above the last have the mask of the nearest that is in one.
    """
    filters = torch.tensor(mel_filters(), dtype=torch.float64)
    total = filters.sum(0)
    inside = torch.nonzero(total > 0)[:, 0]
    nearest = torch.arange(len(total)).clamp(inside[0], inside[-1])
    return (mask.double() @ filters / total.clamp(min=1e-12))[:, nearest]
