"""What backbones share whose VAE encodes waveforms and whose denoiser, a transformer, knows a continuous time.

Conventions: latents are (batch, channels, time). Times run from 0 (clean) to 1 (noise), and strength s of a style
transfer starts at time s. The VAE is stereo: it encodes a stereo clip (2, n) as it is and a mono one (n,) on both
channels, and what it decodes is averaged over them. Generation takes first-order steps (`process.Continuous`), which
need no random numbers and no history, so that a clip depends on its seed alone.
"""

import math
from collections.abc import Callable

import numpy as np
import torch

from tmp_utils.model.backbone import Backbone
from tmp_utils.model.process import Continuous, continuous_levels

FIRST_ORDER = {"flow": "Euler", "v_prediction": "DDIM"}  # what the step of `Continuous` is called


class WaveBackbone(Backbone):
    """A pipeline over the latents of waveforms, with a transformer that predicts a velocity."""

    denoiser_name = "transformer"
    text_limit = 256  # tokens of a prompt

    rate_hz = property(lambda self: int(self.vae.config.sampling_rate))
    channels = property(lambda self: self.vae.config.audio_channels)

    def grid(self, steps: int) -> list[float]:
        """Times of the whole process in so many steps, falling."""
        raise NotImplementedError

    def posterior(self, waves: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation (b, c, t) of the VAE's posterior, for waves (b, channels, n)."""
        posterior = self.vae.encode(waves).latent_dist
        return posterior.mean, posterior.std

    def n_frames(self, duration_s: float) -> int:
        """How many frames the latents of a clip have, rounded up."""
        return math.ceil(round(duration_s * self.rate_hz) / self.grain)

    @torch.no_grad()
    def moments(self, clips) -> tuple[torch.Tensor, torch.Tensor]:
        parts = []
        for clip in clips:  # one at a time: little memory, and bits that do not depend on the other clips
            wave = torch.as_tensor(np.asarray(clip, dtype=np.float32)).to(self.device)
            n = self.n_frames(wave.shape[-1] / self.rate_hz) * self.grain
            wave = torch.nn.functional.pad(wave, (0, max(n - wave.shape[-1], 0)))[..., :n]
            moments = self.posterior(wave.expand(1, self.channels, -1))
            parts.append([moment.float().cpu() for moment in moments])
        means, stds = zip(*parts, strict=True)
        return torch.cat(means), torch.cat(stds)

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> np.ndarray:
        return self.vae.decode(latents.to(self.device)).sample.mean(1).float().cpu().numpy()

    def tokenise(self, prompts: list[str], placeholders: dict[str, int] | None = None):
        """Ids are padded to the limit, which every prompt must keep to."""
        return self.limited_ids(self.tokenizer, prompts, placeholders, self.text_limit)

    def levels(self, times: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return continuous_levels(times, self.prediction)

    def choose_scheduler(self, name: str) -> None:
        if name != FIRST_ORDER[self.prediction]:
            raise ValueError(
                f'scheduler "{name}": this backbone takes first-order steps only. Set scheduler = '
                f'"{FIRST_ORDER[self.prediction]}" in the profile.'
            )

    def process(self, steps: int, scheduler=None, times: list[float] | None = None) -> Continuous:
        if scheduler is not None:
            raise ValueError(
                f"{type(scheduler).__name__}: this backbone takes first-order steps only; give no scheduler."
            )
        if not 1 <= steps <= 1000:
            raise ValueError(f"steps={steps}: expected 1 to 1000.")
        return Continuous(self.grid(steps) if times is None else times, self.prediction, self.device)

    def times_of(self, strength: float, steps: int) -> list[float]:
        """The strength itself, then those of the whole process that are lower."""
        if strength in (0, 1):
            return self.grid(steps) if strength else []
        return [float(strength), *(time for time in self.grid(steps) if time < strength)]


def by_length(mask: torch.Tensor, make: Callable[[torch.Tensor, int], torch.Tensor]) -> torch.Tensor:
    """(b, ...), made of those rows of a mask (b, length) at a time that have as many ones: their numbers, how many."""
    counts, rows = mask.sum(1), [None] * len(mask)
    for count in counts.unique().tolist():
        same = torch.nonzero(counts == count)[:, 0]
        for row, made in zip(same.tolist(), make(same, int(count)), strict=True):
            rows[row] = made
    return torch.stack(rows)


def faded(tokens: torch.Tensor, make: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """(b, ...), made of tokens (b, length, d + 1) that may fade in or out.

    Parameters
    ----------
    tokens : in the last column 1 for a token and 0 for padding. Between two prompts of different lengths (`generate`,
        below strength 1), those that only one of them has are multiplied by a share, in the last column too, which is
        the same for all of a row. The result is that share of what is made with them, and the rest of what is made
        without.
    make : takes each row with a last column above 0 for a token.
    """
    mask = tokens[..., -1:]
    shares = torch.where(mask > 0, mask, 1.0)
    if (shares >= 1).all():
        return make(tokens)
    all_tokens, without = make(tokens), make(torch.where(mask >= 1, tokens, 0.0))
    return torch.lerp(without, all_tokens, shares.amin((1, 2)).reshape(-1, *[1] * (without.ndim - 1)))
