"""The package's loop against the loop that a notebook shows in plain PyTorch."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from families import DURATION_S, FAMILIES
from training_runs import learn, with_hyperparameters

from tmp_utils.inputs.audio import RATE_HZ
from tmp_utils.inputs.concepts import Concept
from tmp_utils.inputs.mixtures import Mixture
from tmp_utils.inputs.profiles import load_setup
from tmp_utils.inputs.prompts import fill
from tmp_utils.model.transfer import transfer
from tmp_utils.personalize import examples
from tmp_utils.personalize.mixtures import masks_under

pytestmark = pytest.mark.usefixtures("short_clips")

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
STEPS = 6


def run_from_scratch(notebook, backbone, concept, profile, **values) -> dict:
    """Execute the notebook's cells tagged "from-scratch" as the notebook does; return the names they leave."""
    cells = json.loads((NOTEBOOKS / notebook).read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if "from-scratch" in cell["metadata"].get("tags", [])]
    lab = SimpleNamespace(backbone=backbone, profile=profile)
    clips = examples.load_clips(concept, 5) if isinstance(concept, Concept) else concept.clips
    names = {"lab": lab, "chosen": concept, "seeds": [0], "fill": fill, "clips": clips, **values}
    assert sources
    exec("\n".join(sources), names)
    return names


def test_notebook_02_learns_the_vector_that_the_package_learns(backbone, concept, profile):
    profile = with_hyperparameters(profile, "TI", steps=STEPS, batch_size=4, n_vectors=1)
    names = run_from_scratch("02_textual_inversion.ipynb", backbone, concept, profile)
    adapter = learn(backbone, concept, load_setup("TI", "MW"), profile)
    torch.testing.assert_close(names["vector"].detach(), adapter.tensors["embedding"], atol=1e-6, rtol=0)
    assert len(names["path"]) == STEPS + 1 and float((names["path"][-1] - names["path"][0]).norm()) > 0.1


def test_notebook_03_learns_the_weights_that_the_package_learns(backbone, concept, profile):
    profile = with_hyperparameters(profile, "DB", steps=STEPS, batch_size=4)
    names = run_from_scratch("03_dreambooth.ipynb", backbone, concept, profile)
    adapter = learn(backbone, concept, load_setup("DB", "BL"), profile)
    trained = {name: weight.detach() for name, weight in names["weights"].items()}
    assert adapter.tensors and adapter.tensors.keys() <= trained.keys()
    for name, weight in adapter.tensors.items():
        torch.testing.assert_close(trained[name], weight, atol=1e-6, rtol=0)
        assert not torch.equal(weight, backbone.parameter(name))


@pytest.mark.parametrize("family", ["", *FAMILIES])
def test_notebook_04_makes_the_clip_that_the_package_makes(family, backbone, tiny_backbones, concept, profile):
    model, word = tiny_backbones(family) if family else backbone, SimpleNamespace(words="a guitar")
    word.applied = lambda model: nullcontext()
    profile = replace(profile, clip_s=DURATION_S, guidance_scale=3.0)
    values = {"sources": {"tones": concept.clips[0]}, "adapter": word, "guidance_scale": 0.0, "n_steps": 3}
    names = run_from_scratch("04_style_transfer.ipynb", model, concept, profile, **values)
    options = {"adapter": word, "seed": 0, "steps": 3, "guidance_scale": 3.0}
    (packaged,) = transfer(model, names["original"], [0.5], **options)
    np.testing.assert_allclose(names["from_scratch"][: len(packaged)], packaged, atol=1e-5)
    assert np.abs(packaged - names["original"]).max() > 1e-3


def test_notebook_07_makes_the_masks_that_the_package_makes(backbone, profile):
    seconds = np.arange(round(0.64 * RATE_HZ)) / RATE_HZ
    clip = (0.1 * np.sin(2 * np.pi * 440 * seconds) + 0.05 * np.sin(2 * np.pi * 3000 * seconds)).astype("float32")
    mixture = Mixture("tones", ("drum beat", "violin"), ("a", "b"), (clip, clip), (), "own recording")
    names = run_from_scratch("07_one_mixture.ipynb", backbone, mixture, profile, seed=3)
    masks = masks_under(backbone, mixture, mixture.class_nouns, 3)
    torch.testing.assert_close(names["by_hand"], masks[0], atol=1e-5, rtol=0)
    assert float((masks[0][0] - 0.5).abs().max()) > 0.01
