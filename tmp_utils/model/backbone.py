"""Which model: an AudioLDM pipeline, its frozen parts and what passes between them.

Conventions: clips are mono float32 at 16 kHz; mels are natural-log (batch, frames, 64); latents are (batch,
channels, frames / 8, 64 / 8) for AudioLDM's VAE. Moments are the VAE's; *latents* are what the UNet sees,
a sample of the moments times `vae.config.scaling_factor`. A condition is an L2-normalised CLAP text embedding
(batch, d), passed to the UNet as `class_labels` (Liu et al. 2023, https://arxiv.org/abs/2301.12503).
Parameters are named "unet.<name>" and "text_encoder.<name>". Every parameter is frozen.

load_backbone      : profile, folder or hub id -> Backbone.
Backbone           : clips -> moments, latents -> clips, prompts -> conditions, noise -> latents.
unit_noise         : seeds -> starting noise.
placeholder_tokens : how a placeholder of several vectors is spelt.
"""

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from tmp_utils.inputs.audio import log_mel
from tmp_utils.inputs.profiles import Profile
from tmp_utils.model.griffin_lim import GriffinLimVocoder
from tmp_utils.model.pipelines import COMPONENTS, locate_pipeline, open_pipeline, pipeline_hash, vocoder_choice
from tmp_utils.model.spectrum import SpectrumVocoder, load_spectrum


