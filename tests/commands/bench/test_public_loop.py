"""The public loop and ours are the same mathematics: the same loss for the same noise."""

import numpy as np
import pytest
import torch

from tmp_utils.commands.bench.public_loop import (
    FrontEnd,
    PublicDraw,
    PublicDreamBooth,
    PublicTextualInversion,
    public_generate,
    public_scores,
)
from tmp_utils.inputs.audio import log_mel, save_clip
from tmp_utils.inputs.profiles import Hyperparameters, load_setup
from tmp_utils.metrics.similarity import clap_audio_similarity, clap_text_similarity
from tmp_utils.model.generate import generate
from tmp_utils.model.tensors import EMBEDDING
from tmp_utils.personalize import METHODS
from tmp_utils.personalize.examples import make_examples
from tmp_utils.personalize.loop import losses
from tmp_utils.personalize.training import Training, step_generator

pytestmark = pytest.mark.usefixtures("short_clips", "quick_front_end")

CLIP_S, BATCH = 1.28, 3


def both(backbone, concept, method):
    """Our training, and the public loop that starts where it does."""
    hyperparameters = Hyperparameters(lr=1e-2, steps=3, batch_size=BATCH)
    recipe = METHODS[method](backbone, concept, load_setup(method, "BL"), hyperparameters, 0)
    examples = make_examples(backbone, concept, load_setup(method, "BL"), 0)
    asked = {"lr": 1e-2, "clip_s": CLIP_S}
    if method == "TI":
        first = recipe.tensors[EMBEDDING][0]
        public = PublicTextualInversion(backbone, concept.clips, recipe.prompts, recipe.placeholder, first, **asked)
    else:
        public = PublicDreamBooth(backbone, concept.clips, recipe.prompts, **asked)
    return Training(backbone, recipe, examples, hyperparameters, adapter=None), public


def draw_of(training):
    backbone, recipe, examples = training.backbone, training.recipe, training.examples
    n_timesteps = backbone.scheduler.config.num_train_timesteps
    shape = tuple(examples.mean.shape[2:])
    return PublicDraw.of(step_generator(0, 0), BATCH, len(recipe.prompts), len(examples.mean), shape, n_timesteps)


def test_their_mel_front_end_has_our_values(front_end):
    clip = np.random.default_rng(0).normal(scale=0.1, size=16000).astype(np.float32)
    mel = front_end.log_mel(clip)
    assert mel.shape == (100, 64)
    torch.testing.assert_close(mel, log_mel(torch.from_numpy(clip)), atol=1e-3, rtol=0)


def test_the_front_end_is_built_for_every_clip_unless_it_is_kept(backbone, concept, monkeypatch):
    built = []
    monkeypatch.setattr(FrontEnd, "__init__", lambda self, make=FrontEnd.__init__: (built.append(1), make(self))[1])
    prompts = ["a recording of a guitar"]
    for kept, expected in ((False, BATCH), (True, 1)):
        built.clear()
        public = PublicDreamBooth(backbone, concept.clips, prompts, 1e-3, clip_s=CLIP_S, keep_front_end=kept)
        draw = PublicDraw.of(step_generator(0, 0), BATCH, 1, len(concept.clips), backbone.latent_shape(CLIP_S), 1000)
        public.latents(draw)
        assert len(built) == expected


def test_both_loops_have_the_same_gradient_of_the_new_word(backbone, concept):
    training, public = both(backbone, concept, "TI")
    training.tensors[EMBEDDING].requires_grad_(True)
    ours, _ = losses([training], [step_generator(0, 0)])
    ours.backward()
    public.loss(draw_of(training)).backward()
    expected, found = public.table.grad[public.token], training.tensors[EMBEDDING].grad[0]
    assert float(found.norm()) > 0
    assert float((found - expected).norm()) < 1e-3 * float(expected.norm())


def test_the_public_step_moves_the_new_row_and_puts_the_others_back(backbone, concept):
    training, public = both(backbone, concept, "TI")
    public.step(draw_of(training))
    moved = (public.table.detach() != public.original).any(1)
    assert moved.nonzero().flatten().tolist() == [public.token]


def test_the_public_dreambooth_step_trains_a_copy_and_leaves_the_backbone(backbone, concept):
    training, public = both(backbone, concept, "DB")
    before = backbone.unet.conv_in.weight.clone()
    public.step(draw_of(training))
    assert torch.equal(backbone.unet.conv_in.weight, before)
    assert not torch.equal(public.unet.conv_in.weight, before)


def test_public_generation_makes_our_clips(backbone):
    prompts, seeds = ["a recording of a guitar", "a jazz song"], [1, 2]
    theirs = public_generate(backbone, prompts, seeds, 2, 2.5, 0.64)
    ours = generate(backbone, prompts, seeds, steps=2, guidance_scale=2.5, clip_s=0.64, progress=False)
    np.testing.assert_allclose(np.stack(ours), np.stack(theirs), atol=1e-4)


def test_public_scores_are_ours(tmp_path, concept, ear):
    from tmp_utils.inputs.audio import load_clip
    from tmp_utils.metrics.distances import frechet_audio_distance

    rng, prompts = np.random.default_rng(0), ["one", "three", "seven"]
    files = [save_clip(tmp_path / f"{k}.wav", 0.1 * rng.normal(size=16000) + 0.1 * k) for k in range(3)]
    found = public_scores(ear, files, concept.clips, prompts)
    generated, training = (ear.embed_clips([load_clip(path) for path in paths]) for paths in (files, concept.clips))
    assert found["clap_a"] == pytest.approx(clap_audio_similarity(generated, training))
    assert found["clap_t"] == pytest.approx(clap_text_similarity(generated, ear.embed_prompts(prompts)))
    assert found["fad"] == pytest.approx(frechet_audio_distance(training, generated).value, abs=1e-6)
