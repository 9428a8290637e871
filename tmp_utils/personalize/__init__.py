"""How a concept is learned: training continues on a few clips of it, with everything else held fixed.

A clip becomes latents (the VAE's), noise is added, and the UNet predicts that noise from the noised latents and a
prompt. The error of its prediction says how the trained tensors should change. A method is which tensors train: the
vectors of one new word (Textual Inversion), the UNet's weights (DreamBooth), or a small update of some of them.
What was learned is an adapter: put on the backbone to generate, and taken off again.

Conventions: a method is a function that returns a `Recipe` (which tensors train, when, on which prompts); the one
training loop follows it.

personalise : concept + setup -> adapter.
prepare     : the training, ready to start; several of them share a batch in `loop.train`.
check       : whether a setup can learn a concept, before anything is computed.
METHODS     : the methods by name.
recipe      : what a method tells the loop, and its hyperparameters.
textual_inversion, dreambooth, variants : the methods.
mixtures    : several new words from one mixture.
separation  : which part of a mixture belongs to which word.
examples    : clips -> latents.
objective   : noise, prediction, error.
loop        : the training loop.
training, checkpoint : what one training keeps between steps, in memory and on disk.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from tmp_utils.inputs.concepts import Concept
from tmp_utils.inputs.profiles import Hyperparameters, Profile, Setup, decisive
from tmp_utils.model.adapter import Adapter, load_adapter
from tmp_utils.model.backbone import Backbone
from tmp_utils.personalize.dreambooth import dreambooth, rare_word_report, require_rare_word
from tmp_utils.personalize.examples import MIX_VERSIONS, check_clips, make_examples, prior_latents
from tmp_utils.personalize.loop import train
from tmp_utils.personalize.textual_inversion import (
    check_new_word,
    placeholder_for,
    require_class_noun,
    textual_inversion,
)
from tmp_utils.personalize.training import Diverged, Training
from tmp_utils.personalize.variants import custom_diffusion, low_rank, pivotal, require_rank, spectral_shifts

METHODS = {
    "TI": textual_inversion,
    "DB": dreambooth,
    "DB-LoRA": low_rank,
    "DB-CD": custom_diffusion,
    "DB-SV": spectral_shifts,
    "TI-DB": pivotal,
}
NEW_WORD = ("TI", "TI-DB")  # methods that learn one; the others use the concept's rare word

__all__ = [
    "METHODS",
    "Adapter",
    "Diverged",
    "check",
    "load_adapter",
    "personalise",
    "prepare",
    "rare_word_report",
    "train",
]


def personalise(
    backbone: Backbone,
    concept: Concept,
    setup: Setup,
    seed: int,
    *,
    profile: Profile,
    checkpoint_dir: Path | None = None,
    on_checkpoint: Callable[[], None] = lambda: None,
    cache_dir: Path | None = None,
    progress: bool = True,
) -> Adapter:
    """Learn a concept.

    Parameters
    ----------
    setup, profile : what varies, and the hyperparameters of its method.
    seed : of everything random; on a CPU the same seed gives the same bits.
    checkpoint_dir : where to keep checkpoints, and to resume from the last of them.
    on_checkpoint : called after each of them.
    cache_dir : where to store class clips for prior preservation, which depend on the class noun alone.

    Raises
    ------
    ValueError : an unknown method, a setup that contradicts itself, fewer clips than it asks for, a missing
        class noun or rare word, or a checkpoint of another run.
    RuntimeError : an adapter is applied to the backbone.
    Diverged : the loss grows without bound; the message says what to try.
    """
    where = {"checkpoint_dir": checkpoint_dir, "on_checkpoint": on_checkpoint, "cache_dir": cache_dir}
    training = prepare(backbone, concept, setup, seed, profile, **where)
    (adapter,) = train(backbone, [training], progress=progress)
    return adapter


def prepare(
    backbone: Backbone,
    concept: Concept,
    setup: Setup,
    seed: int,
    profile: Profile,
    *,
    checkpoint_dir: Path | None = None,
    on_checkpoint: Callable[[], None] = lambda: None,
    cache_dir: Path | None = None,
) -> Training:
    """The training of a concept, ready to start; parameters and errors are those of `personalise`."""
    if backbone.adapter is not None:
        raise RuntimeError(f"{backbone.adapter} is applied to this backbone; leave its `with` block, then train.")
    hyperparameters = check(backbone, concept, setup, profile)
    recipe = METHODS[setup.method](backbone, concept, setup, hyperparameters, seed)
    examples = make_examples(backbone, concept, setup, seed)
    if recipe.prior_prompt:
        shape, n = tuple(examples.mean.shape[2:]), hyperparameters.prior_clips
        examples.prior = prior_latents(backbone, recipe.prior_prompt, shape, n, profile, cache_dir)
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
        hyperparameters=_decisive(hyperparameters, setup, examples.digest),
    )
    return Training(backbone, recipe, examples, hyperparameters, adapter, checkpoint_dir, on_checkpoint)


def check(backbone: Backbone, concept: Concept, setup: Setup, profile: Profile) -> Hyperparameters:
    """Return the hyperparameters of a setup that can learn a concept; it takes no time.

    Raises
    ------
    ValueError : an unknown method, or one that the profile lacks; a setup that contradicts itself; fewer clips than it
        asks for; no class noun, no rare word, or a new word that the backbone knows.
    """
    if setup.method not in METHODS:
        raise ValueError(f'unknown method "{setup.method}"; expected one of {", ".join(METHODS)}.')
    hyperparameters = Hyperparameters.of(profile.method(setup.method), setup.method)
    require_class_noun(concept)
    if setup.method in NEW_WORD:
        check_new_word(setup)
        placeholder_for(backbone, concept, hyperparameters.n_vectors)
    else:
        require_rare_word(concept)
    if setup.method == "DB-LoRA":
        require_rank(setup)
    check_clips(concept, setup)
    return hyperparameters


def _decisive(hyperparameters: Hyperparameters, setup: Setup, clips_digest: str) -> dict:
    """What decides the result besides concept, seed and backbone; JSON values."""
    varied = {name: value for name, value in asdict(setup).items() if name not in ("method", "setup", "note")}
    learned = decisive(asdict(hyperparameters), setup.method, setup.prior_weight)
    del learned["steps"]  # how far it goes, not what it learns until then
    mix = {"mix_versions": MIX_VERSIONS} if setup.mix_snr_db is not None else {}
    return {**varied, **mix, **learned, "clips": clips_digest}
