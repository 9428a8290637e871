"""Training of the vocoder in `model.spectrum`, together with the decoder of the VAE.

The network learns magnitudes from mels; the decoder learns to write mels from which they can be recovered. The encoder
is frozen, so the latents stay the same and the denoiser needs no new training.

Conventions: log-mels (batch, frames, 64), natural log; magnitudes (batch, frames, 513) of the STFT in `audio.log_mel`.
Crops are 1.28 s at random levels. Latents are drawn around the posterior mean with up to one standard deviation of
noise. A few true mels are in every batch.

spectral_loss : distance of magnitudes.
mel_loss      : distance of mels, weighted by loudness.
SpectrumStage : training.
calibrate_level : makes the codec as loud as its input.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import torch

from tmp_utils.inputs.audio import HOP, RATE_HZ, log_mel, loudness_lufs
from tmp_utils.model.griffin_lim import GriffinLimVocoder
from tmp_utils.model.spectrum import MAGNITUDE_FLOOR, N_BINS, SpectrumNet, SpectrumVocoder
from tmp_utils.pocket.corpus import Corpus
from tmp_utils.pocket.training import ema_update

CROP_FRAMES, BATCH_SIZE, N_TRUE = 128, 5, 1
HIGHEST_LR, DECODER_LR, EMA_DECAY = 1e-3, 7e-4, 0.997
GAIN_RANGE = 1.5  # natural log units: crops are up to 13 dB louder or softer than their clip
LOW_BINS = 192  # up to 3 kHz
FRAME_WEIGHT, TRUE_WEIGHT, MEL_WEIGHT, ENERGY_WEIGHT = 1.5, 0.15, 1.2, 0.15


def _bin_weights() -> torch.Tensor:
    """Weights (513,) with mean 1 that fall with frequency, like the resolution of the ear."""
    weights = 1 / (1 + torch.linspace(0, RATE_HZ / 2, N_BINS) / 1000)
    return weights / weights.mean()


def spectral_loss(log_made: torch.Tensor, real: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Distance of magnitudes: L1 of logarithms, relative L1, and relative L2 of each frame below 3 kHz.

    Parameters
    ----------
    log_made, real : (batch, frames, 513), natural log of the magnitudes; magnitudes.
    weights : (513,)
    """
    made = log_made.clamp(max=8).exp()
    loudest = real.amax((1, 2), keepdim=True)
    floor = 1e-3 * loudest + MAGNITUDE_FLOOR
    logarithmic = (((made + floor).log() - (real + floor).log()).abs() * weights).mean()
    error = ((made - real).abs() * weights).sum((1, 2))
    relative = (error / (real * weights).sum((1, 2)).clamp(min=1.0)).mean()
    low = torch.linalg.vector_norm((made - real)[..., :LOW_BINS], dim=-1)
    frames = low / (torch.linalg.vector_norm(real[..., :LOW_BINS], dim=-1) + 0.03 * loudest[..., 0])
    return logarithmic + relative + FRAME_WEIGHT * frames.mean()


