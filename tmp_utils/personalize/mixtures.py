"""Several new words from one mixture.

Of a mixture x and the class nouns of its k sounds, word i is to be learned so that "a recording of a <i>" plays sound i
alone. With L(z; y) the diffusion loss of latents z under a prompt y (paper, equation 1), z the mixture's latents and
z_i those of part i of it, every setup minimises

    (1 - w) L(z; "a <1> and a <2>") + w (1/k) sum_i L(z_i; "a <i>")

and they differ in the parts and in the weight w of the parts:

    PROMPT  w = 0. Nothing says which word is which sound, but that each starts from its class noun.
    ALONE   w = 1, and z_i = z: each word in a prompt of its own, without separation.
    PRIOR   w = 1. Parts by the masks of `separation`, under the class nouns: found once, by the frozen model.
    RISING  as PRIOR, but w rises from 1/2 to 1.
    JOINT   w rises from 1/2 to 1. Parts by the same masks under the words as they are now, computed at the start and
            after each `RENEWALS`-th of the steps: each word explains its part, and the parts sum to the mixture. This
            alternates between the hidden parts (given the words) and the words (given the parts), as
            expectation-maximisation does; no gradient passes through the masks.
    ANCHOR  as JOINT, with masks of both: the mean of the log-mels predicted under word and class noun.
    STEMS   w = 1, with the stems.

In a batch each example is of the parts with probability w, so that the batch's mean error is an unbiased estimate.

Break-A-Scene (Avrahami et al. 2023, https://arxiv.org/abs/2305.16311) learns several words from one image with masks
that the user draws, puts several words into one prompt ("union sampling") and ties words to regions through
cross-attention. AudioLDM's condition is a single vector without cross-attention, and nobody draws masks on sound: here
the masks come from the model, and prompts of one word and of all words take the place of union sampling.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from math import ceil

import numpy as np
import torch

from tmp_utils.inputs.concepts import Concept
from tmp_utils.inputs.masks import shares
from tmp_utils.inputs.mixtures import Mixture, MixtureSetup
from tmp_utils.inputs.profiles import Hyperparameters, Profile, load_setup
from tmp_utils.inputs.prompts import fill, reconstruction_prompt
from tmp_utils.model.adapter import Adapter
from tmp_utils.model.backbone import Backbone
from tmp_utils.model.combination import Combination
from tmp_utils.model.tensors import EMBEDDING, full_weights
from tmp_utils.personalize import METHODS
from tmp_utils.personalize.dreambooth import dreambooth_recipe
from tmp_utils.personalize.loop import train
from tmp_utils.personalize.recipe import Recipe
from tmp_utils.personalize.separation import check_separable, parts_of, predicted_mels
from tmp_utils.personalize.training import Training

RENEWALS = 4  # times that JOINT makes its masks, the first before it learns; each costs as much as ten steps or so
SHARE_OF_STEPS = 0.4  # of a profile's steps for one concept
JOINED = " and a "


@dataclass
class MixtureExamples:
    """What is learned from: the mixture and its parts, encoded.

    Attributes
    ----------
    mean, std : (k + 1, clips, c, t, f), VAE moments of the parts, and of the mixture last.
    scale, digest : as in `Examples`.
    parts : the weight of the parts now.
    """

    mean: torch.Tensor
    std: torch.Tensor
    scale: float
    digest: str
    parts: float = 0.0

    def draw(self, n: int, n_prompts: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Prompts int (n,) and latents (n, c, t, f); a part has a prompt of its word, the mixture one of all words."""
        k = len(self.mean) - 1
        of_parts = torch.rand(n, generator=generator) < self.parts
        sound = torch.where(of_parts, torch.randint(k, (n,), generator=generator), k)
        prompts_each = n_prompts // (k + 1)
        rows = sound * prompts_each + torch.randint(prompts_each, (n,), generator=generator)
        clip = torch.randint(self.mean.shape[1], (n,), generator=generator)
        mean, std = self.mean[sound, clip], self.std[sound, clip]
        return rows, (mean + std * torch.randn(mean.shape, generator=generator)) * self.scale

    def renew(self, backbone: Backbone, parts: Sequence[Sequence[np.ndarray]]) -> None:
        """Take other clips, [sound][clip], for the parts."""
        for i, clips in enumerate(parts):
            self.mean[i], self.std[i] = backbone.moments(clips)


