"""How a concept is learned: one loop, a few methods, adapters.

Conventions: a method is a function that returns a `Recipe` (which tensors train, when, and which words
condition them); the loop follows it; the adapter it returns goes on a backbone and comes off again.

personalise       : concept + setup -> adapter.
prepare           : what the loop needs to know of a run; `personalise` without the training.
many              : several concepts' new words in one batch (`many.personalise_many`).
load_adapter      : folder -> adapter.
METHODS           : the methods by name.
adapter           : what is kept, and `Adapter.applied`.
recipe            : what a method says.
textual_inversion, dreambooth, variants : the methods.
examples, objective, loop, checkpoint   : what the loop is made of.
"""

from dataclasses import asdict
from pathlib import Path

from tmp_utils.inputs.concepts import Concept
from tmp_utils.inputs.profiles import Profile, Setup
from tmp_utils.model.adapter import Adapter, load_adapter
from tmp_utils.model.backbone import Backbone
from tmp_utils.personalize.dreambooth import dreambooth, rare_word_report
from tmp_utils.personalize.examples import MIX_VERSIONS, Examples, make_examples, prior_latents
from tmp_utils.personalize.loop import Diverged, train
from tmp_utils.personalize.recipe import Hyperparameters, Recipe
from tmp_utils.personalize.textual_inversion import textual_inversion
from tmp_utils.personalize.variants import custom_diffusion, low_rank, pivotal, spectral_shifts

METHODS = {
    "TI": textual_inversion,
    "DB": dreambooth,
    "DB-LoRA": low_rank,
    "DB-CD": custom_diffusion,
    "DB-SV": spectral_shifts,
    "TI-DB": pivotal,
}
# Hyperparameters that change when a run stops or saves, but not what it learns.
_INCIDENTAL = ("steps", "checkpoint_every", "keep_checkpoints")

__all__ = ["METHODS", "Adapter", "Diverged", "load_adapter", "personalise", "prepare", "rare_word_report"]


def personalise(
    backbone: Backbone,
    concept: Concept,
    setup: Setup,
    seed: int,
    *,
    profile: Profile,
    checkpoint_dir: Path | None = None,
    cache_dir: Path | None = None,
    progress: bool = True,
) -> Adapter:
    """Learn a concept.

    Parameters
    ----------
    setup, profile : what varies, and the hyperparameters of its method.
    seed : of everything random; on a CPU the same seed gives the same bits.
    checkpoint_dir : where to keep checkpoints, and to resume from the last of them.
    cache_dir : where to keep class clips for prior preservation, which depend on the class noun alone.

    Raises
    ------
    ValueError : an unknown method, a setup that contradicts itself, fewer clips than it asks for, a missing
        class noun or rare word, or a checkpoint of another run.
    RuntimeError : an adapter is applied to the backbone.
    Diverged : the loss did.
    """
    parts = prepare(backbone, concept, setup, seed, profile, cache_dir)
    return train(backbone, *parts, checkpoint_dir, progress)


def prepare(
    backbone: Backbone, concept: Concept, setup: Setup, seed: int, profile: Profile, cache_dir: Path | None = None
) -> tuple[Recipe, Examples, Hyperparameters, Adapter]:
    """What the loop needs to know of a run; arguments and errors are those of `personalise`."""
    if backbone.adapter is not None:
        raise RuntimeError(f"{backbone.adapter} is applied to this backbone; leave its `with` block, then train.")
    if setup.method not in METHODS:
        raise ValueError(f'unknown method "{setup.method}"; expected one of {", ".join(METHODS)}.')
    options = Hyperparameters.of(setup.method, profile.method(setup.method))
    recipe = METHODS[setup.method](backbone, concept, setup, options, seed)
    examples = make_examples(backbone, concept, setup, seed)
    if recipe.prior_prompt:
        shape = tuple(examples.mean.shape[2:])
        examples.prior = prior_latents(backbone, recipe.prior_prompt, shape, options.prior_clips, profile, cache_dir)
    adapter = Adapter(
        method=setup.method,
        setup=setup.setup,
        concept=concept.name,
        class_noun=concept.class_noun,
        rare_word=concept.rare_word,
        seed=seed,
        placeholder=recipe.placeholder,
        words=recipe.words,
        backbone_id=backbone.id,
        backbone_hash=backbone.hash,
        settings=_settings(options, setup, examples.digest),
    )
    return recipe, examples, options, adapter


def _settings(options: Hyperparameters, setup: Setup, clips_digest: str) -> dict:
    """What decides the result besides concept, seed and backbone; JSON values."""
    varied = {name: value for name, value in asdict(setup).items() if name not in ("method", "setup", "note")}
    learned = {name: value for name, value in asdict(options).items() if name not in _INCIDENTAL}
    mix = {"mix_versions": MIX_VERSIONS} if setup.mix_snr_db is not None else {}
    return {**varied, **mix, **learned, "clips": clips_digest}
