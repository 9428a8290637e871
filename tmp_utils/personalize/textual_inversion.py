"""Textual Inversion: a new word for the concept, and nothing else (Gal et al. 2023,
https://arxiv.org/abs/2208.01618).

Conventions: the placeholder is "<name>". Its vectors (n_vectors, d) are spliced into the word-embedding
lookup; the vocabulary, the text encoder and the denoiser are only read. No weight decay, which would pull the new
word towards 0.

textual_inversion : the method, for the loop.
placeholder_for   : concept -> placeholder.
first_embedding   : what the new word starts from.
"""

import torch

from tmp_utils.inputs.concepts import Concept
from tmp_utils.inputs.profiles import Hyperparameters, Setup
from tmp_utils.inputs.prompts import fill, training_templates
from tmp_utils.model.backbone import Backbone, placeholder_tokens
from tmp_utils.model.tensors import EMBEDDING, noun_embedding
from tmp_utils.personalize.recipe import Phase, Recipe


def textual_inversion(
    backbone: Backbone, concept: Concept, setup: Setup, hyperparameters: Hyperparameters, seed: int
) -> Recipe:
    """Train the placeholder's vectors on neutral prompts.

    Raises
    ------
    ValueError : what `check_new_word` and `placeholder_for` refuse.
    """
    check_new_word(setup)
    placeholder = placeholder_for(backbone, concept, hyperparameters.n_vectors)
    return Recipe(
        tensors={EMBEDDING: first_embedding(backbone, concept, setup, hyperparameters.n_vectors)},
        phases=[Phase([EMBEDDING], hyperparameters.lr, 0, hyperparameters.steps, weight_decay=0.0)],
        words=placeholder,
        placeholder=placeholder,
        prompts=[fill(template, placeholder) for template in training_templates()],
    )


def check_new_word(setup: Setup) -> None:
    """Raise ValueError where a setup trains more than a new word, or does not say what the word starts from."""
    if setup.text_encoder or setup.prior_weight:
        raise ValueError(
            f"setup {setup.name}: a new word is all that Textual Inversion trains; the text encoder (TE) and "
            "prior preservation belong to DreamBooth. Leave them out of the setup, or use method DB."
        )
    if setup.init not in ("vocabulary", "class_noun"):
        raise ValueError(f'setup {setup.name}: init "{setup.init}"; expected "vocabulary" or "class_noun".')


def placeholder_for(backbone: Backbone, concept: Concept, n_vectors: int = 1) -> str:
    """The placeholder "<name>" of a concept.

    Raises
    ------
    ValueError : one of its tokens is in a vocabulary already.
    """
    placeholder = f"<{concept.name.rpartition('/')[2].replace(' ', '-')}>"
    for tokenizer in backbone.tokenizers:
        if known := set(placeholder_tokens(placeholder, n_vectors)) & tokenizer.get_vocab().keys():
            raise ValueError(f"{min(known)} is in the tokenizer's vocabulary already. Give the concept another name.")
    return placeholder


def first_embedding(backbone: Backbone, concept: Concept, setup: Setup, n_vectors: int) -> torch.Tensor:
    """(n_vectors, d), all rows alike: the mean of the vocabulary's embeddings, or of the class noun's (paper,
    section 3).

    Raises
    ------
    ValueError : an empty class noun.
    """
    if setup.init == "vocabulary":
        return backbone.mean_word().repeat(n_vectors, 1)
    return noun_embedding(backbone, require_class_noun(concept), n_vectors)


def require_class_noun(concept: Concept) -> str:
    """The concept's class noun; ValueError where it has none."""
    if not (concept.class_noun or "").strip():
        raise ValueError(f'{concept.name}: the class noun is empty. Say what kind of thing it is: class_noun="guitar".')
    return concept.class_noun
