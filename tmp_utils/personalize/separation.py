"""Which part of a mixture belongs to which word: the model's own predictions, as masks.

A mixture's latents z are noised to a high level t and cleaned again under each word's condition c_i. What survives
the noise is common to all predictions; what the denoiser has to guess, it guesses as its word sounds. The mean over a
few levels and draws of noise is decoded to a mel, and each word's share of the summed magnitudes is its mask:

    z_i = mean over t, e of  z0(z_t, 0) + g [z0(z_t, c_i) - z0(z_t, 0)],   z_t = signal_t z + sigma_t e
    Y_i = exp(decoder(z_i)),   z0: the clean latents that the denoiser predicts, 0: the empty prompt, g: `GUIDANCE`
    m_i = Y_i / (Y_1 + ... + Y_k),     part i = m_i applied to the mixture's spectrum, with its phases

The masks sum to one in every bin, so the parts sum to the mixture. No step knows the stems.

Conventions: masks and mels as in `inputs.masks`; conditions (k, d), one a word.

Diffusion models as priors for separation are known (Jayaram and Thickstun 2020, https://arxiv.org/abs/2002.07942;
Mariani et al. 2023, https://arxiv.org/abs/2302.02257; with prompts, Postolache et al. 2024,
https://arxiv.org/abs/2403.11706): they run the whole reverse process under the constraint of the sum. Masks of one
prediction a level are coarser, and a second or two a clip on a CPU.
"""

from collections.abc import Sequence

import numpy as np
import torch

from tmp_utils.inputs.masks import masked_clip
from tmp_utils.model.backbone import Backbone, unit_noise

LEVELS = (0.6, 0.7, 0.8)  # of the noising process; below, predictions hardly depend on the word, above, on the mixture
PREDICTIONS = ("epsilon", "v_prediction", "sample")  # of which the clean latents are found
GUIDANCE = 2.5  # as the pocket profile generates with; without guidance the words' predictions differ less


def check_separable(backbone: Backbone) -> None:
    """Refuse a backbone for which no masks can be made.

    Raises
    ------
    ValueError : its VAE does not decode to mels, or its denoiser predicts something else than `PREDICTIONS`.
    """
    if not backbone.decodes_mels or backbone.prediction not in PREDICTIONS:
        vae = "mels" if backbone.decodes_mels else "samples"
        raise ValueError(
            f"{backbone.id}: masks need a VAE that decodes to mels and a denoiser that predicts one of "
            f'{", ".join(PREDICTIONS)}; this VAE decodes to {vae}, and the denoiser predicts "{backbone.prediction}". '
            "Take a profile of AudioLDM, MusicLDM or AudioLDM 2, such as pocket."
        )


@torch.no_grad()
def predicted_mels(backbone: Backbone, clip: np.ndarray, conditions: torch.Tensor, seed: int) -> torch.Tensor:
    """Log-mels (k, frames, 64) of the clean sound that the denoiser sees in a noised clip (n,), under each condition.

    Raises
    ------
    ValueError : as `check_separable`.
    """
    check_separable(backbone)
    latents = backbone.moments([clip])[0] * backbone.latent_scale
    noises = unit_noise([seed + i for i in range(len(LEVELS))], tuple(latents.shape[1:]))
    total = torch.zeros(len(conditions), *latents.shape[1:])
    for level, noise in zip(LEVELS, noises, strict=True):
        timestep = round(level * (backbone.scheduler.config.num_train_timesteps - 1))
        total += _cleaned(backbone, latents, noise, timestep, conditions)
    return backbone.mels((total / len(LEVELS)).to(backbone.device)).float().cpu()


def _cleaned(
    backbone: Backbone, latents: torch.Tensor, noise: torch.Tensor, timestep: int, conditions: torch.Tensor
) -> torch.Tensor:
    """The clean latents (k, c, t, f) that are predicted under each condition, with classifier-free guidance, from
    latents (1, c, t, f) noised to a timestep; without guidance they would be the mean E[z | z_t, c_i]."""
    at = torch.tensor(timestep, device=backbone.device)
    signal, sigma = backbone.levels(at)
    noised = signal * latents.to(backbone.device) + sigma * noise.to(backbone.device)
    conditions = conditions.to(backbone.device)
    nulls = backbone.null_of(conditions)
    nulls = nulls[:1] if (nulls == nulls[:1]).all() else nulls  # one prediction is enough where they are the same
    rows = torch.cat([nulls, conditions])
    output = backbone.predict(noised.expand(len(rows), *noised.shape[1:]), at, rows).float()
    without, with_text = output.split([len(nulls), len(conditions)])
    output = without + GUIDANCE * (with_text - without)
    clean = {
        "epsilon": lambda: (noised - sigma * output) / signal,
        "v_prediction": lambda: signal * noised - sigma * output,
        "sample": lambda: output,
    }
    return clean[backbone.prediction]().cpu()


def parts_of(clips: Sequence[np.ndarray], masks: Sequence[torch.Tensor]) -> list[list[np.ndarray]]:
    """Clips of the parts, [sound][clip]; they sum to the mixture's clips."""
    return [[masked_clip(clip, of[i]) for clip, of in zip(clips, masks, strict=True)] for i in range(len(masks[0]))]
