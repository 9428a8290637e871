"""Short trainings, and how to compare them."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from tmp_utils.inputs import concepts
from tmp_utils.inputs.audio import RATE_HZ
from tmp_utils.inputs.profiles import Hyperparameters, load_setup
from tmp_utils.model.adapter import Adapter
from tmp_utils.personalize import METHODS, examples, personalise


def learn(backbone, concept, setup, profile, seed=0, **kwargs) -> Adapter:
    return personalise(backbone, concept, setup, seed, profile=profile, progress=False, **kwargs)


def with_hyperparameters(profile, method, **values):
    return replace(profile, methods={**profile.methods, method: {**profile.methods[method], **values}})


def same(one: Adapter, other: Adapter) -> bool:
    return one.tensors.keys() == other.tensors.keys() and all(
        torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items()
    )


def recipe_of(backbone, concept, method, **hyperparameters):
    hyperparameters = Hyperparameters(**{"lr": 1e-3, "steps": 3, **hyperparameters})
    return METHODS[method](backbone, concept, load_setup(method, "BL"), hyperparameters, 0), hyperparameters


@contextmanager
def clips_of(duration_s):
    """Learn from the beginnings of clips, so long."""

    def short(concept, n, rate_hz=RATE_HZ, channels=1):
        return [x[..., : round(duration_s * rate_hz)] for x in concepts.load_clips(concept, n, rate_hz, channels)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(examples, "load_clips", short)
        yield
