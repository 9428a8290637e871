"""Training of the network in `model.spectrum`: from the latents of a clip to its STFT magnitudes.

The VAE is finished before, so the denoiser, which knows its latents, needs no new training.

Conventions: clips (n, 163840) at 16 kHz; moments (n, 128, 2, 16, 8) as in `vae.moments`; magnitudes (b, frames, 513) of
the STFT in `audio.log_mel`. Moments are computed once, of whole clips, because the VAE's group norms see a crop
differently. Latents are drawn around the posterior mean with up to one standard deviation of noise.
"""

import copy
import math
from pathlib import Path

import numpy as np
import soxr
import torch
import torch.nn.functional as F

from tmp_utils.inputs.audio import CLIP_FRAMES, HOP, N_FFT, N_MELS, RATE_HZ, log_mel, loudness_lufs
from tmp_utils.model.griffin_lim import EDGE
from tmp_utils.model.spectrum import N_BINS, STRIDE, SpectrumNet, SpectrumVocoder
from tmp_utils.pocket.arrays import cached_rows
from tmp_utils.pocket.assemble import of_latents
from tmp_utils.pocket.corpus import CLIP_SAMPLES, Corpus
from tmp_utils.pocket.training import descend, ema_update
from tmp_utils.pocket.vae import moments

CROP_FRAMES, BATCH_SIZE, HIGHEST_LR, EMA_DECAY = 256, 5, 1e-3, 0.9985
GAIN_RANGE, SPEED_RANGE = 1.5, 0.06  # natural log units, 13 dB; one in two clips is played up to 6 % slower or faster
LOW_BINS = 192  # up to 3 kHz
POOLED_FRAMES = 16
FLOOR = 1e-3  # magnitude
WEIGHTS = {"logarithm": 0.7, "relative": 1.0, "frame": 1.5, "contrast": 0.5, "loud": 0.5, "pooled": 0.7, "energy": 0.4}


def varied_clip(corpus: Corpus, k: int, seed: int | None) -> np.ndarray:
    """Clip k of the corpus (its clips repeat) at a random level and speed, which depend on seed and k; as it is
    without a seed."""
    clip = corpus.clip(k % len(corpus.table))
    if seed is None:
        return clip
    rng = np.random.default_rng([seed, k])
    gain = np.exp(rng.uniform(-GAIN_RANGE, GAIN_RANGE))
    speed = rng.choice([1.0, rng.uniform(1 - SPEED_RANGE, 1 + SPEED_RANGE)])
    if speed != 1:
        clip = np.resize(soxr.resample(clip, RATE_HZ, RATE_HZ * speed), clip.shape)  # a shorter one begins again
    return (gain * clip).astype(np.float32)


