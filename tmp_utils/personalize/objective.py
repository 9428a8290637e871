"""The training objective: what the UNet is asked, and how wrong its answer is.

Conventions: latents are scaled VAE samples (b, c, t, f). The loss is the mean squared error of what the
scheduler says the UNet predicts: the noise ("epsilon", Ho et al. 2020, https://arxiv.org/abs/2006.11239), the
velocity ("v_prediction", Salimans and Ho 2022, https://arxiv.org/abs/2202.00512) or the clean latents
("sample").

diffusion_loss    : loss of one random batch.
draw_batch        : what is random in it.
squared_errors    : how wrong the UNet's answers are, one number a latent.
noised_and_target : latents at a noise level, and what the UNet should answer.
Conditions        : training prompts -> conditions, from a table wherever they are constant.
"""

from dataclasses import dataclass

import torch

from tmp_utils.model.adapter import EMBEDDING
from tmp_utils.model.backbone import Backbone
from tmp_utils.personalize.examples import Examples
from tmp_utils.personalize.recipe import Recipe


def noised_and_target(scheduler, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor):
    """Latents at a noise level, and what the UNet should answer.

    Parameters
    ----------
    latents, noise : (b, c, t, f).
    timesteps : int (b,).

    Raises
    ------
    ValueError : a prediction type that is none of the three.
    """
    kept = scheduler.alphas_cumprod.to(latents.device)[timesteps][:, None, None, None]
    signal, sigma = kept.sqrt(), (1 - kept).sqrt()
    targets = {"epsilon": noise, "v_prediction": signal * noise - sigma * latents, "sample": latents}
    kind = scheduler.config.prediction_type
    if kind not in targets:
        raise ValueError(f'prediction type "{kind}"; the loss knows {", ".join(targets)}.')
    return signal * latents + sigma * noise, targets[kind]


class Conditions:
    """Conditions of a recipe's prompts: through the text encoder while it or a new word trains, else a table."""

    def __init__(self, backbone: Backbone, recipe: Recipe):
        sizes = {recipe.placeholder: len(recipe.tensors[EMBEDDING])} if recipe.placeholder else {}
        prompts = recipe.prompts + ([recipe.prior_prompt] if recipe.prior_prompt else [])
        self.backbone, self.recipe, self.table = backbone, recipe, None
        self.ids, self.mask = backbone.tokenise(prompts, sizes)

    def __call__(self, rows: torch.Tensor, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
        """(b, d) of prompts `rows`."""
        bears = [t for name, t in tensors.items() if name == EMBEDDING or name.startswith("text_encoder.")]
        if any(tensor.requires_grad for tensor in bears):
            self.table = None
            return self.backbone.encode(self.ids[rows], self.mask[rows], tensors.get(EMBEDDING))
        if self.table is None:
            with torch.no_grad():
                self.table = self.backbone.encode(self.ids, self.mask, tensors.get(EMBEDDING))
        return self.table[rows]


@dataclass(frozen=True)
class Draw:
    """What is random in a batch: prompts `rows` int (b,), `latents` and `noise` (b, c, t, f), `timesteps` int (b,)."""

    rows: torch.Tensor
    latents: torch.Tensor
    timesteps: torch.Tensor
    noise: torch.Tensor


def draw_batch(recipe: Recipe, examples: Examples, n_timesteps: int, n: int, generator: torch.Generator) -> Draw:
    """Draw a batch of `n`, on the CPU, so that a GPU draws the same; `n` class clips follow where there is a prior."""
    rows = torch.randint(len(recipe.prompts), (n,), generator=generator)
    latents = examples.sample(n, generator)
    if recipe.prior_prompt:
        rows = torch.cat([rows, torch.full((n,), len(recipe.prompts))])
        latents = torch.cat([latents, examples.sample_prior(n, generator)])
    timesteps = torch.randint(n_timesteps, (len(latents),), generator=generator)
    return Draw(rows, latents, timesteps, torch.randn(latents.shape, generator=generator))


def squared_errors(backbone: Backbone, draw: Draw, condition: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean squared error (b,) of the UNet's answers under `condition` (b, d), and that of always answering 0."""
    latents, timesteps, noise = (x.to(backbone.device) for x in (draw.latents, draw.timesteps, draw.noise))
    noised, target = noised_and_target(backbone.scheduler, latents, noise, timesteps)
    output = backbone.unet(noised, timesteps, None, class_labels=condition).sample
    return (output.float() - target).square().mean((1, 2, 3)), target.square().mean((1, 2, 3))


def diffusion_loss(
    conditions: Conditions,
    examples: Examples,
    tensors: dict[str, torch.Tensor],
    n: int,
    generator: torch.Generator,
) -> tuple[torch.Tensor, float]:
    """Loss of a random batch of `n`, and what always answering 0 would cost.

    Parameters
    ----------
    tensors : the recipe's, as they are now; the backbone has their `full_weights` swapped in.
    generator : on the CPU, so that a GPU draws the same.

    Returns
    -------
    the mean squared error, plus `prior_weight` times that of `n` class clips; and the same of the answer 0.
    """
    backbone, recipe = conditions.backbone, conditions.recipe
    draw = draw_batch(recipe, examples, backbone.scheduler.config.num_train_timesteps, n, generator)
    errors, squares = squared_errors(backbone, draw, conditions(draw.rows.to(backbone.device), tensors))
    weights = torch.ones_like(errors) / n
    weights[n:] *= recipe.prior_weight
    ignorant = float((weights * squares).sum())
    return (weights * errors).sum(), ignorant  # a product of vectors would be rounded under autocast