def mel_loss(made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of log-mels (b, frames, 64), in which loud bands count up to four times as much."""
    weights = (0.4 * (real - real.amax((1, 2), keepdim=True))).exp().clamp(min=0.03)
    return ((made - real).abs() * (weights / weights.mean() + 0.3) / 1.3).mean()


def energy_error(log_made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of the clips' energies, natural log units."""
    energies = (x.square().sum(-1).mean(1) + 1e-2 for x in (log_made.clamp(max=8).exp(), real))
    made, wanted = (energy.log() for energy in energies)
    return (made - wanted).abs().mean()


class SpectrumStage:
    """Training of the network and of the VAE's decoder, with moving averages of both.

    Parameters
    ----------
    train, held_out : Corpus
    vae : diffusers.AutoencoderKL
        Stays as it is; ``decoder`` starts as a copy of its decoder.
    """

    name, validate_every = "spectrum", 250

    def __init__(self, train: Corpus, held_out: Corpus, vae, seed: int):
        torch.manual_seed(seed)
        self.train, self.held_out, self.vae = train, held_out, vae.requires_grad_(False).eval()
        self.analysis, self.weights = GriffinLimVocoder(), _bin_weights()
        self.net = SpectrumNet()
        self.decoder = copy.deepcopy(torch.nn.Sequential(vae.post_quant_conv, vae.decoder)).requires_grad_(True)
        self.average_net, self.average_decoder = (
            copy.deepcopy(module).requires_grad_(False) for module in (self.net, self.decoder)
        )
        self.modules = {
            "net": self.net,
            "decoder": self.decoder,
            "average_net": self.average_net,
            "average_decoder": self.average_decoder,
        }
        self.optimizers = {
            "net": (torch.optim.AdamW(self.net.parameters(), betas=(0.9, 0.99), weight_decay=1e-3), HIGHEST_LR),
            "decoder": (torch.optim.AdamW(self.decoder.parameters(), betas=(0.9, 0.99), weight_decay=1e-3), DECODER_LR),
        }

    def _crops(self, corpus: Corpus, n: int, generator) -> torch.Tensor:
        length = CROP_FRAMES * HOP
        clips = torch.randint(len(corpus.table), (n,), generator=generator).tolist()
        starts = torch.randint(corpus.clips.shape[1] - length, (n,), generator=generator).tolist()
        crops = np.stack([corpus.clips[c, s : s + length] for c, s in zip(clips, starts, strict=True)])
        gains = GAIN_RANGE * (2 * torch.rand(n, 1, generator=generator) - 1)
        return torch.from_numpy(crops.astype(np.float32) / 32768.0) * gains.exp()

    def _losses(self, net, decoder, waves, n_true: int, generator=None) -> dict[str, torch.Tensor]:
        """Losses of crops (b, n); without a generator, latents are posterior means."""
        true, real = log_mel(waves), self.analysis._analyse(waves).abs()
        with torch.no_grad():
            posterior = self.vae.encode(true[:, None]).latent_dist
        latents = posterior.mean
        if generator is not None:
            share = torch.rand(len(waves), 1, 1, 1, generator=generator)
            latents = latents + share * posterior.std * torch.randn(latents.shape, generator=generator)
        decoded = decoder(latents)[:, 0]
        from_decoded, from_true = net(torch.cat([decoded, true[:n_true]])).split([len(waves), n_true])
        return {
            "decoded": spectral_loss(from_decoded, real, self.weights),
            "true": spectral_loss(from_true, real[:n_true], self.weights),
            "mel": mel_loss(decoded, true),
            "energy": energy_error(from_decoded, real),
        }

    def step(self, generator: torch.Generator) -> dict[str, float]:
        """One batch of crops."""
        waves = self._crops(self.train, BATCH_SIZE, generator)
        losses = self._losses(self.net, self.decoder, waves, N_TRUE, generator)
        weights = {"decoded": 1.0, "true": TRUE_WEIGHT, "mel": MEL_WEIGHT, "energy": ENERGY_WEIGHT}
        for optimizer, _ in self.optimizers.values():
            optimizer.zero_grad()
        sum(weights[name] * loss for name, loss in losses.items()).backward()
        for optimizer, _ in self.optimizers.values():
            torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 1.0)
            optimizer.step()
        ema_update(self.average_net, self.net, EMA_DECAY)
        ema_update(self.average_decoder, self.decoder, EMA_DECAY)
        return {name: loss.item() for name, loss in losses.items()}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """The losses of the averaged weights on held-out crops."""
        waves = self._crops(self.held_out, 32, torch.Generator().manual_seed(0))
        losses = self._losses(self.average_net, self.average_decoder, waves, len(waves))
        return {name: loss.item() for name, loss in losses.items()}

    def finished(self):
        """The averaged network, and a VAE with the averaged decoder."""
        vae = copy.deepcopy(self.vae)
        vae.post_quant_conv.load_state_dict(self.average_decoder[0].state_dict())
        vae.decoder.load_state_dict(self.average_decoder[1].state_dict())
        return self.average_net.eval(), vae.eval()


@torch.no_grad()
def calibrate_level(net: SpectrumNet, vae, clips: np.ndarray) -> float:
    """Scale the network's magnitudes, in place, so that clips through VAE and vocoder keep their level on average.

    Losses of logarithms favour medians, which lie below means, so an uncalibrated codec is too quiet.

    Parameters
    ----------
    clips : (n_clips, n) of the training corpus.

    Returns
    -------
    The correction in dB.
    """
    vocoder, differences_lu = SpectrumVocoder(net), []
    for clip in clips:
        decoded = vae.decode(vae.encode(log_mel(torch.from_numpy(clip)[None])[:, None]).latent_dist.mean).sample[:, 0]
        differences_lu.append(loudness_lufs(clip) - loudness_lufs(vocoder(decoded)[0].numpy()))
    correction_db = float(np.nanmean(differences_lu))
    net.last.bias += correction_db * math.log(10) / 20
    return correction_db
