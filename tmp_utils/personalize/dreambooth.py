"""DreamBooth: the whole denoiser learns what "[rare word] [class noun]" sounds like (Ruiz et al. 2023,
https://arxiv.org/abs/2208.12242).

Conventions: one training prompt, "a recording of a [rare word] [class noun]". The text encoder is frozen, and
the prompt's condition is computed once, unless the setup trains the text encoder too (TE). Prior preservation
adds the same loss on class clips that the backbone generated, under the class noun's prompt.

dreambooth       : the method, for the loop.
dreambooth_recipe: the same for any choice of tensors; the variants build on it.
copies           : trainable copies of parameters.
rare_word_report : how the tokenizer splits a word, and how much it already means.
"""

import warnings
from collections.abc import Iterable

import torch

from tmp_utils.inputs.concepts import Concept
from tmp_utils.inputs.profiles import Hyperparameters, Setup
from tmp_utils.inputs.prompts import fill, reconstruction_prompt
from tmp_utils.model.backbone import Backbone
from tmp_utils.personalize.recipe import Phase, Recipe
from tmp_utils.personalize.textual_inversion import require_class_noun

COMMON_RANK = 20_000  # of RoBERTa's 50,265 tokens; a small vocabulary holds common words alone


def dreambooth(
    backbone: Backbone, concept: Concept, setup: Setup, hyperparameters: Hyperparameters, seed: int
) -> Recipe:
    """Train every parameter of the denoiser, and with TE those of the text encoder."""
    names = [*backbone.denoiser_parameters(), *(backbone.text_parameters() if setup.text_encoder else ())]
    return dreambooth_recipe(backbone, concept, setup, hyperparameters, copies(backbone, names))


def dreambooth_recipe(
    backbone: Backbone,
    concept: Concept,
    setup: Setup,
    hyperparameters: Hyperparameters,
    tensors: dict[str, torch.Tensor],
) -> Recipe:
    """Train `tensors` on the prompt of the rare word and the class noun.

    Raises
    ------
    ValueError : the concept has no class noun, or no rare word.
    """
    noun, rare = require_class_noun(concept), require_rare_word(concept)
    report = rare_word_report(backbone, rare, noun)
    if report["common"]:
        warnings.warn(
            f'"{rare}" is a common word here: token {report["ids"][0]} of {len(backbone.tokenizer)}. It turns '
            f'the condition of "{noun}" by {report["pull"]:.2f} (1 - cosine), and that meaning will be in the '
            "clips. Choose a rarer word.",
            stacklevel=2,
        )
    template = reconstruction_prompt().template
    lr = (setup.prior_weight and hyperparameters.prior_lr) or hyperparameters.lr
    return Recipe(
        tensors=tensors,
        phases=[Phase(list(tensors), lr, 0, hyperparameters.steps, hyperparameters.weight_decay)],
        words=f"{rare} {noun}",
        prompts=[fill(template, f"{rare} {noun}")],
        prior_prompt=fill(template, noun) if setup.prior_weight else None,
        prior_weight=setup.prior_weight,
    )


def require_rare_word(concept: Concept) -> str:
    """The concept's rare word; ValueError where it has none."""
    if not (rare := (concept.rare_word or "").strip()):
        raise ValueError(f'{concept.name}: no rare word. Give one that the tokenizer knows little of, e.g. "sks".')
    return rare


def copies(backbone: Backbone, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """Copies of the named parameters, to be trained in their stead."""
    return {name: backbone.parameter(name).detach().clone() for name in names}


def rare_word_report(backbone: Backbone, word: str, class_noun: str) -> dict:
    """How rare a word is to the backbone.

    Returns
    -------
    pieces, ids : the tokens it splits into. Byte-pair vocabularies number frequent tokens first.
    pull : 1 - cosine between "a recording of a [noun]" with and without the word; what the word already
        means.
    common : whether it is one token among the first `COMMON_RANK`.
    """
    ids = backbone.tokenizer(f" {word}", add_special_tokens=False).input_ids
    template = reconstruction_prompt().template
    prompts = [fill(template, words) for words in (f"{word} {class_noun}", class_noun)]
    with_word, without = backbone.embed_prompts(prompts)
    return {
        "word": word,
        "pieces": backbone.tokenizer.convert_ids_to_tokens(ids),
        "ids": ids,
        "pull": float(1 - with_word.flatten() @ without.flatten() / (with_word.norm() * without.norm())),
        "common": len(ids) == 1 and ids[0] < COMMON_RANK,
    }
