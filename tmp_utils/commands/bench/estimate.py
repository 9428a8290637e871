"""What runs at AudioLDM-M's size will cost, by counting their operations: an estimate for a GPU that is not at hand.

Conventions: PFLOP are 10^15 operations, counted on tensors without data as `flops` does, those that gradient
checkpointing repeats among them; minutes are those at a rate that the reader assumes. The UNet, the VAE's decoder and
the vocoder are counted; loading, scoring, the optimiser and the disk are not, so a run takes longer than that.
"""

import pandas as pd
import torch

from tmp_utils.commands.bench.flops import count_flops, training_flops
from tmp_utils.inputs.audio import CLIP_S
from tmp_utils.inputs.profiles import Hyperparameters, Profile
from tmp_utils.model.blank import blank_pipeline
from tmp_utils.model.families import backbone_of

# Methods whose gradients cost next to nothing beside those of the activations.
FEW_WEIGHTS = ("TI", "DB-LoRA", "DB-CD")
SPECTRAL = "DB-SV"  # makes every weight anew from its singular values, in each step


def estimate(profile: Profile, tflop_per_s: float, size: str = "audioldm-m") -> pd.DataFrame:
    """Operations of one run of each method, and the minutes they take at a rate.

    Parameters
    ----------
    profile : steps, batch sizes and numbers of clips are its own.
    tflop_per_s : what the GPU is assumed to reach, not its peak.
    size : a key of `blank.SIZES`.

    Returns
    -------
    Index: method; training_pflop, clips, generation_pflop, minutes.

    Raises
    ------
    ValueError : the rate is not above 0.
    """
    if not tflop_per_s > 0:
        raise ValueError(f"{tflop_per_s} TFLOP/s; an estimate needs a rate above 0.")
    with torch.device("meta"):
        pipe = blank_pipeline(size)
    clips = profile.reconstruction_clips + profile.clips_per_prompt * profile.n_editability_prompts
    generation = clips * _clip_flops(pipe, profile) / 1e15
    shape = (1, *_latent_shape(pipe, CLIP_S))  # whole clips are learned from
    passes = [training_flops(pipe.unet, shape, trained) for trained in (False, True)]
    of_a_latent = (_unet_flops(pipe, CLIP_S), *passes)
    rows = {}
    for method, numbers in profile.methods.items():
        training = _training_flops(pipe, method, Hyperparameters.of(numbers, method), of_a_latent) / 1e15
        seconds = (training + generation) * 1e3 / tflop_per_s
        rows[method] = {"training_pflop": training, "clips": clips, "generation_pflop": generation}
        rows[method] |= {"minutes": seconds / 60}
    return pd.DataFrame(rows).T.astype({"clips": int})


def _training_flops(pipe, method: str, options: Hyperparameters, of_a_latent: tuple[int, int, int]) -> int:
    """Operations of a run's training; gradient checkpointing repeats each forward pass."""
    forward, word, weights = (options.batch_size * count for count in of_a_latent)
    step = word if method in FEW_WEIGHTS else weights
    if method == SPECTRAL:
        step += _rebuilding_flops(pipe.unet)
    again = forward if options.gradient_checkpointing else 0
    steps = options.steps * (step + again) + options.ti_steps * (word + again)
    return steps * options.accumulation


def _rebuilding_flops(unet) -> int:
    """Operations of U diag(s) V for every matrix and kernel, and of the gradient of s."""
    sides = [weight.flatten(1).shape for weight in unet.parameters() if weight.ndim > 1]
    return sum(2 * 2 * rows * columns * min(rows, columns) for rows, columns in sides)


def _clip_flops(pipe, profile: Profile) -> int:
    """Operations of a clip: two answers of the UNet a step (with and without the prompt), a decoding, a vocoding."""
    guided = 2 if profile.guidance_scale > 1 else 1
    with torch.device("meta"), torch.no_grad():
        latents = torch.empty(1, *_latent_shape(pipe, profile.clip_s))
        mel = torch.empty(1, latents.shape[2] * pipe.vae_scale_factor, pipe.vocoder.config.model_in_dim)
        sound = count_flops(lambda: pipe.vae.decode(latents)) + count_flops(lambda: pipe.vocoder(mel))
    return profile.inference_steps * guided * _unet_flops(pipe, profile.clip_s) + sound


def _unet_flops(pipe, clip_s: float) -> int:
    with torch.device("meta"), torch.no_grad():
        latents, step = torch.empty(1, *_latent_shape(pipe, clip_s)), torch.zeros(1, dtype=torch.long)
        condition = torch.empty(1, pipe.unet.config.projection_class_embeddings_input_dim)
        return count_flops(lambda: pipe.unet(latents, step, None, class_labels=condition))


def _latent_shape(pipe, clip_s: float) -> tuple[int, int, int]:
    return backbone_of(pipe, "blank").latent_shape(clip_s)
