"""Which model: a text-to-audio pipeline, its frozen parts and what passes between them.

Pipelines differ in how a clip becomes latents, how a prompt becomes a condition, and what their denoiser predicts. A
*family* is a subclass of `Backbone` that knows this of some pipeline classes (`families`, one module each; `family` is
their interface); everything else of the study does not know which family it has.

Conventions: clips are mono float32 at `rate_hz`; latents are (batch, channels, time, ...), *moments* are the mean and
standard deviation of the VAE's posterior, and latents are a sample of them times `latent_scale`. A condition is one
float tensor (batch, ...), a row a prompt, whose layout only the family knows. *Times* are what the denoiser is told of
the noise level: whole timesteps, or numbers from 0 (clean) to 1 (noise). Parameters are named "<component>.<name>", as
in "unet.conv_in.weight". Every parameter is frozen.

load_backbone      : profile, folder or hub id -> Backbone.
Backbone           : clips -> moments, latents -> clips, prompts -> conditions, noise -> latents.
unit_noise         : seeds -> starting noise.
placeholder_tokens : how a placeholder of several vectors is spelt.
"""

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from tmp_utils.inputs.audio import CLIP_S
from tmp_utils.inputs.profiles import Profile
from tmp_utils.model.family import Family
from tmp_utils.model.hub import describe_pipeline, locate_pipeline
from tmp_utils.model.pipelines import check_versions, open_pipeline, pipeline_class, pipeline_hash


