"""Methods the paper only names, carried over: fewer tensors, or other ones, on the same loop.

Conventions: those of `dreambooth`; each function is a method, for the loop.

low_rank         : DB-LoRA, low-rank updates of the attention (Hu et al. 2022,
    https://arxiv.org/abs/2106.09685).
custom_diffusion : DB-CD, only the layers that see the condition (Kumari et al. 2023,
    https://arxiv.org/abs/2212.04488).
spectral_shifts  : DB-SV, only singular values (SVDiff, Han et al. 2023, https://arxiv.org/abs/2303.11305).
pivotal          : TI-DB, a new word first, then the denoiser around it (Roich et al. 2021,
    https://arxiv.org/abs/2106.05744).
"""

import torch

from tmp_utils.inputs.concepts import Concept
from tmp_utils.inputs.profiles import Hyperparameters, Setup
from tmp_utils.model.backbone import Backbone
from tmp_utils.model.tensors import LORA_A, LORA_B, SHIFT
from tmp_utils.personalize.dreambooth import copies, dreambooth_recipe
from tmp_utils.personalize.recipe import Phase, Recipe
from tmp_utils.personalize.textual_inversion import textual_inversion


def low_rank(backbone: Backbone, concept: Concept, setup: Setup, hyperparameters: Hyperparameters, seed: int) -> Recipe:
    """Add B A of rank `setup.rank` to the attention's matrices; A starts at random, B at 0, as in peft.

    Raises
    ------
    ValueError : the setup has no rank.
    """
    require_rank(setup)
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, module in backbone.denoiser.named_modules():
        if name.endswith(backbone.attention):
            first = torch.empty(setup.rank, module.in_features)
            torch.nn.init.kaiming_uniform_(first, a=5**0.5, generator=generator)
            whole = f"{backbone.denoiser_name}.{name}"
            tensors[whole + LORA_A] = first.to(backbone.device)
            tensors[whole + LORA_B] = module.weight.new_zeros(module.out_features, setup.rank)
    return dreambooth_recipe(backbone, concept, setup, hyperparameters, tensors)


def require_rank(setup: Setup) -> None:
    """Raise ValueError where a setup has no rank."""
    if not setup.rank:
        raise ValueError(f"setup {setup.name}: rank {setup.rank}; a low-rank update needs one of at least 1.")


def custom_diffusion(
    backbone: Backbone, concept: Concept, setup: Setup, hyperparameters: Hyperparameters, seed: int
) -> Recipe:
    """Train only the layers that see the condition.

    Custom Diffusion trains the keys and values of cross-attention, where a text-to-image denoiser meets its text. Where
    there is no cross-attention, the condition enters elsewhere; the backbone says through which layers
    (`conditioned_parameters`). They train whole.
    """
    tensors = copies(backbone, backbone.conditioned_parameters())
    return dreambooth_recipe(backbone, concept, setup, hyperparameters, tensors)


def spectral_shifts(
    backbone: Backbone, concept: Concept, setup: Setup, hyperparameters: Hyperparameters, seed: int
) -> Recipe:
    """Train one shift per singular value of every matrix and kernel of the denoiser, a kernel's last axes taken
    as one."""
    tensors = {
        f"{name}{SHIFT}": weight.new_zeros(min(weight.flatten(1).shape))
        for name, weight in backbone.denoiser_parameters().items()
        if weight.ndim > 1
    }
    return dreambooth_recipe(backbone, concept, setup, hyperparameters, tensors)


def pivotal(backbone: Backbone, concept: Concept, setup: Setup, hyperparameters: Hyperparameters, seed: int) -> Recipe:
    """Train the placeholder for `ti_steps` at `ti_lr`, then the denoiser for `steps` at `lr` with the placeholder
    fixed."""
    recipe = textual_inversion(backbone, concept, setup, hyperparameters, seed)
    whole = copies(backbone, backbone.denoiser_parameters())
    word, pivot, end = list(recipe.tensors), hyperparameters.ti_steps, hyperparameters.ti_steps + hyperparameters.steps
    recipe.tensors |= whole
    recipe.phases = [
        Phase(word, hyperparameters.ti_lr, 0, pivot, weight_decay=0.0),
        Phase(list(whole), hyperparameters.lr, pivot, end, hyperparameters.weight_decay),
    ]
    return recipe