@dataclass(eq=False)
class Backbone:
    """A frozen text-to-audio pipeline that many adapters can share.

    Attributes
    ----------
    id, hash : where it came from, and the SHA-256 of its weight files.
    folder : where its files are.
    pipe : the diffusers pipeline; `unet`, `vae`, `text_encoder`, `tokenizer`, `vocoder`, `scheduler` are its parts.
    overrides : vectors (n_vectors, d) by placeholder that stand in for words of a prompt, while an adapter is applied.
    adapter : name of the adapter that is applied, or None.
    """

    id: str
    hash: str
    folder: Path
    pipe: object = field(repr=False)
    overrides: dict[str, torch.Tensor] = field(default_factory=dict)
    adapter: str | None = None
    _tokenizers: dict = field(default_factory=dict, repr=False)

    @property
    def revision(self) -> str | None:
        """The commit of the Hugging Face hub that it was downloaded from; None for a local folder."""
        return self.folder.name if self.folder.parent.name == "snapshots" else None

    unet = property(lambda self: self.pipe.unet)
    vae = property(lambda self: self.pipe.vae)
    text_encoder = property(lambda self: self.pipe.text_encoder)
    tokenizer = property(lambda self: self.pipe.tokenizer)
    vocoder = property(lambda self: self.pipe.vocoder)
    scheduler = property(lambda self: self.pipe.scheduler)
    device = property(lambda self: self.pipe.unet.device)

    @property
    def null_condition(self) -> torch.Tensor:
        """(1, d), the condition of the empty prompt: the other end of classifier-free guidance."""
        return self.embed_prompts([""])

    @property
    def words(self) -> torch.Tensor:
        """(vocabulary, d), the text encoder's word embeddings, without rows that no token has."""
        return self.text_encoder.text_model.embeddings.word_embeddings.weight[: len(self.tokenizer)]

    @torch.no_grad()
    def moments(self, clips) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of the VAE's posterior, unscaled.

        Parameters
        ----------
        clips : (b, n), or a list of (n,), all as long; n a multiple of `hop * 8` or the last frames are dropped.

        Returns
        -------
        two (b, channels, frames / 8, 8) on the CPU. `latents = sample * vae.config.scaling_factor`.
        """
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
        """Clips float32 (b, n) of latents, by the VAE's decoder and the vocoder; levels are as the model made them."""
        latents = latents.to(self.device) / self.vae.config.scaling_factor
        mels = self.vae.decode(latents).sample[:, 0]
        spectral = isinstance(self.vocoder, SpectrumVocoder)
        waves = self.vocoder.from_latents(latents, mels) if spectral else self.vocoder(mels)
        if not torch.isfinite(waves).all():
            warnings.warn("the VAE or the vocoder gives samples that are not finite.", stacklevel=2)
        n = mels.shape[1] * int(np.prod(self.vocoder.config.upsample_rates))
        return waves.reshape(len(latents), -1)[:, :n].float().cpu().numpy()  # a vocoder may run over by some samples

    def latent_shape(self, duration_s: float) -> tuple[int, int, int]:
        """(channels, time, frequency) of the latents of a clip, its mel frames rounded up to the VAE's stride."""
        config, stride = self.vocoder.config, self.pipe.vae_scale_factor
        frames = int(duration_s / (np.prod(config.upsample_rates) / config.sampling_rate))
        return self.unet.config.in_channels, -(-frames // stride), config.model_in_dim // stride

    @torch.no_grad()
    def denoise(
        self,
        latents: torch.Tensor,
        condition: torch.Tensor,
        *,
        steps: int,
        guidance_scale: float,
        start: int = 0,
        scheduler=None,
        dtype: torch.dtype = torch.float32,
    ) -> torch.Tensor:
        """Run the reverse process, as `AudioLDMPipeline` does.

        Parameters
        ----------
        latents : (b, c, t, f), unit noise for `start=0`, else latents already at the noise of that step.
        condition : (b, d).
        steps, start : number of steps of the whole process, and the first one to run.
        guidance_scale : classifier-free guidance; no guidance at 1 and below.
        scheduler : another than the pipeline's; its state is not touched.
        dtype : what the UNet computes in; latents stay float32.

        Returns
        -------
        (b, c, t, f), clean latents. If half precision overflows, single precision is used, with a warning.
        """
        first, which = latents, scheduler
        scheduler = copy.deepcopy(self.scheduler if scheduler is None else scheduler)
        scheduler.set_timesteps(steps, device=self.device)
        latents = latents.to(self.device) * (scheduler.init_noise_sigma if start == 0 else 1)
        guided = guidance_scale > 1
        if guided:
            condition = torch.cat([self.null_condition.expand_as(condition), condition])
        for t in scheduler.timesteps[start:]:
            inputs = scheduler.scale_model_input(torch.cat([latents] * 2) if guided else latents, t)
            with torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
                output = self.unet(inputs, t, encoder_hidden_states=None, class_labels=condition).sample.float()
            if guided:
                without, with_text = output.chunk(2)
                output = without + guidance_scale * (with_text - without)
            latents = scheduler.step(output, t, latents).prev_sample
        if dtype != torch.float32 and not torch.isfinite(latents).all():
            warnings.warn(f"latents are not finite in {dtype}; these are computed again in float32.", stacklevel=2)
            again = {"steps": steps, "guidance_scale": guidance_scale, "start": start, "scheduler": which}
            return self.denoise(first, condition[-len(first) :], **again)
        return latents

    @torch.no_grad()
    def embed_prompts(self, prompts: list[str], token_overrides: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
        """Conditions (b, d) of prompts; each is encoded alone, so that its bits do not depend on the others.

        Parameters
        ----------
        token_overrides : vectors (n_vectors, d) by placeholder; by default those of the applied adapter.
        """
        overrides = self.overrides if token_overrides is None else token_overrides
        vectors = torch.cat(list(overrides.values())).to(self.device) if overrides else None
        sizes = {placeholder: len(rows) for placeholder, rows in overrides.items()}
        return torch.cat([self.encode(*self.tokenise([prompt], sizes), vectors) for prompt in prompts])

    def tokenise(self, prompts: list[str], placeholders: dict[str, int] | None = None):
        """Token ids and attention mask (b, length), cut at the tokenizer's limit and padded to the longest.

        Padding is masked, so embeddings equal those of the pipeline, which pads to 512, at a fraction of the cost.

        Parameters
        ----------
        placeholders : number of vectors by placeholder; their ids follow the tokenizer's last, in this order.
        """
        placeholders = placeholders or {}
        for placeholder, n_vectors in placeholders.items():
            spelt = " ".join(placeholder_tokens(placeholder, n_vectors))
            prompts = [prompt.replace(placeholder, spelt) for prompt in prompts]
        tokenizer = self.tokenizer_with(placeholders)
        limit = self.tokenizer.model_max_length
        tokens = tokenizer(prompts, padding=True, truncation=True, max_length=limit, return_tensors="pt")
        return tokens.input_ids.to(self.device), tokens.attention_mask.to(self.device)

    def tokenizer_with(self, placeholders: dict[str, int]):
        """A copy of the tokenizer that also knows the placeholders; the shared one never learns them."""
        key = tuple(placeholders.items())
        if key and key not in self._tokenizers:
            tokenizer = copy.deepcopy(self.tokenizer)
            for placeholder, n_vectors in key:
                tokenizer.add_tokens(placeholder_tokens(placeholder, n_vectors))
            self._tokenizers[key] = tokenizer
        return self._tokenizers[key] if key else self.tokenizer

    def encode(self, ids: torch.Tensor, mask: torch.Tensor, vectors: torch.Tensor | None = None) -> torch.Tensor:
        """Conditions (b, d) of token ids, differentiable.

        Parameters
        ----------
        vectors : (n, d), spliced into the lookup for the ids that follow the tokenizer's last.
        """
        model, first_new = self.text_encoder.text_model, len(self.tokenizer)
        inputs = model.embeddings.word_embeddings(ids.clamp(max=first_new - 1))
        if vectors is not None:
            is_new = (ids >= first_new)[..., None]
            inputs = torch.where(is_new, vectors[(ids - first_new).clamp(min=0)], inputs)
        # RoBERTa counts positions from the padding id; with inputs_embeds the model would count the padding too.
        positions = torch.cumsum(mask, 1) * mask + model.config.pad_token_id
        hidden = model(inputs_embeds=inputs, position_ids=positions, attention_mask=mask)
        return F.normalize(self.text_encoder.text_projection(hidden.pooler_output), dim=-1)

    def parameter(self, name: str) -> torch.nn.Parameter:
        """The parameter of a name such as "unet.conv_in.weight"."""
        module, leaf = self._place(name)
        return module._parameters[leaf]

    def _place(self, name: str) -> tuple[torch.nn.Module, str]:
        component, _, inner = name.partition(".")
        path, _, leaf = inner.rpartition(".")
        return getattr(self.pipe, component).get_submodule(path), leaf

    @contextmanager
    def with_words(self, vectors: dict[str, torch.Tensor]) -> Iterator[None]:
        """Let prompts contain new words: vectors (n_vectors, d) by placeholder; afterwards prompts are as before."""
        before, self.overrides = self.overrides, vectors
        try:
            yield
        finally:
            self.overrides = before

    @contextmanager
    def swapped(self, weights: dict[str, torch.Tensor]) -> Iterator[None]:
        """Let `weights` stand in for the parameters of the same names, which are not written to.

        Gradients flow to `weights`. A backward pass with gradient checkpointing must end within the context.
        """
        places = {name: self._place(name) for name in weights}
        originals = {name: module._parameters[leaf] for name, (module, leaf) in places.items()}
        try:
            for name, (module, leaf) in places.items():
                module._parameters[leaf] = weights[name]
            yield
        finally:
            for name, (module, leaf) in places.items():
                module._parameters[leaf] = originals[name]


def unit_noise(seeds: list[int], shape: tuple[int, ...]) -> torch.Tensor:
    """Gaussian noise (len(seeds), *shape) on the CPU; row k depends on seed k alone."""
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def placeholder_tokens(placeholder: str, n_vectors: int) -> list[str]:
    """Tokens of a placeholder in diffusers' spelling: "<x>", "<x>_1", "<x>_2", ..."""
    return [placeholder, *(f"{placeholder}_{i}" for i in range(1, n_vectors))]


def load_backbone(source: Profile | str | Path, device: str | None = None) -> Backbone:
    """Load a pipeline, move it to a device, freeze it.

    Parameters
    ----------
    source : a profile, a pipeline folder (a relative one may be under `DATA_DIR`), or a Hugging Face id, with
        "@revision" behind it for one commit.
    device : "cpu", "cuda", "mps"; None or "auto" is the profile's choice, else a GPU where there is one.

    Raises
    ------
    FileNotFoundError : neither a folder nor a model that can be downloaded or is in the cache.
    ValueError : a pipeline of another class, or an unknown scheduler.
    RuntimeError : a Hugging Face id with device "auto" on a machine without a GPU; nothing is downloaded.
    """
    profile = source if isinstance(source, Profile) else None
    name = str(profile.backbone if profile else source)
    device = device or (profile.device if profile else "auto")
    folder = locate_pipeline(name, gpu_expected=device == "auto")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    pipe = open_pipeline(folder, profile.scheduler if profile else None).to(device)
    choice = vocoder_choice(folder)
    if choice == "griffin-lim":
        pipe.vocoder = GriffinLimVocoder().to(device)
    elif choice == "spectrum":
        pipe.vocoder = load_spectrum(folder / "vocoder").to(device)
    for component in COMPONENTS:
        getattr(pipe, component).requires_grad_(False).eval()
    pipe.set_progress_bar_config(disable=True)
    return Backbone(name, pipeline_hash(folder), folder, pipe)