@dataclass(eq=False)
class Backbone(Family):
    """A frozen text-to-audio pipeline that many adapters can share.

    Attributes
    ----------
    id, hash : where it came from, and the SHA-256 of its weight files.
    folder : where its files are.
    pipe : the diffusers pipeline.
    overrides : vectors (n_vectors, d) by placeholder that stand in for words of a prompt, while an adapter is applied.
    adapter : name of the adapter that is applied, or None.
    duration_s : how long the clips are that prompts ask for, which some families tell their denoiser.
    """

    id: str
    hash: str
    folder: Path
    pipe: object = field(repr=False)
    overrides: dict[str, torch.Tensor] = field(default_factory=dict)
    adapter: str | None = None
    duration_s: float = CLIP_S
    _tokenizers: dict = field(default_factory=dict, repr=False)

    text_encoder = property(lambda self: self.pipe.text_encoder)
    tokenizer = property(lambda self: self.pipe.tokenizer)
    scheduler = property(lambda self: self.pipe.scheduler)
    vae = property(lambda self: self.pipe.vae)
    denoiser = property(lambda self: getattr(self.pipe, self.denoiser_name))
    device = property(lambda self: next(self.denoiser.parameters()).device)

    @property
    def revision(self) -> str | None:
        """The commit of the Hugging Face hub that it was downloaded from; None for a local folder."""
        return self.folder.name if self.folder.parent.name == "snapshots" else None

    @property
    def null_condition(self) -> torch.Tensor:
        """(1, ...), the condition of the empty prompt."""
        return self.embed_prompts([""])

    def guided(self, condition: torch.Tensor, scale: float, dtype: torch.dtype = torch.float32) -> Callable:
        """For one reverse process: latents (b, c, t, ...) and a time -> the denoiser's output, guided.

        Parameters
        ----------
        condition : (b, ...), or (1, ...) for latents of any number of rows.
        scale : of classifier-free guidance; no guidance at 1 and below, or where the family takes none.
        """
        guides = scale > 1 and self.takes_guidance
        ends = [self.null_of(condition), condition] if guides else [condition]
        guide = self.guidance(scale) if guides else lambda output: output

        def answer(latents: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
            conditions = torch.cat([end.expand(len(latents), *end.shape[1:]) for end in ends])
            with torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
                output = self.predict(torch.cat([latents] * len(ends)), time, conditions).float()
            return guide(*output.chunk(len(ends)))

        return answer

    @torch.no_grad()
    def denoise(
        self,
        noise: torch.Tensor,
        condition: torch.Tensor,
        *,
        steps: int,
        guidance_scale: float,
        scheduler=None,
        dtype: torch.dtype = torch.float32,
    ) -> torch.Tensor:
        """Run the reverse process, as the pipeline does.

        Parameters
        ----------
        noise : (b, c, t, ...), of unit variance.
        condition : (b, ...).
        guidance_scale : as of `guided`.
        scheduler : another than the pipeline's; its state is not touched.
        dtype : what the denoiser computes in; latents stay float32.

        Returns
        -------
        (b, c, t, ...), clean latents. If half precision overflows, single precision is used, with a warning.
        """
        process, answer = self.process(steps, scheduler), self.guided(condition, guidance_scale, dtype)
        latents = process.initial(noise.to(self.device))
        for i in range(process.steps):
            output = answer(process.scaled(latents, i), process.times[i])
            latents = process.step(output, i, latents)
        if dtype != torch.float32 and not torch.isfinite(latents).all():
            warnings.warn(f"latents are not finite in {dtype}; these are computed again in float32.", stacklevel=2)
            return self.denoise(noise, condition, steps=steps, guidance_scale=guidance_scale, scheduler=scheduler)
        return latents

    @torch.no_grad()
    def embed_prompts(self, prompts: list[str]) -> torch.Tensor:
        """Conditions (b, ...) of prompts; each is encoded alone, so that its bits do not depend on the others."""
        vectors = torch.cat(list(self.overrides.values())).to(self.device) if self.overrides else None
        sizes = {placeholder: len(rows) for placeholder, rows in self.overrides.items()}
        return torch.cat([self.encode(*self.tokenise([prompt], sizes), vectors) for prompt in prompts])

    def token_ids(self, tokenizer, prompts: list[str], placeholders: dict[str, int] | None = None, **options):
        """A tokenizer's ids and mask, as `tokenise` returns them."""
        placeholders = placeholders or {}
        for placeholder, n_vectors in placeholders.items():
            spelt = " ".join(placeholder_tokens(placeholder, n_vectors))
            prompts = [prompt.replace(placeholder, spelt) for prompt in prompts]
        tokens = self.tokenizer_with(placeholders, tokenizer)(prompts, return_tensors="pt", **options)
        ids, first_new = tokens.input_ids, len(tokenizer)
        ids = torch.where(ids >= first_new, first_new - 1 - ids, ids)
        return ids.to(self.device), tokens.attention_mask.to(self.device)

    def limited_ids(
        self, tokenizer, prompts: list[str], placeholders: dict[str, int] | None, limit: int, pad: bool = True
    ):
        """Ids and mask (b, length) of prompts in the family's form; ValueError where one has more than `limit` tokens.

        Parameters
        ----------
        pad : to the limit; False pads to the longest.
        """
        texts = [self.form(prompt) for prompt in prompts]
        ids, mask = self.token_ids(tokenizer, texts, placeholders, padding=True)
        if ids.shape[1] > limit:
            counts = mask.sum(1)
            longest, n = prompts[int(counts.argmax())], int(counts.max())
            raise ValueError(f'"{longest[:60]}" has {n} tokens; {self.id} reads at most {limit}. Shorten the prompt.')
        if pad:
            return self.token_ids(tokenizer, texts, placeholders, padding="max_length", max_length=limit)
        return ids, mask

    def tokenizer_with(self, placeholders: dict[str, int], tokenizer=None):
        """A copy of a tokenizer that also knows the placeholders; the shared one never learns them."""
        tokenizer = self.tokenizer if tokenizer is None else tokenizer
        key = id(tokenizer), *placeholders.items()
        if placeholders and key not in self._tokenizers:
            self._tokenizers[key] = copy.deepcopy(tokenizer)
            for placeholder, n_vectors in placeholders.items():
                self._tokenizers[key].add_tokens(placeholder_tokens(placeholder, n_vectors))
        return self._tokenizers[key] if placeholders else tokenizer

    def parameter(self, name: str) -> torch.nn.Parameter:
        """The parameter of a name such as "unet.conv_in.weight"."""
        module, leaf = self._place(name)
        return module._parameters[leaf]

    def denoiser_parameters(self) -> dict[str, torch.nn.Parameter]:
        """The denoiser's parameters by name."""
        return {f"{self.denoiser_name}.{name}": weight for name, weight in self.denoiser.named_parameters()}

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
    def lasting(self, duration_s: float) -> Iterator[None]:
        """Let prompts ask for clips of a duration."""
        before, self.duration_s = self.duration_s, duration_s
        try:
            yield
        finally:
            self.duration_s = before

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


def spliced(table: torch.nn.Module, ids: torch.Tensor, vectors: torch.Tensor | None) -> torch.Tensor:
    """Embeddings (b, length, d) of ids, new words' vectors (n, d) in the place of the negative ones."""
    inputs = table(ids.clamp(min=0))
    if vectors is None:
        return inputs
    return torch.where((ids < 0)[..., None], vectors[(-1 - ids).clamp(min=0)], inputs)


def unit_noise(seeds: list[int], shape: tuple[int, ...]) -> torch.Tensor:
    """Gaussian noise (len(seeds), *shape) on the CPU; row k depends on seed k alone."""
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def placeholder_tokens(placeholder: str, n_vectors: int) -> list[str]:
    """Tokens of a placeholder in diffusers' spelling: "<x>", "<x>_1", "<x>_2", ..."""
    return [placeholder, *(f"{placeholder}_{i}" for i in range(1, n_vectors))]


def load_backbone(source: Profile | str | Path, device: str | None = None) -> Backbone:
    """Load a pipeline, move it to a device, freeze it. What no family takes is refused before it is downloaded.

    Parameters
    ----------
    source : a profile, a pipeline folder (a relative one may be under `DATA_DIR`), or a Hugging Face id, with
        "@revision" behind it for one commit.
    device : "cpu", "cuda", "mps"; None or "auto" is the profile's choice, else a GPU where there is one.

    Raises
    ------
    FileNotFoundError, PermissionError : neither a folder nor a model that can be downloaded or is in the cache.
    ValueError : a pipeline of another class, or one that its family refuses; an unknown scheduler.
    RuntimeError : a Hugging Face id with device "auto" on a machine without a GPU; nothing is downloaded.
    """
    from tmp_utils.model.families import family_of

    profile = source if isinstance(source, Profile) else None
    name = str(profile.backbone if profile else source)
    if device in (None, "auto"):
        device = profile.device if profile else "auto"
    described = describe_pipeline(name, gpu_expected=device == "auto")
    kind = pipeline_class(described)
    family = family_of(kind, name)
    check_versions(kind, name)
    family.check(described, name)
    folder = locate_pipeline(name)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    pipe = open_pipeline(folder, family.own_parts(folder)).to(device)
    family.prepare(pipe, folder)
    backbone = family(name, pipeline_hash(folder), folder, frozen(pipe))
    if profile and (chosen := backbone.choose_scheduler(profile.scheduler)):
        pipe.scheduler = chosen
    return backbone


def frozen(pipe):
    """The pipeline, its parts frozen and silent."""
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.requires_grad_(False).eval()
    pipe.set_progress_bar_config(disable=True)
    return pipe
