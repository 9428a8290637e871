"""The training objective: the denoiser predicts what the noise did to a latent, and the error is squared.

Conventions: latents are scaled VAE samples (b, c, t, ...). The loss is the mean squared error of what the backbone's
denoiser predicts: the noise ("epsilon", Ho et al. 2020, https://arxiv.org/abs/2006.11239), the velocity
("v_prediction", Salimans and Ho 2022, https://arxiv.org/abs/2202.00512), the clean latents ("sample"), or the flow from
them to the noise ("flow", Lipman et al. 2023, https://arxiv.org/abs/2210.02747). Noise levels are drawn as in the
model's pre-training.

noised_and_target : latents at a noise level, and what the denoiser should predict.
Draw, draw_batch  : what is random in a batch.
squared_errors    : the denoiser's error, one number a latent.
Conditions        : the training prompts as token ids, and their conditions where they are constant.
encode_drawn      : drawn prompts -> conditions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F

from tmp_utils.model.backbone import Backbone
from tmp_utils.model.tensors import EMBEDDING
from tmp_utils.personalize.examples import Examples
from tmp_utils.personalize.recipe import Recipe


def noised_and_target(backbone: Backbone, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor):
    """Latents at a noise level, and what the denoiser should predict.

    Parameters
    ----------
    latents, noise : (b, c, t, ...).
    times : (b,).

    Raises
    ------
    ValueError : a prediction type that is none of the four.
    """
    signal, sigma = (x.reshape(-1, *[1] * (latents.ndim - 1)) for x in backbone.levels(times.to(latents.device)))
    targets = {
        "epsilon": noise,
        "v_prediction": signal * noise - sigma * latents,
        "sample": latents,
        "flow": noise - latents,
    }
    kind = backbone.prediction
    if kind not in targets:
        raise ValueError(f'prediction type "{kind}"; the loss knows {", ".join(targets)}.')
    return signal * latents + sigma * noise, targets[kind]


@dataclass(frozen=True)
class Draw:
    """What is random in a batch: prompts `rows` int (b,), `latents` and `noise` (b, c, t, ...), `times` (b,)."""

    rows: torch.Tensor
    latents: torch.Tensor
    times: torch.Tensor
    noise: torch.Tensor

    @classmethod
    def joined(cls, draws: Sequence["Draw"]) -> "Draw":
        """Several draws as one batch; `rows` count within each draw's prompts."""
        return cls(*(torch.cat([getattr(draw, name) for draw in draws]) for name in (f.name for f in fields(cls))))


def draw_batch(backbone: Backbone, recipe: Recipe, examples: Examples, n: int, generator: torch.Generator) -> Draw:
    """Draw a batch of `n`, on the CPU, so that a GPU draws the same; with a prior, `n` class clips follow."""
    rows, latents = examples.draw(n, len(recipe.prompts), generator)
    if recipe.prior_prompt:
        rows = torch.cat([rows, torch.full((n,), len(recipe.prompts))])
        latents = torch.cat([latents, examples.sample_prior(n, generator)])
    times = backbone.draw_times(len(latents), latents.shape[1:], generator)
    return Draw(rows, latents, times, torch.randn(latents.shape, generator=generator))


def squared_errors(backbone: Backbone, draw: Draw, condition: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean squared error (b,) of the predictions under `condition` (b, ...), and that of always predicting 0."""
    latents, times, noise = (x.to(backbone.device) for x in (draw.latents, draw.times, draw.noise))
    noised, target = noised_and_target(backbone, latents, noise, times)
    output, axes = backbone.predict(noised, times, condition), tuple(range(1, target.ndim))
    return (output.float() - target).square().mean(axes), target.square().mean(axes)


class Conditions:
    """The prompts of a recipe: `ids` and `mask`, int (prompts, length), the prompt of the prior last."""

    def __init__(self, backbone: Backbone, recipe: Recipe):
        prompts = recipe.prompts + ([recipe.prior_prompt] if recipe.prior_prompt else [])
        self.backbone, self.tensors, self._constant = backbone, recipe.tensors, None
        self.ids, self.mask = backbone.tokenise(prompts, recipe.sizes)

    @property
    def vectors(self) -> torch.Tensor | None:
        """(n_vectors, d) of the new words, or None."""
        return self.tensors.get(EMBEDDING)

    @property
    def train(self) -> bool:
        """Whether the new word or the text encoder trains now, so that the conditions change with every step."""
        names = (name for name, tensor in self.tensors.items() if tensor.requires_grad)
        return any(name == EMBEDDING or name.startswith("text_encoder") for name in names)

    def constant(self) -> torch.Tensor:
        """(prompts, ...), computed once; only while they do not train."""
        if self._constant is None:
            with torch.no_grad():
                self._constant = self.backbone.encode(self.ids, self.mask, self.vectors)
        return self._constant


def encode_drawn(conditions: Sequence[Conditions], draws: Sequence[Draw]) -> torch.Tensor:
    """Conditions (sum of b, ...) of the drawn prompts, each training's new word spliced into its prompts."""
    backbone, rows = conditions[0].backbone, [draw.rows.to(conditions[0].ids.device) for draw in draws]
    if not conditions[0].train:
        return torch.cat([of.constant()[drawn] for of, drawn in zip(conditions, rows, strict=True)])
    length, ids, masks, offset = max(of.ids.shape[1] for of in conditions), [], [], 0
    for of, drawn in zip(conditions, rows, strict=True):
        of._constant = None  # what trains now may be constant later, with other values
        padding = (0, length - of.ids.shape[1])
        # Every training counts its new words from the same id; in one batch they need different ones.
        shifted = torch.where(of.ids < 0, of.ids - offset, of.ids)[drawn]
        ids.append(F.pad(shifted, padding, value=backbone.tokenizer.pad_token_id))
        masks.append(F.pad(of.mask[drawn], padding))
        offset += 0 if of.vectors is None else len(of.vectors)
    vectors = [of.vectors for of in conditions if of.vectors is not None]
    return backbone.encode(torch.cat(ids), torch.cat(masks), torch.cat(vectors) if vectors else None)