def learn_mixture(
    backbone: Backbone,
    mixture: Mixture,
    setup: MixtureSetup,
    seed: int,
    profile: Profile,
    *,
    share_of_steps: float = SHARE_OF_STEPS,
    progress: bool = True,
) -> list[Adapter]:
    """Learn a word for each sound of a mixture.

    Parameters
    ----------
    share_of_steps : of the profile's steps for the method.

    Returns
    -------
    an adapter a word, in the order of the mixture's nouns. Of methods that change weights all have the same tensors,
    since they are learned together; only their words differ.

    Raises
    ------
    ValueError : STEMS for a mixture whose parts are not known, masks from a backbone that `check_separable` refuses, or
        what `personalise` refuses.
    RuntimeError : an adapter is applied to the backbone.
    Diverged : as in `personalise`.
    """
    if backbone.adapter is not None:
        raise RuntimeError(f"{backbone.adapter} is applied to this backbone; leave its `with` block, then train.")
    if setup.masks == "stems" and not mixture.parts:
        raise ValueError(f"{mixture.name}: its parts are not known, so {setup.name} has nothing to learn from.")
    if setup.masks not in ("none", "stems"):
        check_separable(backbone)
    values = Hyperparameters.of(profile.method(setup.method), setup.method)
    values = replace(values, steps=ceil(share_of_steps * values.steps))
    recipe, words = mixture_recipe(backbone, mixture, setup.method, values, seed)
    examples = _examples(backbone, mixture)
    recipe.before_step = _Schedule(backbone, mixture, setup, seed, recipe, words, examples).before_step
    adapter = Adapter(
        method=setup.method,
        setup=setup.setup,
        concept=mixture.name,
        class_noun=JOINED.join(mixture.class_nouns),
        rare_word=None,
        seed=seed,
        placeholder=recipe.placeholder,
        words=JOINED.join(words),
        backbone_id=backbone.id,
        backbone_hash=backbone.hash,
        hyperparameters={**setup.model_dump(exclude={"method", "setup", "note"}), **asdict(values)}
        | {"clips": examples.digest},
    )
    (adapter,) = train(backbone, [Training(backbone, recipe, examples, values, adapter)], progress=progress)
    return _split(adapter, mixture, words)


def mixture_recipe(
    backbone: Backbone, mixture: Mixture, method: str, values: Hyperparameters, seed: int
) -> tuple[Recipe, list[str]]:
    """What the loop trains, and the words of each sound; prompts of each word come first, those of all words last."""
    sounds = [_sound(*pair) for pair in zip(mixture.class_nouns, mixture.rare_words, strict=True)]
    if method == "TI":
        setup = load_setup("TI", "MW")
        recipes = [METHODS["TI"](backbone, sound, setup, values, seed) for sound in sounds]
        tensors = {EMBEDDING: torch.cat([recipe.tensors[EMBEDDING] for recipe in recipes])}
    else:
        setup = load_setup(method, "BL")
        recipes = [METHODS[method](backbone, sounds[0], setup, values, seed)]
        recipes += [dreambooth_recipe(backbone, sound, setup, values, {}) for sound in sounds[1:]]
        tensors = recipes[0].tensors
    words = [recipe.words for recipe in recipes]
    together = [prompt.replace(words[0], JOINED.join(words)) for prompt in recipes[0].prompts]
    prompts = [prompt for recipe in recipes for prompt in recipe.prompts] + together
    others = tuple(words[1:]) if recipes[0].placeholder else ()
    return replace(recipes[0], tensors=tensors, prompts=prompts, others=others), words


def _sound(class_noun: str, rare_word: str) -> Concept:
    """A sound of a mixture as the methods want it: words and no clips."""
    return Concept("-".join(class_noun.split()), class_noun, rare_word, "mixture", (), False, False, False)


