"""Stable Audio Open and Stable Audio 3: transformers over the latents of 44.1 kHz stereo waveforms.

Conventions: latents are (batch, 64, 1024) for Stable Audio Open, whatever the clip's length, since it was trained on
47 s alone and silence fills up the rest; and (batch, 256, samples / 4096) for Stable Audio 3. Both read a prompt's
tokens and the clip's duration.

StableAudioOpen : velocities on a cosine schedule (Evans et al. 2025, https://arxiv.org/abs/2407.14358). A condition is
    (batch, 128 + 2 + 2, d): tokens of T5, zero where there is none, then start and end second, which the transformer
    attends to; then both again, as its global input, which guidance keeps.
StableAudio3    : flow matching. A condition is (batch, 256 + 1, d + 1): tokens of T5Gemma and the duration, and in the
    last column 1 for a token and 0 for padding. Its distilled checkpoints are refused: what is learned belongs to the
    base that they were distilled from, and can be put on them afterwards.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import EDMDPMSolverMultistepScheduler
from diffusers.models.embeddings import get_1d_rotary_pos_embed

from tmp_utils.inputs.audio import fit_length
from tmp_utils.model.backbone import spliced
from tmp_utils.model.pipelines import SCHEDULER
from tmp_utils.model.waveform import WaveBackbone

# Stable Audio 3's noise levels in training, by the length of the latents (github.com/Stability-AI/stable-audio-3,
# optimized/mlx/TRAINING_CONVENTIONS.md, section 4), and its levels in generation (diffusers' pipeline).
SHORTEST, LONGEST, BASE_SHIFT, MAX_SHIFT = 256, 4096, 0.5, 1.15
LOGSNR_MIN, LOGSNR_MAX = -6.2, 2.0


class StableAudioOpen(WaveBackbone):
    """Stable Audio Open."""

    pipelines = ("StableAudioPipeline",)
    prediction = "v_prediction"
    clip_code = 'audio = pipe("{prompt}", audio_end_in_s=10.24, num_inference_steps=50, guidance_scale=7.0).audios[0]'
    conditioned = ("attn2.to_k", "attn2.to_v")

    text_limit = property(lambda self: self.tokenizer.model_max_length)

    @classmethod
    def own_parts(cls, folder: Path) -> dict:
        """A scheduler that holds the noise levels; the pipeline's own draws random numbers, by another library."""
        config = json.loads((folder / SCHEDULER).read_text(encoding="utf-8"))
        return {"scheduler": EDMDPMSolverMultistepScheduler.from_config(config)}

    grain = property(lambda self: self.vae.hop_length)

    def latent_shape(self, duration_s: float) -> tuple[int, int]:
        longest = self.denoiser.config.sample_size
        if self.n_frames(duration_s) > longest:
            raise ValueError(
                f"a clip of {duration_s:g} s; {self.id} makes {longest * self.grain / self.rate_hz:.1f} s at most."
            )
        return self.denoiser.config.in_channels, longest

    def moments(self, clips) -> tuple[torch.Tensor, torch.Tensor]:
        longest = self.latent_shape(np.shape(clips[0])[-1] / self.rate_hz)[1] * self.grain
        return super().moments([fit_length(clip, longest) for clip in clips])

    def encode(self, ids: torch.Tensor, mask: torch.Tensor, vectors: torch.Tensor | None = None) -> torch.Tensor:
        hidden = self.text_encoder(
            inputs_embeds=spliced(self.text_encoder.get_input_embeddings(), ids, vectors), attention_mask=mask
        )[0]
        project = self.pipe.projection_model
        start, end = (torch.full((len(ids),), second, device=self.device) for second in (0.0, self.duration_s))
        text = project(text_hidden_states=hidden).text_hidden_states * mask[..., None]
        seconds = project(start_seconds=start, end_seconds=end)
        both = [seconds.seconds_start_hidden_states, seconds.seconds_end_hidden_states]
        return torch.cat([text, *both, *both], 1)

    def null_of(self, condition: torch.Tensor) -> torch.Tensor:
        """No text and no seconds to attend to, but the same seconds as global input, as in the pipeline."""
        return torch.cat([torch.zeros_like(condition[:, :-2]), condition[:, -2:]], 1)

    def predict(self, latents: torch.Tensor, times: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        positions = latents.shape[2] + 1  # the global input is one more position
        rotary = get_1d_rotary_pos_embed(
            self.denoiser.config.attention_head_dim // 2, positions, use_real=True, repeat_interleave_real=False
        )
        return self.denoiser(
            latents,
            times.expand(len(latents)),
            encoder_hidden_states=condition[:, :-2],
            global_hidden_states=condition[:, -2:].flatten(1)[:, None],
            rotary_embedding=tuple(part.to(latents) for part in rotary),
        ).sample

    def draw_times(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        """Uniform, as stable-audio-tools draws them where a configuration says nothing else."""
        return torch.rand(n, generator=generator)

    def grid(self, steps: int) -> list[float]:
        """Even steps in log sigma between the scheduler's bounds; sigma is tan(t pi/2)."""
        config = self.scheduler.config
        sigmas = torch.linspace(math.log(config.sigma_max), math.log(config.sigma_min), steps, dtype=torch.float64)
        return (torch.atan(sigmas.exp()) * 2 / math.pi).tolist()


class StableAudio3(WaveBackbone):
    """Stable Audio 3.

    Notes
    -----
    The model can also fill gaps: it reads a mask over frames (1: given, 0: to be made) and the given frames. Training
    and generation pass zeros for both, as the official code does (github.com/Stability-AI/stable-audio-3,
    scripts/train_lora.py and stable_audio_3/model.py). Diffusers' `StableAudio3Pipeline` (0.42.1) passes neither and so
    skips the layers that read them, biases included; its `StableAudio3InpaintPipeline` with a mask of zeros gives what
    this class gives.

    Left out of the official training: dropping a tenth of the conditions, gaps of random length, and silence behind
    short clips. Latents are as long as the clip, and the shift of the noise levels is taken at that length, as there.
    """

    pipelines = ("StableAudio3Pipeline",)
    prediction = "flow"
    clip_code = """
import torch


def all_to_be_made(transformer, inputs, options):
    return inputs, options | {{"local_add_cond": torch.zeros_like(torch.cat([inputs[0][:, :1], inputs[0]], 1))}}


pipe.transformer.register_forward_pre_hook(all_to_be_made, with_kwargs=True)
audio = pipe("{prompt}", duration=10.24, num_inference_steps=50, guidance_scale=7.0).audios[0]
""".strip()
    attention = ("attn.to_q", "attn.to_kv", "attn.to_qkv", "attn.to_out")
    conditioned = ("cross_attn.to_kv",)

    grain = property(lambda self: self.vae.downsampling_ratio)

    @classmethod
    def check(cls, folder: Path, name: str) -> None:
        if json.loads((folder / SCHEDULER).read_text(encoding="utf-8")).get("stochastic_sampling"):
            raise ValueError(
                f"{name}: a distilled checkpoint, which has no training objective of its own. Learn on the base "
                'that it was distilled from, whose name ends in "-base"; what is learned can be put on both.'
            )

    def latent_shape(self, duration_s: float) -> tuple[int, int]:
        return self.vae.config.latent_dim, self.n_frames(duration_s)

    def posterior(self, waves: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        latents = self.vae.encode(waves).latents
        return latents, torch.zeros_like(latents)

    def encode(self, ids: torch.Tensor, mask: torch.Tensor, vectors: torch.Tensor | None = None) -> torch.Tensor:
        inputs = spliced(self.text_encoder.get_input_embeddings(), ids, vectors)
        seconds = torch.full((len(ids),), float(self.duration_s), device=self.device)
        text = self.text_encoder(inputs_embeds=inputs, attention_mask=mask)[0]
        text = torch.cat([torch.where(mask[..., None] > 0, text, 0.0), mask[..., None]], -1)
        duration = self.pipe.duration_embedder(seconds)
        return torch.cat([text, F.pad(duration, (0, 1), value=1.0)[:, None]], 1)

    def predict(self, latents: torch.Tensor, times: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        mask_and_given = latents.new_zeros(len(latents), 1 + latents.shape[1], latents.shape[2])
        padding = (1 - condition[..., -1:]) * self.denoiser.prompt_padding_embedding  # attended to like a token
        return self.denoiser(
            latents,
            times.expand(len(latents)),
            encoder_hidden_states=condition[..., :-1] + padding,
            global_hidden_states=condition[:, -1, :-1],
            local_add_cond=mask_and_given,
        ).sample

    def draw_times(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        """Uniform, then shifted towards noise, the more the longer the latents are."""
        share = (min(max(shape[1], SHORTEST), LONGEST) - SHORTEST) / (LONGEST - SHORTEST)
        odds = math.exp(BASE_SHIFT + (MAX_SHIFT - BASE_SHIFT) * share)
        times = torch.rand(n, generator=generator)
        return odds * times / (1 + (odds - 1) * times)

    def grid(self, steps: int) -> list[float]:
        """Even steps in the logarithm of the signal-to-noise ratio, the first moved to noise alone."""
        part = torch.linspace(1, 0, steps + 1, dtype=torch.float64)[:-1]
        times = torch.sigmoid(part * (LOGSNR_MAX - LOGSNR_MIN) - LOGSNR_MAX)
        return [1.0, *times[1:].tolist()]
