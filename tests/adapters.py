"""Quick adapters of every method, and what one of them sounds like."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tmp_utils.inputs.profiles import load_profile, load_setup
from tmp_utils.model.adapter import Adapter
from tmp_utils.model.generate import generate
from tmp_utils.model.tensors import EMBEDDING
from tmp_utils.personalize import METHODS, personalise
from tmp_utils.personalize import examples as examples_module

SETUPS = [load_setup(method, "BL") for method in METHODS] + [load_setup("DB", "TE")]


def quick_adapters(backbone, concept) -> dict:
    """One adapter of each setup, of 0.64 s clips and two steps, at rates that can be heard."""
    profile = load_profile("smoke")
    quick = {name: {**v, "lr": 0.05, "steps": 2, "batch_size": 1, "ti_steps": 1} for name, v in profile.methods.items()}
    profile = replace(profile, methods=quick)
    rng = np.random.default_rng(0)
    clips = [rng.normal(size=10240).astype(np.float32) / 10 for _ in range(5)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(examples_module, "load_clips", lambda concept, n, *_: clips[:n])
        return {s.name: personalise(backbone, concept, s, 0, profile=profile, progress=False) for s in SETUPS}


def clip_of(backbone, adapter, words=None, **options):
    """A recording of what an adapter learned, or of `words`."""
    prompt = f"a recording of a {words or adapter.phrase()}"
    numbers = {"steps": 2, "clip_s": 0.64, "batch_size": 1, "progress": False}
    return generate(backbone, [prompt], [5], adapter=adapter, **numbers, **options)[0]


def new_word(backbone, concept, seed: int) -> Adapter:
    """A word of random numbers for a concept."""
    names = {"method": "TI", "setup": "BL", "concept": concept.name, "class_noun": concept.class_noun, "rare_word": "z"}
    home = {"backbone_id": backbone.id, "backbone_hash": backbone.hash, "hyperparameters": {}}
    vector = torch.randn(1, backbone.words.shape[1], generator=torch.Generator().manual_seed(seed))
    asked = {"seed": seed, "placeholder": f"<{concept.name}>", "words": f"<{concept.name}>"}
    return Adapter(**names, **home, **asked, tensors={EMBEDDING: vector})
