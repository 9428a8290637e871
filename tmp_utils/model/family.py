"""What a family of pipelines says of itself: the interface that `Backbone` completes.

A family knows some diffusers classes: how a clip becomes latents, how a prompt becomes a condition, what the denoiser
predicts and at which noise levels it learned. Conventions are those of `backbone`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from tmp_utils.model.pipelines import make_scheduler
from tmp_utils.model.process import Process


class Family:
    """The interface of a family.

    Attributes
    ----------
    pipelines : the diffusers classes of the family.
    denoiser_name : the pipeline's component that predicts.
    vocabularies : its tokenizers that a new word is added to, each with its text encoder, by their names.
    attention, conditioned : how the names of its modules end that are an attention's matrices (for low-rank updates),
        and of those that alone see the condition (for Custom Diffusion).
    rate_hz, channels, grain : samples a second of its clips, how many channels it learns from, and samples in one
        frame of latents.
    takes_guidance : False for models distilled to generate without guidance, whose scale is then ignored.
    checkpointed : module and arguments -> its result, computed again in the backward pass; None is diffusers' own.
    prediction : of the denoiser: "epsilon", "v_prediction", "sample" or "flow" (noise - latents).
    clip_code : Python for cards: a clip of 10.24 s by diffusers' pipeline `pipe`; "{prompt}" is its prompt.
    word_options : what diffusers' `load_textual_inversion` takes beside the file, in Python.
    lora_loader : the loader of diffusers that reads low-rank updates, in Python; "" where peft has to.
    inversions : the methods of style transfer that its process has, by their names in `inversion.INVERSIONS`.
    """

    pipelines: ClassVar[tuple[str, ...]] = ()
    checkpointed: ClassVar[Callable | None] = None
    denoiser_name: ClassVar[str] = "transformer"
    vocabularies: ClassVar[tuple[tuple[str, str], ...]] = (("tokenizer", "text_encoder"),)
    attention: ClassVar[tuple[str, ...]] = ("to_q", "to_k", "to_v", "to_out.0")
    conditioned: ClassVar[tuple[str, ...]] = ()
    rate_hz: ClassVar[int]
    channels: ClassVar[int] = 1
    takes_guidance: ClassVar[bool] = True
    grain: ClassVar[int]
    prediction: ClassVar[str]
    clip_code: ClassVar[str] = ""
    word_options: ClassVar[str] = ""
    lora_loader: ClassVar[str] = ""
    inversions: ClassVar[tuple[str, ...]] = ("noising", "ddim-inversion")

    # What a family defines.

    def moments(self, clips) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of the VAE's posterior, unscaled, on the CPU.

        Parameters
        ----------
        clips : (b, n), or a list of (n,) or (channels, n), all as long; n a multiple of `grain` or the last frame is
            not whole.
        """
        raise NotImplementedError

    def decode(self, latents: torch.Tensor) -> np.ndarray:
        """Clips float32 (b, n) of latents; levels are as the model made them."""
        raise NotImplementedError

    def latent_shape(self, duration_s: float) -> tuple[int, ...]:
        """(channels, time, ...) of the latents of a clip."""
        raise NotImplementedError

    def tokenise(self, prompts: list[str], placeholders: dict[str, int] | None = None):
        """Token ids and attention mask, both int (b, length); a new word's k-th vector has the id -1 - k.

        Parameters
        ----------
        placeholders : number of vectors by placeholder; they are counted in this order.
        """
        raise NotImplementedError

    def encode(self, ids: torch.Tensor, mask: torch.Tensor, vectors: torch.Tensor | None = None) -> torch.Tensor:
        """Conditions (b, ...) of token ids, differentiable.

        Parameters
        ----------
        vectors : (n, d), spliced into the lookup for the negative ids.
        """
        raise NotImplementedError

    def predict(self, latents: torch.Tensor, times: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """The denoiser's output, as large as latents (b, c, t, ...), for times () or (b,) and conditions (b, ...)."""
        raise NotImplementedError

    def levels(self, times: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(signal, sigma) of times: noised latents are signal * latents + sigma * noise."""
        raise NotImplementedError

    def draw_times(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        """Times (n,) from the distribution that the model was pre-trained with, for latents of a shape (c, t, ...)."""
        raise NotImplementedError

    def process(self, steps: int, scheduler=None, times: list | None = None) -> Process:
        """The reverse process in so many steps.

        Parameters
        ----------
        scheduler : a diffusers scheduler to use in place of the pipeline's; its state is not touched.
        times : those of the steps to run, falling; None is the whole process, from noise.
        """
        raise NotImplementedError

    def reversible(self, steps: int, times: list | None = None) -> Process:
        """The process of style transfer: rows may enter it at different steps, and its steps can be undone."""
        return self.process(steps, times=times)

    def times_of(self, strength: float, steps: int) -> list:
        """The times that a strength of style transfer, from 0 to 1, runs, falling; none for 0."""
        raise NotImplementedError

    # What a family may say otherwise.

    @classmethod
    def check(cls, folder: Path, name: str) -> None:
        """Raise ValueError where a pipeline of the class is not one of the family, by what `describe_pipeline` has."""

    @classmethod
    def prepare(cls, pipe, folder: Path) -> None:
        """Change a pipeline that was just loaded from a folder."""

    @property
    def decodes_mels(self) -> bool:
        """Whether the VAE decodes to mels."""
        return type(self).mels is not Family.mels

    def mels(self, latents: torch.Tensor) -> torch.Tensor:
        """Log-mels (b, frames, 64) of latents on the model's device; ValueError where the VAE decodes to none."""
        raise ValueError(f"{self.id}: its VAE decodes to samples and not to mels, on which masks are made.")

    @classmethod
    def own_parts(cls, folder: Path) -> dict:
        """Parts of the pipeline that the family makes itself."""
        return {}

    def choose_scheduler(self, name: str):
        """A scheduler by its name, for this pipeline's noise levels; see `pipelines.make_scheduler`."""
        return make_scheduler(name, self.scheduler)

    @property
    def latent_scale(self) -> float:
        """What a sample of the moments is multiplied with."""
        return 1.0

    def form(self, prompt: str) -> str:
        """What the text encoder reads for a prompt."""
        return prompt

    @property
    def words(self) -> torch.Tensor:
        """(vocabulary, d), the text encoder's word embeddings, without rows that no token has."""
        return self.text_encoder.get_input_embeddings().weight[: len(self.tokenizer)]

    def mean_word(self, text: str | None = None) -> torch.Tensor:
        """(d,), the mean of the embeddings of a text's tokens, or of the whole vocabulary's."""
        ids = slice(None) if text is None else self.tokenizer(f" {text}", add_special_tokens=False).input_ids
        return self.words[ids].detach().mean(0)

    @property
    def tokenizers(self) -> tuple:
        """The tokenizers that a new word is added to."""
        return tuple(getattr(self.pipe, name) for name, _ in self.vocabularies)

    def null_of(self, condition: torch.Tensor) -> torch.Tensor:
        """The other end of classifier-free guidance, in the shape of a condition (b, ...)."""
        return self.null_condition.expand_as(condition)

    def between(self, condition: torch.Tensor) -> torch.Tensor:
        """A sum of conditions as a condition."""
        return condition

    def guidance(self, scale: float) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """For one reverse process: the outputs without and with text -> the guided one (Ho and Salimans 2022).

        It may remember earlier steps; rows that join in later ones come behind the others.
        """
        return lambda without, with_text: without + scale * (with_text - without)

    def conditioned_parameters(self) -> list[str]:
        """Names of the denoiser's parameters that alone see the condition, for Custom Diffusion."""
        return [name for name in self.denoiser_parameters() if name.rpartition(".")[0].endswith(self.conditioned)]

    def text_parameters(self) -> list[str]:
        """Names of the text encoder's parameters that conditions depend on."""
        return [f"text_encoder.{name}" for name, _ in self.text_encoder.named_parameters()]
