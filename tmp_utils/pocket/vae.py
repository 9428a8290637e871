"""The pocket VAE: log-mels to latents and back.

Conventions: log-mels (batch, 1, frames, 64) in natural log; latents (batch, 16, frames/8, 8), unscaled. Trained on
2.56 s crops with an L1 reconstruction loss and a small Kullback-Leibler term; applied at any length.
"""

from pathlib import Path

import numpy as np
import torch

from tmp_utils.inputs.audio import CLIP_FRAMES, N_MELS, log_mel
from tmp_utils.pocket import architecture
from tmp_utils.pocket.arrays import cached_rows, random_crops
from tmp_utils.pocket.corpus import Corpus
from tmp_utils.pocket.training import descend

CROP_FRAMES, BATCH_SIZE, HIGHEST_LR, KL_WEIGHT = 256, 8, 2e-3, 2e-3
GAIN_RANGE = 1.5  # natural log units: crops are up to 13 dB louder or softer than their clip
FLOOR = float(np.log(1e-5))


def mels(corpus: Corpus, cache: Path) -> np.ndarray:
    """Return the log-mels of every clip: float16 (n_clips, 1024, 64), memory-mapped from ``cache``."""

    def compute(batch: range) -> np.ndarray:
        return log_mel(torch.from_numpy(np.stack([corpus.clip(k) for k in batch]))).numpy()

    return cached_rows(cache, (len(corpus.table), CLIP_FRAMES, N_MELS), compute, batch_size=32)


def _standardise(vae, mean: float, std: float) -> None:
    """Set the first and last layer so that inputs are standardised and outputs have the data's mean and spread."""
    with torch.no_grad():
        first, last = vae.encoder.conv_in, vae.decoder.conv_out
        first.weight /= std
        first.bias -= mean * first.weight.sum(dim=(1, 2, 3))
        last.weight *= std
        last.bias += mean


class VaeStage:
    """Reconstruction of mel crops."""

    name, validate_every = "vae", 100

    def __init__(self, train_mels: np.ndarray, held_mels: np.ndarray, seed: int):
        torch.manual_seed(seed)
        self.train_mels, self.held_mels = train_mels, held_mels
        self.vae = architecture.build_vae()
        sample = np.asarray(train_mels[:64], np.float32)
        _standardise(self.vae, float(sample.mean()), float(sample.std()))
        self.modules = {"vae": self.vae}
        self.optimizers = {
            "vae": (torch.optim.AdamW(self.vae.parameters(), weight_decay=1e-4, betas=(0.9, 0.99)), HIGHEST_LR)
        }

    def step(self, generator: torch.Generator) -> dict[str, float]:
        """One batch of crops, each at a random level."""
        _, crops = random_crops(self.train_mels, BATCH_SIZE, CROP_FRAMES, generator)
        gains = GAIN_RANGE * (2 * torch.rand(BATCH_SIZE, 1, 1, generator=generator) - 1)
        crops = (crops + gains).clamp(min=FLOOR)[:, None]
        posterior = self.vae.encode(crops).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator)
        decoded = self.vae.decode(posterior.mean + posterior.std * noise).sample
        l1 = (decoded - crops).abs().mean()
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        descend(self.optimizers["vae"][0], l1 + KL_WEIGHT * kl)
        return {"l1": l1.item(), "kl": kl.item()}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean absolute error of held-out crops, through the posterior mean."""
        _, crops = random_crops(self.held_mels, 48, CROP_FRAMES, torch.Generator().manual_seed(0))
        crops = crops[:, None]
        decoded = self.vae.decode(self.vae.encode(crops).latent_dist.mean).sample
        return {"l1": (decoded - crops).abs().mean().item()}


def moments(vae, all_mels: np.ndarray, cache: Path) -> np.ndarray:
    """Return the posterior mean and standard deviation of every clip: float16 (n, 128, 2, 16, 8), memory-mapped.

    Axes: clips, frames/8, mean and standard deviation, channels, mels/8. Time comes second so that ``random_crops``
    can cut along it.
    """

    @torch.no_grad()
    def compute(batch: range) -> np.ndarray:
        posterior = vae.encode(torch.from_numpy(np.asarray(all_mels[batch.start : batch.stop], np.float32))[:, None])
        posterior = posterior.latent_dist
        return torch.stack([posterior.mean, posterior.std], 1).permute(0, 3, 1, 2, 4).numpy()

    shape = (len(all_mels), CLIP_FRAMES // 8, 2, architecture.LATENT_CHANNELS, N_MELS // 8)
    return cached_rows(cache, shape, compute, batch_size=8)


def latent_scale(all_moments: np.ndarray) -> float:
    """AudioLDM's ``scaling_factor``, 1 / standard deviation of sampled latents, for diffusion at unit variance."""
    sample = np.asarray(all_moments[:512], np.float32)
    return float(1 / np.sqrt(sample[:, :, 0].var() + (sample[:, :, 1] ** 2).mean()))
