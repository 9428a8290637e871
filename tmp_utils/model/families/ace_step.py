"""ACE-Step 1.5: a transformer over the latents of 48 kHz stereo waveforms, by flow matching.

Conventions: latents are (batch, 64, samples / 1920). Qwen reads a form with the prompt and the clip's duration; lyrics
("[Instrumental]") and timbre (silence, for there is no reference) are the same for every prompt. A condition is
(batch, 256 + rest, d + 1): what the condition encoder makes of lyrics, timbre and text, and in the last column 1 for a
token and 0 for padding. The transformer has no mask for padding, so prompts of different lengths go through it one
after the other. Guidance is the pipeline's: projected, with momentum (Sadat et al. 2024,
https://arxiv.org/abs/2410.02416). Turbo checkpoints, distilled for eight steps without guidance, learn at those eight
times alone. In pre-training, 15 of 100 conditions were replaced by the null; here none is.
"""

import math

import torch
import torch.nn.functional as F

from tmp_utils.model.backbone import spliced
from tmp_utils.model.waveform import WaveBackbone, by_length, faded

# Base and SFT models were pre-trained at the larger of two logit-normal times (Esser et al. 2024,
# https://arxiv.org/abs/2403.03206) with this mean and standard deviation, also where they learn a flow and not a mean
# flow (github.com/ace-step/ACE-Step-1.5, acestep/models/base/modeling_acestep_v15_base.py, sample_t_r). Generation
# shifts its even steps towards noise, as the pipeline does; turbo models were distilled at eight of them.
LOGIT_MEAN, LOGIT_STD = -0.4, 1.0
SHIFT, TURBO_STEPS = 3.0, 8
LYRICS, TIMBRE_S = "[Instrumental]", 30
MOMENTUM, NORM_LIMIT = -0.75, 2.5  # of guidance


class AceStep(WaveBackbone):
    """The family."""

    pipelines = ("AceStepPipeline",)
    prediction = "flow"
    clip_code = """
sampling = {{"audio_duration": 10.24, "num_inference_steps": 50, "guidance_scale": 7.0}}
audio = pipe("{prompt}", lyrics="[Instrumental]", **sampling).audios[0]
""".strip()
    lora_loader = "pipe.load_lora_weights"
    conditioned = ("cross_attn.to_k", "cross_attn.to_v")

    grain = property(lambda self: self.vae.hop_length)
    is_turbo = property(lambda self: self.pipe.is_turbo)
    takes_guidance = property(lambda self: not self.is_turbo)

    def latent_shape(self, duration_s: float) -> tuple[int, int]:
        return self.denoiser.config.audio_acoustic_hidden_dim, self.n_frames(duration_s)

    def form(self, prompt: str) -> str:
        return self._form(prompt)[0]

    def _form(self, prompt: str) -> tuple[str, str]:
        """The texts that the encoder reads: of a prompt, and of the lyrics."""
        return self.pipe._format_prompt(prompt, lyrics=LYRICS, audio_duration=self.duration_s)

    def encode(self, ids: torch.Tensor, mask: torch.Tensor, vectors: torch.Tensor | None = None) -> torch.Tensor:
        table = self.text_encoder.get_input_embeddings()
        lyrics = self.tokenizer(self._form("")[1], return_tensors="pt").input_ids.to(self.device)
        frames = math.ceil(TIMBRE_S * self.rate_hz / self.grain)
        timbre = self.pipe.condition_encoder.silence_latent[:, :frames]

        def conditions(same: torch.Tensor, n: int) -> torch.Tensor:
            tokens, b = ids[same][mask[same].bool()].view(-1, n), len(same)
            sequence, _ = self.pipe.condition_encoder(
                text_hidden_states=self.text_encoder(inputs_embeds=spliced(table, tokens, vectors)).last_hidden_state,
                text_attention_mask=torch.ones_like(tokens).bool(),
                lyric_hidden_states=table(lyrics).expand(b, -1, -1),
                lyric_attention_mask=torch.ones_like(lyrics).bool().expand(b, -1),
                refer_audio_acoustic_hidden_states_packed=timbre.expand(b, -1, -1),
                refer_audio_order_mask=torch.arange(b, device=self.device),
            )
            return F.pad(F.pad(sequence, (0, 1), value=1.0), (0, 0, 0, self.text_limit - n))

        return by_length(mask, conditions)

    def null_of(self, condition: torch.Tensor) -> torch.Tensor:
        """The learned null embedding in the place of every token, as in the pipeline."""
        null = self.pipe.condition_encoder.null_condition_emb.expand_as(condition[..., :-1])
        return torch.cat([null, condition[..., -1:]], -1)

    def guidance(self, scale: float):
        from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance

        buffer = MomentumBuffer(momentum=MOMENTUM)
        options = {"eta": 0.0, "norm_threshold": NORM_LIMIT, "use_original_formulation": True, "norm_dim": (2,)}

        def guide(without: torch.Tensor, with_text: torch.Tensor) -> torch.Tensor:
            if torch.is_tensor(buffer.running_average):  # rows that join have no momentum yet
                joining = len(with_text) - len(buffer.running_average)
                buffer.running_average = F.pad(buffer.running_average, (0, 0, 0, 0, 0, joining))
            return normalized_guidance(with_text, without, scale - 1, buffer, **options)

        return guide

    def predict(self, latents: torch.Tensor, times: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        times = times.expand(len(latents))
        silence = self.pipe.prepare_src_latents(self.device, latents.dtype, latent_length=latents.shape[2])[0]
        context = torch.cat([silence, torch.ones_like(silence)], -1)

        def velocities(tokens: torch.Tensor) -> torch.Tensor:
            return by_length(
                tokens[..., -1] > 0,
                lambda same, n: self.denoiser(
                    hidden_states=latents[same].transpose(1, 2),
                    timestep=times[same],
                    timestep_r=times[same],
                    encoder_hidden_states=tokens[same, :n, :-1],
                    context_latents=context.expand(len(same), -1, -1),
                ).sample.transpose(1, 2),
            )

        return faded(condition, velocities)

    def draw_times(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        if self.is_turbo:
            return torch.tensor(self.grid(TURBO_STEPS))[torch.randint(TURBO_STEPS, (n,), generator=generator)]
        return torch.sigmoid(LOGIT_MEAN + LOGIT_STD * torch.randn(2, n, generator=generator).amax(0))

    def grid(self, steps: int) -> list[float]:
        """Even steps, shifted towards noise."""
        times = torch.linspace(1, 0, steps + 1, dtype=torch.float64)[:-1]
        return (SHIFT * times / (1 + (SHIFT - 1) * times)).tolist()
