"""A vocoder without trained weights: log-mel spectrograms to clips by Griffin-Lim.

Conventions: mels are `audio.log_mel`'s, (batch, frames, 64); clips are (batch, frames * 160). Fast
Griffin-Lim (Perraudin, Balazs and Sondergaard 2013, https://doi.org/10.1109/WASPAA.2013.6701851) on the same
frames as `log_mel`, reflected edges included, so that log_mel(vocoder(mel)) comes back close to mel.
"""

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

from tmp_utils.inputs.audio import HOP, MEL_FLOOR, N_FFT, N_MELS, RATE_HZ, mel_filters

N_ITER = 16  # drum breaks come back within 0.098 (8), 0.088 (16), 0.083 (32) nepers of their mel
MOMENTUM = 0.99
N_REFINE = 10  # multiplicative updates of the magnitudes
EDGE = (N_FFT - HOP) // 2  # reflected samples on either side


class GriffinLimVocoder(nn.Module):
    """Clips from log-mels, with phases found by iteration.

    Parameters
    ----------
    n_iter : iterations; more of them sound slightly cleaner and take longer.
    seed : of the initial phases, which are the same for every clip of a batch.
    """

    def __init__(self, n_iter: int = N_ITER, seed: int = 0):
        super().__init__()
        self.n_iter, self.seed = n_iter, seed
        # A pipeline reads these values; the product of upsample_rates is the hop.
        self.config = SimpleNamespace(model_in_dim=N_MELS, sampling_rate=RATE_HZ, upsample_rates=[HOP])
        self.register_buffer("filters", torch.tensor(mel_filters()), persistent=False)
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)

    # A pipeline reads these of each part.
    device = property(lambda self: self.window.device)
    dtype = property(lambda self: self.window.dtype)

    @torch.no_grad()
    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        """Clips (b, frames * 160), or (frames * 160,) for one mel without a batch."""
        if mel.ndim == 2:
            return self(mel[None])[0]
        return self.with_phases(self.magnitudes(mel))

    def with_phases(self, magnitude: torch.Tensor) -> torch.Tensor:
        """Clips (b, frames * 160) of STFT magnitudes (b, frames, 513), one at a time, as a processor's cache holds."""
        return torch.cat([self._with_phases(each) for each in magnitude.split(1)])

    def _with_phases(self, magnitude: torch.Tensor) -> torch.Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        turns = torch.rand(magnitude.shape[1:], generator=generator).to(magnitude)
        spectrum = torch.polar(magnitude, (2 * torch.pi * turns).expand_as(magnitude))
        cover = _overlap_add(self.window.square().expand(1, magnitude.shape[1], -1))
        before = None
        for _ in range(self.n_iter):
            consistent = self.analyse(self._synthesise(spectrum) / cover)
            ahead = consistent if before is None else torch.lerp(before, consistent, 1 + MOMENTUM)
            spectrum, before = ahead * (magnitude / ahead.abs().clamp_(min=1e-12)), consistent
        return self._synthesise(spectrum) / cover

    def magnitudes(self, mel: torch.Tensor) -> torch.Tensor:
        """STFT magnitudes (b, frames, 513) >= 0 whose mel spectrum is nearest to a log-mel (b, frames, 64).

        The pseudo-inverse of the filters, clipped at 0, then multiplicative updates, which cannot go below 0 (Lee and
        Seung 2001). A mel at the clamp floor counts as silence, exactly 0.
        """
        target, filters = mel.float().exp(), self.filters
        target = torch.where(target > MEL_FLOOR * 1.001, target, 0)
        magnitudes = (target @ torch.linalg.pinv(filters).T).clamp(min=1e-8)
        pulled = target @ filters
        for _ in range(N_REFINE):
            magnitudes = magnitudes * (pulled / (magnitudes @ filters.T @ filters).clamp_(min=1e-12))
        return magnitudes

    def analyse(self, clips: torch.Tensor) -> torch.Tensor:
        """The STFT (b, frames, 513), complex, of clips (b, frames * 160)."""
        padded = F.pad(clips[:, None], (EDGE, EDGE), mode="reflect")[:, 0]
        return torch.fft.rfft(padded.unfold(1, N_FFT, HOP) * self.window)

    def _synthesise(self, spectrum: torch.Tensor) -> torch.Tensor:
        return _overlap_add(torch.fft.irfft(spectrum, n=N_FFT) * self.window)


def _overlap_add(frames: torch.Tensor) -> torch.Tensor:
    """(b, frames, 1024) -> (b, n), less the reflected samples at the edges, which few frames cover.

    Frames are cut into hops, and the k-th hops of all frames added at once, k places on.
    """
    batch, n_frames, _ = frames.shape
    hops = -(-N_FFT // HOP)
    parts = F.pad(frames, (0, hops * HOP - N_FFT)).view(batch, n_frames, hops, HOP)
    added = frames.new_zeros(batch, n_frames + hops - 1, HOP)
    for k in range(hops):
        added[:, k : k + n_frames] += parts[:, :, k]
    n = (n_frames - 1) * HOP + N_FFT
    return added.view(batch, -1)[:, EDGE : n - EDGE]