def _examples(backbone: Backbone, mixture: Mixture) -> MixtureExamples:
    mean, std = backbone.moments(mixture.clips)
    k = len(mixture.class_nouns)
    repeated = (torch.stack([moment] * (k + 1)) for moment in (mean, std))
    return MixtureExamples(*repeated, backbone.latent_scale, mixture.digest)


@dataclass(eq=False)
class _Schedule:
    """What happens before each step: the weight of the parts changes, and the parts are made where they are due."""

    backbone: Backbone
    mixture: Mixture
    setup: MixtureSetup
    seed: int
    recipe: Recipe
    words: Sequence[str]
    examples: MixtureExamples

    def before_step(self, step: int) -> None:
        setup, steps = self.setup, self.recipe.steps
        share = step / max(1, steps - 1)
        self.examples.parts = (1 - share) * setup.parts_first + share * setup.parts_last
        due = {turn * steps // RENEWALS for turn in range(RENEWALS)} if setup.masks in ("words", "both") else {0}
        if setup.masks != "none" and step in due:
            self.examples.renew(self.backbone, self.parts())

    def parts(self) -> Sequence[Sequence[np.ndarray]]:
        """Clips of the parts, [sound][clip]."""
        if self.setup.masks == "stems":
            return self.mixture.parts
        mels = [] if self.setup.masks == "words" else [self.noun_mels]
        mels += [] if self.setup.masks == "nouns" else [self._word_mels()]
        masks = [shares(torch.stack(of_clip).mean(0)) for of_clip in zip(*mels, strict=True)]
        return parts_of(self.mixture.clips, masks)

    @cached_property
    def noun_mels(self) -> list[torch.Tensor]:
        """The mels predicted under the class nouns, by the untrained backbone."""
        prompts = [fill(reconstruction_prompt().template, noun) for noun in self.mixture.class_nouns]
        return _mels(self.backbone, self.mixture, self.backbone.embed_prompts(prompts), self.seed)

    def _word_mels(self) -> list[torch.Tensor]:
        backbone, tensors = self.backbone, self.recipe.tensors
        prompts = [fill(reconstruction_prompt().template, word) for word in self.words]
        with torch.no_grad(), backbone.swapped(full_weights(backbone, tensors)):
            conditions = backbone.encode(*backbone.tokenise(prompts, self.recipe.sizes), tensors.get(EMBEDDING))
            return _mels(backbone, self.mixture, conditions, self.seed)


def _split(adapter: Adapter, mixture: Mixture, words: Sequence[str]) -> list[Adapter]:
    """An adapter a word: rows of the embedding, or all that changed."""
    vectors = [{}] * len(words)
    if adapter.placeholder:
        vectors = [{EMBEDDING: rows} for rows in adapter.tensors[EMBEDDING].chunk(len(words))]
    pairs = zip(words, mixture.class_nouns, mixture.rare_words, vectors, strict=True)
    return [
        replace(
            adapter,
            concept=f"{mixture.name}-{'-'.join(noun.split())}",
            class_noun=noun,
            rare_word=rare,
            words=word,
            placeholder=word if adapter.placeholder else None,
            tensors=adapter.tensors | of_word,
        )
        for word, noun, rare, of_word in pairs
    ]


def masks_under(
    backbone: Backbone,
    mixture: Mixture,
    words: Sequence[str],
    seed: int,
    adapter: Adapter | Combination | None = None,
) -> list[torch.Tensor]:
    """Masks (k, frames, 64) of each clip under words, one a sound.

    Parameters
    ----------
    words : of an adapter, which is applied meanwhile; without one, the class nouns (or others the backbone knows).
    """
    prompts = [fill(reconstruction_prompt().template, word) for word in words]
    with adapter.applied(backbone) if adapter else nullcontext():
        return [shares(mels) for mels in _mels(backbone, mixture, backbone.embed_prompts(prompts), seed)]


def _mels(backbone: Backbone, mixture: Mixture, conditions: torch.Tensor, seed: int) -> list[torch.Tensor]:
    """What each condition would play in each clip's place, (k, frames, 64) a clip; other noise for each clip."""
    return [predicted_mels(backbone, clip, conditions, 1000 * seed + 10 * k) for k, clip in enumerate(mixture.clips)]
