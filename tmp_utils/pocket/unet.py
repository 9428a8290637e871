"""The pocket denoiser: AudioLDM's UNet, trained from cached latents.

Conventions: latents (batch, 16, time, 8), scaled to unit variance; conditions unit CLAP embeddings (batch, 128). Each
crop is conditioned on its clip's audio embedding or its caption's text embedding with equal chance, and on the
empty caption one time in ten, for classifier-free guidance. v-prediction on 2.56 s crops, then on fewer of 5.12 s;
applied at 10.24 s.
"""

import copy

import numpy as np
import torch
import torch.nn.functional as F

from tmp_utils.pocket import architecture
from tmp_utils.pocket.arrays import random_crops
from tmp_utils.pocket.training import descend, ema_update

CROP_FRAMES = 32
FIRST_PASS, SECOND_PASS = (CROP_FRAMES, 64, 1.5e-3), (64, 32, 8e-4)  # frames of a crop, batch size, highest rate
TEXT_SHARE, NULL_SHARE, EMA_DECAY = 0.5, 0.1, 0.995


class DenoiserStage:
    """Denoising of latent crops; the second pass goes on from the first one's averaged weights, with longer crops."""

    validate_every = 100

    def __init__(self, moments, scale, audio, text, null, held_moments, held_text, seed: int, first_pass=None):
        torch.manual_seed(seed)
        self.name = "unet-2" if first_pass else "unet"
        self.crop_frames, self.batch_size, highest_lr = SECOND_PASS if first_pass else FIRST_PASS
        self.moments, self.scale, self.audio, self.text, self.null = moments, scale, audio, text, null
        self.held_moments, self.held_text = held_moments, held_text
        self.unet = copy.deepcopy(first_pass).requires_grad_(True) if first_pass else architecture.build_unet()
        self.average = copy.deepcopy(self.unet).requires_grad_(False)
        self.scheduler = architecture.build_scheduler()
        self.modules = {"unet": self.unet, "average": self.average}
        adamw = torch.optim.AdamW(self.unet.parameters(), weight_decay=1e-2, betas=(0.9, 0.99))
        self.optimizers = {"unet": (adamw, highest_lr)}

    def _conditions(self, clips: list[int], generator) -> torch.Tensor:
        draw = torch.rand(len(clips), generator=generator)[:, None]
        chosen = torch.where(draw < TEXT_SHARE, self.text[clips], self.audio[clips])
        return torch.where(torch.rand(len(clips), 1, generator=generator) < NULL_SHARE, self.null, chosen)

    def _loss(self, unet, moments, conditions, generator) -> torch.Tensor:
        mean, std = moments[:, :, 0].transpose(1, 2), moments[:, :, 1].transpose(1, 2)
        latents = (mean + std * torch.randn(mean.shape, generator=generator)) * self.scale
        noise = torch.randn(latents.shape, generator=generator)
        n_timesteps = self.scheduler.config.num_train_timesteps
        timesteps = torch.randint(n_timesteps, (len(latents),), generator=generator)
        noisy = self.scheduler.add_noise(latents, noise, timesteps)
        predicted = unet(noisy, timesteps, None, class_labels=conditions).sample
        return F.mse_loss(predicted, self.scheduler.get_velocity(latents, noise, timesteps))

    def step(self, generator: torch.Generator) -> dict[str, float]:
        """One batch of crops."""
        clips, crops = random_crops(self.moments, self.batch_size, self.crop_frames, generator)
        loss = self._loss(self.unet, crops, self._conditions(clips, generator), generator)
        descend(self.optimizers["unet"][0], loss)
        ema_update(self.average, self.unet, EMA_DECAY)
        return {"loss": loss.item()}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Loss of the averaged weights on held-out clips, with the right captions and with those of other clips."""
        matched, mismatched = [], []
        for k in range(0, 128, 64):
            rows = torch.from_numpy(np.asarray(self.held_moments[k : k + 64, :CROP_FRAMES], np.float32))
            for losses, text in ((matched, self.held_text), (mismatched, self.held_text.roll(7, 0))):
                losses.append(self._loss(self.average, rows, text[k : k + 64], torch.Generator().manual_seed(k)).item())
        return {"loss": float(np.mean(matched)), "loss_wrong_caption": float(np.mean(mismatched))}
