"""The package's loop against fifteen lines of plain PyTorch: those that notebook 02 shows, once it shows them."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from training_runs import learn, with_hyperparameters

from tmp_utils.inputs.profiles import load_setup

pytestmark = pytest.mark.usefixtures("short_clips")

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "02_textual_inversion.ipynb"
WRITTEN_OUT = """
import torch
from torch.nn.functional import mse_loss

from tmp_utils.inputs.profiles import load_setup
from tmp_utils.inputs.prompts import fill, training_templates
from tmp_utils.personalize.examples import make_examples
from tmp_utils.personalize.objective import noised_and_target
from tmp_utils.personalize.training import step_generator

backbone, word, steps = lab.backbone, f"<{chosen.name}>", 12
examples = make_examples(backbone, chosen, load_setup("TI", "BL"), seeds[0])
ids, mask = backbone.tokenise([fill(prompt, word) for prompt in training_templates()], {word: 1})
vector = backbone.words.mean(0, keepdim=True).clone().requires_grad_()
optimizer = torch.optim.AdamW([vector], lr=2e-2, weight_decay=0)
for step in range(steps):
    random = step_generator(seeds[0], step)
    rows = torch.randint(len(ids), (4,), generator=random)
    latents = examples.sample(4, random)
    timesteps = torch.randint(1000, (4,), generator=random)
    noise = torch.randn(latents.shape, generator=random)
    noised, target = noised_and_target(backbone.scheduler, latents, noise, timesteps)
    condition = backbone.encode(ids[rows], mask[rows], vector)
    loss = mse_loss(backbone.unet(noised, timesteps, None, class_labels=condition).sample, target)
    loss.backward()
    torch.nn.utils.clip_grad_norm_([vector], 1.0)
    optimizer.step(), optimizer.zero_grad()
"""


def from_scratch() -> str:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    tagged = ["".join(cell["source"]) for cell in cells if "from-scratch" in cell["metadata"].get("tags", [])]
    return tagged[0] if tagged else WRITTEN_OUT


def test_plain_pytorch_learns_the_same_vector(backbone, concept, profile):
    """The cell reads `lab`, `chosen` and `seeds`, and leaves `vector`, `optimizer` and `steps`."""
    names = {"lab": SimpleNamespace(backbone=backbone), "chosen": concept, "seeds": [0]}
    exec(from_scratch(), names)
    lr = names["optimizer"].param_groups[0]["lr"]
    profile = with_hyperparameters(profile, "TI", lr=lr, steps=names["steps"], batch_size=4, n_vectors=1)
    adapter = learn(backbone, concept, load_setup("TI", "BL"), profile)
    torch.testing.assert_close(names["vector"].detach(), adapter.tensors["embedding"], atol=1e-6, rtol=0)
    assert float((names["vector"].detach() - backbone.words.mean(0)).norm()) > 0.1, "it moved"
