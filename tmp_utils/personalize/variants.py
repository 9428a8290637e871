"""Methods the paper only names, carried to AudioLDM: fewer tensors, or other ones, on the same loop.

Conventions: those of `dreambooth`; each function is a method, for the loop.

low_rank         : DB-LoRA, low-rank updates of the attention (Hu et al. 2022,
    https://arxiv.org/abs/2106.09685).
custom_diffusion : DB-CD, only the layers that see the condition (Kumari et al. 2023,
    https://arxiv.org/abs/2212.04488).
spectral_shifts  : DB-SV, only singular values (SVDiff, Han et al. 2023, https://arxiv.org/abs/2303.11305).
pivotal          : TI-DB, a new word first, then the UNet around it (Roich et al. 2021,
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

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
CONDITIONED = ("class_embedding", "time_emb_proj")


def low_rank(backbone: Backbone, concept: Concept, setup: Setup, hyperparameters: Hyperparameters, seed: int) -> Recipe:
    """Add B A of rank `setup.rank` to the attention's four matrices; A starts at random, B at 0, as in peft.

    Raises
    ------
    ValueError : the setup has no rank.
    """
    if not setup.rank:
        raise ValueError(f"setup {setup.name}: rank {setup.rank}; a low-rank update needs one of at least 1.")
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, module in backbone.unet.named_modules():
        if name.endswith(ATTENTION):
            first = torch.empty(setup.rank, module.in_features)
            torch.nn.init.kaiming_uniform_(first, a=5**0.5, generator=generator)
            tensors[f"unet.{name}{LORA_A}"] = first.to(backbone.device)
            tensors[f"unet.{name}{LORA_B}"] = module.weight.new_zeros(module.out_features, setup.rank)
    return dreambooth_recipe(backbone, concept, setup, hyperparameters, tensors)


def custom_diffusion(
    backbone: Backbone, concept: Concept, setup: Setup, hyperparameters: Hyperparameters, seed: int
) -> Recipe:
    """Train only the layers that see the condition.

    Custom Diffusion trains the keys and values of cross-attention, where a text-to-image UNet meets its text.
    AudioLDM's UNet meets it elsewhere: its attention has no text to look at (`encoder_hidden_states` is None,
    so that every attention layer attends to the sound itself), and the condition enters as a class label. It
    passes through `class_embedding`, is concatenated to the timestep's embedding, and every ResNet block
    reads the two through its `time_emb_proj`. Those are the layers, all of them, and they train whole.
    """
    modules = (name for name, _ in backbone.unet.named_parameters())
    names = [f"unet.{name}" for name in modules if name.rpartition(".")[0].endswith(CONDITIONED)]
    return dreambooth_recipe(backbone, concept, setup, hyperparameters, copies(backbone, names))


def spectral_shifts(
    backbone: Backbone, concept: Concept, setup: Setup, hyperparameters: Hyperparameters, seed: int
) -> Recipe:
    """Train one shift per singular value of every matrix and kernel of the UNet, a kernel's last axes taken
    as one."""
    tensors = {
        f"unet.{name}{SHIFT}": weight.new_zeros(min(weight.flatten(1).shape))
        for name, weight in backbone.unet.named_parameters()
        if weight.ndim > 1
    }
    return dreambooth_recipe(backbone, concept, setup, hyperparameters, tensors)


def pivotal(backbone: Backbone, concept: Concept, setup: Setup, hyperparameters: Hyperparameters, seed: int) -> Recipe:
    """Train the placeholder for `ti_steps` at `ti_lr`, then the UNet for `steps` at `lr` with the placeholder
    fixed."""
    recipe = textual_inversion(backbone, concept, setup, hyperparameters, seed)
    unet = copies(backbone, [f"unet.{name}" for name, _ in backbone.unet.named_parameters()])
    word, pivot, end = list(recipe.tensors), hyperparameters.ti_steps, hyperparameters.ti_steps + hyperparameters.steps
    recipe.tensors |= unet
    recipe.phases = [
        Phase(word, hyperparameters.ti_lr, 0, pivot, weight_decay=0.0),
        Phase(list(unet), hyperparameters.lr, pivot, end, hyperparameters.weight_decay),
    ]
    return recipe
