"""AudioLDM and MusicLDM: a UNet over the latents of mel spectrograms, conditioned by one CLAP embedding.

Conventions: 16 kHz; mels are natural-log (batch, frames, 64); latents are (batch, channels, frames / 8, 64 / 8). A
condition is an L2-normalised CLAP text embedding (batch, d), passed to the UNet as `class_labels` (Liu et al. 2023,
https://arxiv.org/abs/2301.12503; MusicLDM: Chen et al. 2023, https://arxiv.org/abs/2308.01546). Timesteps are whole,
and uniform in training.
"""

import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from tmp_utils.inputs.audio import log_mel
from tmp_utils.model.backbone import Backbone, spliced
from tmp_utils.model.griffin_lim import GriffinLimVocoder
from tmp_utils.model.pipelines import make_scheduler, vocoder_choice
from tmp_utils.model.process import Scheduled
from tmp_utils.model.spectrum import SpectrumVocoder, load_spectrum

TEXT_PARTS = ("text_encoder.text_model.", "text_encoder.text_projection.")  # MusicLDM's also has an audio tower


class MelBackbone(Backbone):
    """A pipeline whose VAE encodes log-mel spectrograms, and whose UNet counts whole timesteps."""

    denoiser_name = "unet"
    inversions = ("noising", "ddim-inversion", "ddpm-inversion")

    unet = property(lambda self: self.pipe.unet)
    vocoder = property(lambda self: self.pipe.vocoder)
    rate_hz = property(lambda self: self.vocoder.config.sampling_rate)
    prediction = property(lambda self: self.scheduler.config.prediction_type)
    latent_scale = property(lambda self: self.vae.config.scaling_factor)
    hop = property(lambda self: int(np.prod(self.vocoder.config.upsample_rates)))
    grain = property(lambda self: self.hop * self.pipe.vae_scale_factor)

    @classmethod
    def prepare(cls, pipe, folder: Path) -> None:
        """Put the vocoder in place that the folder asks for."""
        choice = vocoder_choice(folder)
        if choice == "griffin-lim":
            pipe.vocoder = GriffinLimVocoder().to(pipe.device)
        elif choice == "spectrum":
            pipe.vocoder = load_spectrum(folder / "vocoder").to(pipe.device)

    @torch.no_grad()
    def moments(self, clips) -> tuple[torch.Tensor, torch.Tensor]:
        waves = torch.as_tensor(np.stack([np.asarray(clip, dtype=np.float32) for clip in clips]))
        moments = []
        for wave in waves:  # one at a time: little memory, and bits that do not depend on the other clips
            mel = log_mel(wave[None].to(self.device))
            mel = mel[:, : mel.shape[1] // self.pipe.vae_scale_factor * self.pipe.vae_scale_factor]
            posterior = self.vae.encode(mel[:, None]).latent_dist
            moments.append((posterior.mean.cpu(), posterior.std.cpu()))
        means, stds = zip(*moments, strict=True)
        return torch.cat(means), torch.cat(stds)

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> np.ndarray:
        latents = latents.to(self.device)
        mels = self.mels(latents)
        spectral = isinstance(self.vocoder, SpectrumVocoder)
        waves = self.vocoder.from_latents(latents / self.latent_scale, mels) if spectral else self.vocoder(mels)
        if not torch.isfinite(waves).all():
            warnings.warn("the VAE or the vocoder gives samples that are not finite.", stacklevel=2)
        n = mels.shape[1] * self.hop
        return waves.reshape(len(latents), -1)[:, :n].float().cpu().numpy()  # a vocoder may run over by some samples

    def mels(self, latents: torch.Tensor) -> torch.Tensor:
        return self.vae.decode(latents / self.latent_scale).sample[:, 0]

    def latent_shape(self, duration_s: float) -> tuple[int, int, int]:
        """(channels, time, frequency), mel frames rounded up to the VAE's stride."""
        config, stride = self.vocoder.config, self.pipe.vae_scale_factor
        frames = int(duration_s / (np.prod(config.upsample_rates) / config.sampling_rate))
        return self.unet.config.in_channels, -(-frames // stride), config.model_in_dim // stride

    def levels(self, times: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        power = self.scheduler.alphas_cumprod.to(times.device)[times]
        return power.sqrt(), (1 - power).sqrt()

    def draw_times(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        return torch.randint(self.scheduler.config.num_train_timesteps, (n,), generator=generator)

    def process(self, steps: int, scheduler=None, times: list[int] | None = None) -> Scheduled:
        return Scheduled(self.scheduler if scheduler is None else scheduler, steps, self.device, times)

    def reversible(self, steps: int, times: list[int] | None = None) -> Scheduled:
        """DDIM's process, whichever scheduler the pipeline generates with."""
        scheduler = make_scheduler("DDIM", self.scheduler)
        if scheduler.config.clip_sample or scheduler.config.thresholding:
            raise ValueError(
                "the scheduler clips its predictions (clip_sample or thresholding), which no inversion undoes. "
                "Turn both off in its scheduler_config.json."
            )
        return Scheduled(scheduler, steps, self.device, times)

    def times_of(self, strength: float, steps: int) -> list[int]:
        """Timestep t (from 0) is the noise level t + 1 of N. The first is that of strength * N to the nearest whole
        one, and each of the next is N // steps lower. (`transfer` takes the whole process for strength 1.)
        """
        n_train = self.scheduler.config.num_train_timesteps
        if not 1 <= steps <= n_train:
            raise ValueError(f"steps={steps}: expected 1 to {n_train}.")
        return list(range(round(strength * n_train) - 1, -1, -(n_train // steps)))


class AudioLDM(MelBackbone):
    """AudioLDM."""

    pipelines = ("AudioLDMPipeline",)
    clip_code = (
        'audio = pipe("{prompt}", audio_length_in_s=10.24, num_inference_steps=50, guidance_scale=2.5).audios[0]'
    )
    lora_loader = "pipe.unet.load_lora_adapter"
    # Its attention has no text to look at: the condition passes through `class_embedding`, is concatenated to the
    # timestep's embedding, and every ResNet block reads the two through its `time_emb_proj`.
    conditioned = ("class_embedding", "time_emb_proj")

    @property
    def words(self) -> torch.Tensor:
        return self.text_encoder.text_model.embeddings.word_embeddings.weight[: len(self.tokenizer)]

    def tokenise(self, prompts: list[str], placeholders: dict[str, int] | None = None):
        """Ids are padded to the longest.

        Padding is masked, so embeddings equal those of the pipeline, which pads to 512, at a fraction of the cost. The
        pipeline would cut a prompt at the tokenizer's limit; here a longer one is refused.
        """
        return self.limited_ids(self.tokenizer, prompts, placeholders, self.tokenizer.model_max_length, pad=False)

    def encode(self, ids: torch.Tensor, mask: torch.Tensor, vectors: torch.Tensor | None = None) -> torch.Tensor:
        return F.normalize(clap_text_embedding(self.text_encoder, ids, mask, vectors), dim=-1)

    def predict(self, latents: torch.Tensor, times: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        return self.unet(latents, times, encoder_hidden_states=None, class_labels=condition).sample

    def between(self, condition: torch.Tensor) -> torch.Tensor:
        return F.normalize(condition, dim=-1)

    def text_parameters(self) -> list[str]:
        return [name for name in super().text_parameters() if name.startswith(TEXT_PARTS)]


class MusicLDM(AudioLDM):
    """MusicLDM, which has AudioLDM's parts, and CLAP's audio tower beside them."""

    pipelines = ("MusicLDMPipeline",)
    word_options = ", text_encoder=pipe.text_encoder.text_model"
    # diffusers' pipeline takes what CLAP returns for the embedding itself, which it is not with transformers 5.
    clip_code = """
def embedding(text):
    return pipe.text_encoder.get_text_features(**pipe.tokenizer(text, return_tensors="pt")).pooler_output


prompts = {{"prompt_embeds": embedding("{prompt}"), "negative_prompt_embeds": embedding("")}}
audio = pipe(**prompts, audio_length_in_s=10.24, num_inference_steps=50, guidance_scale=2.0).audios[0]
""".strip()


def clap_text_embedding(
    text_encoder, ids: torch.Tensor, mask: torch.Tensor, vectors: torch.Tensor | None
) -> torch.Tensor:
    """CLAP's text embeddings (b, d) of token ids, not normalised."""
    model = text_encoder.text_model
    inputs = spliced(model.embeddings.word_embeddings, ids, vectors)
    # RoBERTa counts positions from the padding id; with inputs_embeds the model would count the padding too.
    positions = torch.cumsum(mask, 1) * mask + model.config.pad_token_id
    hidden = model(inputs_embeds=inputs, position_ids=positions, attention_mask=mask)
    return text_encoder.text_projection(hidden.pooler_output)