def training_pairs(corpus: Corpus, vae, n: int, seed: int | None, cache: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return n varied clips, float16 (n, 163840), and their moments, memory-mapped from ``cache``."""

    def clips(batch: range) -> np.ndarray:
        return np.stack([varied_clip(corpus, k, seed) for k in batch])

    def mels(batch: range) -> np.ndarray:
        return log_mel(torch.from_numpy(waves[batch.start : batch.stop].astype(np.float32))).numpy()

    waves = cached_rows(cache / "clips", (n, CLIP_SAMPLES), clips, batch_size=8)
    all_mels = cached_rows(cache / "mels", (n, CLIP_FRAMES, N_MELS), mels, batch_size=8)
    return waves, moments(vae, all_mels, cache / "moments")


def _relative(real: torch.Tensor, loudest: torch.Tensor) -> torch.Tensor:
    """Weights with mean 1 that rise with the square root of a magnitude, relative to the peak of its frame."""
    weights = (real / (real.amax(-1, keepdim=True) + 0.01 * loudest + FLOOR)).sqrt() + 0.03
    return weights / weights.mean((1, 2), keepdim=True)


def losses(log_made: torch.Tensor, real: torch.Tensor, bin_weights: torch.Tensor) -> dict[str, torch.Tensor]:
    """Distances of magnitudes, by name; all are 0 for the real ones.

    ``logarithm``, ``relative``: L1 of logarithms, and of magnitudes over the sum of the real ones. Below 3 kHz, where
    the key is heard: ``frame``, L2 over that of the frame; ``loud``, L1 of logarithms where a frame is loud;
    ``contrast``, the same of differences between neighbouring bins and frames, so that peaks stay peaks; ``pooled``,
    L1 of the root mean square over 16 frames. ``energy``: of each crop, in natural log units.

    Parameters
    ----------
    log_made, real : (batch, frames, 513), natural log of the magnitudes; magnitudes.
    bin_weights : (513,), mean 1.
    """
    log_made = log_made.clamp(max=8)
    made, loudest = log_made.exp(), real.amax((1, 2), keepdim=True)
    floor = 1e-3 * loudest + FLOOR
    log_error = (made + floor).log() - (real + floor).log()
    error = made - real
    low, low_log_error = real[..., :LOW_BINS], log_error[..., :LOW_BINS]
    weights = _relative(low, loudest)
    across = low_log_error.diff(dim=-1).abs() * (weights[..., 1:] + weights[..., :-1]) / 2
    along = low_log_error.diff(dim=1).abs() * weights[:, 1:]
    frames = torch.linalg.vector_norm(low, dim=-1) + 0.03 * loudest[..., 0] + FLOOR
    pooled = [
        (F.avg_pool1d(x.transpose(1, 2).square(), POOLED_FRAMES, POOLED_FRAMES // 2) + 1e-6).sqrt()
        for x in (made[..., :LOW_BINS], low)
    ]
    sums = pooled[1].sum(1) + 0.03 * math.sqrt(LOW_BINS) * loudest[..., 0]
    energies = [(x.square().sum(-1).mean(1) + 1e-2).log() for x in (made, real)]
    return {
        "logarithm": (log_error.abs() * bin_weights).mean(),
        "relative": ((error.abs() * bin_weights).sum((1, 2)) / (real * bin_weights).sum((1, 2)).clamp(min=1)).mean(),
        "frame": (torch.linalg.vector_norm(error[..., :LOW_BINS], dim=-1) / frames).mean(),
        "contrast": across.mean() + along.mean() / 2,
        "loud": (low_log_error.abs() * weights).mean(),
        "pooled": ((pooled[0] - pooled[1]).abs().sum(1) / sums).mean(),
        "energy": (energies[0] - energies[1]).abs().mean(),
    }


class SpectrumStage:
    """Training of the network, with a moving average of it.

    Parameters
    ----------
    train, held_out : pairs from ``training_pairs``.
    """

    name, validate_every = "spectrum", 500

    def __init__(self, train: tuple[np.ndarray, np.ndarray], held_out: tuple[np.ndarray, np.ndarray], seed: int):
        torch.manual_seed(seed)
        self.train, self.held_out = train, held_out
        bin_weights = 1 / (1 + torch.linspace(0, RATE_HZ / 2, N_BINS) / 1000)  # fall like the resolution of the ear
        self.bin_weights, self.window = bin_weights / bin_weights.mean(), torch.hann_window(N_FFT)
        self.net = SpectrumNet()
        real = self._crops(train, 40, torch.Generator().manual_seed(seed))[-1]
        self.net.mean.copy_((real + FLOOR).log().mean((0, 1)))
        self.average = copy.deepcopy(self.net).requires_grad_(False)
        self.modules = {"net": self.net, "average": self.average}
        adamw = torch.optim.AdamW(self.net.parameters(), betas=(0.9, 0.99), weight_decay=1e-3)
        self.optimizers = {"net": (adamw, HIGHEST_LR)}

    def _crops(self, pairs, n: int, generator, noise: bool = False) -> tuple[torch.Tensor, ...]:
        """Latents (n, 16, 32, 8), those of their whole clips (n, 16, 128, 8), and magnitudes (n, 256, 513), without
        the frames at a clip's reflected edges."""
        waves, all_moments = pairs
        length = CROP_FRAMES // STRIDE
        rows = torch.randint(len(waves), (n,), generator=generator).tolist()
        starts = torch.randint(1, all_moments.shape[1] - length, (n,), generator=generator).tolist()
        mean, std = torch.from_numpy(all_moments[rows].astype(np.float32)).permute(2, 0, 3, 1, 4)
        latents = torch.stack([row[:, s : s + length] for row, s in zip(mean, starts, strict=True)])
        if noise:
            std = torch.stack([row[:, s : s + length] for row, s in zip(std, starts, strict=True)])
            share = torch.rand(n, 1, 1, 1, generator=generator)
            latents = latents + share * std * torch.randn(std.shape, generator=generator)
        step = STRIDE * HOP
        places = zip(rows, starts, strict=True)
        crops = np.stack([waves[k, s * step - EDGE : (s + length) * step + EDGE] for k, s in places])
        frames = torch.from_numpy(crops.astype(np.float32)).unfold(1, N_FFT, HOP)
        return latents, mean, torch.fft.rfft(frames * self.window).abs()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """The losses of the averaged weights on held-out crops, from posterior means."""
        latents, whole, real = self._crops(self.held_out, 24, torch.Generator().manual_seed(0))
        log_made = self.average.head(self.average.hidden(latents, whole))
        return {name: loss.item() for name, loss in losses(log_made, real, self.bin_weights).items()}

    def step(self, generator: torch.Generator) -> dict[str, float]:
        """One batch of crops."""
        latents, whole, real = self._crops(self.train, BATCH_SIZE, generator, noise=True)
        with torch.autocast("cpu", torch.bfloat16):
            hidden = self.net.hidden(latents, whole)
        terms = losses(self.net.head(hidden.float()), real, self.bin_weights)
        descend(self.optimizers["net"][0], sum(WEIGHTS[name] * loss for name, loss in terms.items()))
        ema_update(self.average, self.net, EMA_DECAY)
        return {name: loss.item() for name, loss in terms.items()}


@torch.no_grad()
def calibrate_level(net: SpectrumNet, vae, clips: np.ndarray) -> float:
    """Set the network's gain so that clips through VAE and vocoder keep their level on average.

    Losses of logarithms favour medians, which lie below means, so an uncalibrated codec is too quiet.

    Parameters
    ----------
    clips : (n_clips, n) of the training corpus.

    Returns
    -------
    The gain in dB.
    """
    net.gain.zero_()
    made, differences_lu = of_latents(SpectrumVocoder(net), vae), []
    for clip in clips:
        latents = vae.encode(log_mel(torch.from_numpy(clip)[None])[:, None]).latent_dist.mean
        differences_lu.append(loudness_lufs(clip) - loudness_lufs(made(latents)[0].numpy()))
    correction_db = float(np.nanmean(differences_lu))
    net.gain.fill_(correction_db * math.log(10) / 20)
    return correction_db
