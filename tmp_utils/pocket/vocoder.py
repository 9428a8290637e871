"""The pocket vocoder: a small HiFi-GAN generator from log-mels to sound.

Conventions: log-mels (batch, frames, 64), waveforms (batch, frames x 160). Trained on 0.64 s crops with the
multi-resolution STFT loss (Yamamoto et al. 2020) and a log-mel L1. ``assemble`` compares it with Griffin-Lim on
held-out clips and records which of the two the pocket model uses.
"""

import numpy as np
import torch
import torch.nn.functional as F

from tmp_utils.inputs.audio import HOP, log_mel
from tmp_utils.pocket import architecture
from tmp_utils.pocket.corpus import Corpus
from tmp_utils.pocket.training import descend

CROP_FRAMES, BATCH_SIZE, HIGHEST_LR, MEL_WEIGHT = 64, 8, 2e-3, 1.0
RESOLUTIONS = ((512, 128), (1024, 256), (2048, 512))  # FFT length and hop, samples


def stft_loss(made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Multi-resolution STFT loss of waveforms (batch, n)."""
    total = made.new_zeros(())
    for n_fft, hop in RESOLUTIONS:
        window = torch.hann_window(n_fft)
        a, b = (
            torch.stft(x, n_fft, hop, window=window, return_complex=True).abs().clamp(min=1e-5) for x in (made, real)
        )
        convergence = torch.linalg.norm(b - a) / torch.linalg.norm(b).clamp(min=1e-3)
        total = total + convergence + F.l1_loss(a.log(), b.log())
    return total / len(RESOLUTIONS)


class VocoderStage:
    """Training on the mels of the corpus."""

    name, validate_every = "vocoder", 100

    def __init__(self, train: Corpus, held_out: Corpus, seed: int):
        torch.manual_seed(seed)
        self.train, self.held_out = train, held_out
        self.vocoder = architecture.build_vocoder()
        self.modules = {"vocoder": self.vocoder}
        adamw = torch.optim.AdamW(self.vocoder.parameters(), betas=(0.8, 0.99), weight_decay=1e-4)
        self.optimizers = {"vocoder": (adamw, HIGHEST_LR)}

    def _crops(self, corpus: Corpus, n: int, generator) -> torch.Tensor:
        length = CROP_FRAMES * HOP
        clips = torch.randint(len(corpus.table), (n,), generator=generator).tolist()
        starts = torch.randint(corpus.clips.shape[1] - length, (n,), generator=generator).tolist()
        crops = np.stack([corpus.clips[c, s : s + length] for c, s in zip(clips, starts, strict=True)])
        return torch.from_numpy(crops.astype(np.float32) / 32768.0)

    def _losses(self, real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mel = log_mel(real)
        made = self.vocoder(mel)[:, : real.shape[1]]
        return stft_loss(made, real), F.l1_loss(log_mel(made), mel)

    def step(self, generator: torch.Generator) -> dict[str, float]:
        """One batch of crops."""
        spectral, mel = self._losses(self._crops(self.train, BATCH_SIZE, generator))
        descend(self.optimizers["vocoder"][0], spectral + MEL_WEIGHT * mel, max_grad_norm=10.0)
        return {"stft": spectral.item(), "mel_l1": mel.item()}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Losses on held-out crops."""
        spectral, mel = self._losses(self._crops(self.held_out, 64, torch.Generator().manual_seed(0)))
        return {"stft": spectral.item(), "mel_l1": mel.item()}
