"""The training loop, the only one: every method is a `Recipe` that it follows.

Conventions: trained tensors and their AdamW moments are fp32; a GPU computes in half precision around them.
What is drawn in a step depends on (seed, step) alone, so a resumed run repeats the same bits (on a CPU), and
the backbone's own parameters are never written to.

train          : backbone + recipe + examples -> adapter.
step_generator : one step's randomness.
prepared_unet  : gradient checkpointing and compilation, on and off again.
Diverged       : raised when the loss does.
"""

import hashlib
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch.nn.functional import cosine_similarity
from tqdm.auto import tqdm

from tmp_utils.model.adapter import EMBEDDING, Adapter, full_weights, is_parameter
from tmp_utils.model.backbone import Backbone
from tmp_utils.model.device import explained, precision
from tmp_utils.personalize.checkpoint import last_checkpoint, restore, write_checkpoint
from tmp_utils.personalize.examples import Examples
from tmp_utils.personalize.objective import Conditions, diffusion_loss
from tmp_utils.personalize.recipe import Hyperparameters, Recipe

DIVERGED = 10  # times the loss of always predicting 0, which is that of a model that knows nothing

FUSED = ("cpu", "cuda")  # devices that have AdamW in one kernel


class Diverged(RuntimeError):
    """The loss is not finite, or far above that of a model that knows nothing.

    adapter : whose training it was.
    finished : of several runs together, the adapters of those that did not diverge, None for those that did.
    """

    def __init__(self, message: str, adapter: Adapter | None = None):
        super().__init__(message)
        self.adapter, self.finished = adapter, ()


def step_generator(seed: int, step: int) -> torch.Generator:
    """The CPU generator of one step."""
    digest = hashlib.sha256(f"{seed}/{step}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def train(
    backbone: Backbone,
    recipe: Recipe,
    examples: Examples,
    options: Hyperparameters,
    adapter: Adapter,
    checkpoint_dir: Path | None = None,
    progress: bool = True,
) -> Adapter:
    """Follow a recipe to its end, from the last checkpoint where there is one.

    Parameters
    ----------
    recipe : its tensors are trained in place.
    adapter : who learns what, with no tensors yet; filled and returned.
    checkpoint_dir : where checkpoints go, each an adapter with its optimiser's moments; None writes none.

    Raises
    ------
    ValueError : the last checkpoint is of another run.
    Diverged : the message says what to try.
    """
    run = Training(backbone, recipe, examples, options, adapter)
    if found := last_checkpoint(checkpoint_dir):
        restore(found, adapter, run.tensors, run.optimizer)
    first, began = adapter.steps, time.perf_counter()
    bar = tqdm(total=recipe.steps, initial=first, desc=adapter.name, disable=not progress, leave=False)
    with prepared_unet(backbone, options), explained(out_of_memory(options)), bar:
        for step in range(first, recipe.steps):
            adapter.history.append(run.step(step))
            adapter.steps = step + 1
            bar.set_postfix(loss=f"{adapter.history[-1]['loss']:.3f}", refresh=False)
            bar.update()
            due = adapter.steps % options.checkpoint_every == 0 or adapter.steps == recipe.steps
            if checkpoint_dir and due:
                adapter.tensors = run.learned()
                write_checkpoint(checkpoint_dir, adapter, run.tensors, run.optimizer, options.keep_checkpoints)
    adapter.tensors = run.learned()
    adapter.cost = run.cost((time.perf_counter() - began) / max(adapter.steps - first, 1))
    return adapter


@dataclass
class Training:
    """One run of the loop: what it was given, and what it keeps between steps."""

    backbone: Backbone
    recipe: Recipe
    examples: Examples
    options: Hyperparameters
    adapter: Adapter
    spectra: dict = field(default_factory=dict)

    def __post_init__(self):
        device, self.tensors = self.backbone.device.type, self.recipe.tensors
        self.first_embedding = self.tensors[EMBEDDING].clone() if self.recipe.placeholder else None
        self.dtype = precision(self.options.precision, device)
        self.conditions = Conditions(self.backbone, self.recipe)
        self.scaler = torch.amp.GradScaler(device, enabled=self.dtype == torch.float16)
        groups = [
            {
                "params": [self.tensors[n] for n in phase.names],
                "lr": phase.lr,
                "weight_decay": phase.weight_decay,
            }
            for phase in self.recipe.phases
        ]
        # The fused kernel needs no temporary copies of the gradients, and one pass over memory instead of ten.
        self.optimizer = torch.optim.AdamW(groups, fused=device in FUSED)
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()

    def step(self, step: int) -> dict:
        """Take one optimiser step; its row of the history."""
        self.activate(step)
        generator = step_generator(self.adapter.seed, step)
        return self.update(step, [self.accumulate(generator) for _ in range(self.options.accumulation)])

    def activate(self, step: int) -> None:
        """Ask for the gradients of what trains in a step."""
        active = set(self.recipe.active(step))
        for name, tensor in self.tensors.items():
            tensor.requires_grad_(name in active)

    def update(self, step: int, losses: list[float]) -> dict:
        """Let the optimiser use the gradients of a step; its row of the history."""
        self.scaler.unscale_(self.optimizer)
        trained = [tensor for tensor in self.tensors.values() if tensor.requires_grad]
        norm = float(torch.nn.utils.clip_grad_norm_(trained, self.options.max_grad_norm))
        if not (math.isfinite(norm) or self.scaler.is_enabled()):  # the scaler skips such a step by itself
            raise Diverged(self.advice(f"the gradient's norm is {norm}"), self.adapter)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        return {"step": step + 1, "loss": sum(losses) / len(losses), "grad_norm": norm, **self.drift()}

    def accumulate(self, generator: torch.Generator) -> float:
        """Add one batch's gradients; its loss."""
        with self.backbone.swapped(full_weights(self.backbone, self.tensors, self.spectra)):
            with torch.autocast(self.backbone.device.type, self.dtype, enabled=self.dtype != torch.float32):
                loss, ignorant = diffusion_loss(
                    self.conditions, self.examples, self.tensors, self.options.batch_size, generator
                )
            self.check(float(loss.detach()), ignorant)
            self.scaler.scale(loss / self.options.accumulation).backward()
        return float(loss.detach())

    def check(self, loss: float, ignorant: float) -> None:
        """Stop a run whose loss is not finite, or far above `ignorant`, that of always answering 0."""
        if not loss <= DIVERGED * ignorant:  # NaN too
            what = f"the loss is {loss:.3g}, where always answering 0 would give {ignorant:.3g}"
            raise Diverged(self.advice(what), self.adapter)

    def drift(self) -> dict[str, float]:
        """Of a new word: its vectors' mean norm, and 1 - cosine to where they started."""
        if not self.recipe.placeholder:
            return {}
        now = self.tensors[EMBEDDING].detach()
        return {
            "embedding_norm": float(now.norm(dim=1).mean()),
            "cosine_drift": float(1 - cosine_similarity(now, self.first_embedding).mean()),
        }

    def learned(self) -> dict[str, torch.Tensor]:
        """The adapter's tensors, without parameters that are what they were."""
        return {
            name: tensor.detach().cpu()
            for name, tensor in self.tensors.items()
            if not (is_parameter(name) and torch.equal(tensor, self.backbone.parameter(name)))
        }

    def cost(self, seconds_per_step: float) -> dict:
        """Trainable parameters, seconds per step, and peak GPU memory in MB (None on a CPU, where it is not
        known)."""
        on_gpu = self.backbone.device.type == "cuda"
        return {
            "trainable_parameters": sum(tensor.numel() for tensor in self.tensors.values()),
            "seconds_per_step": seconds_per_step,
            "peak_memory_mb": torch.cuda.max_memory_allocated() / 1e6 if on_gpu else None,
        }

    def advice(self, what: str) -> str:
        """A message for `Diverged`."""
        rates = ", ".join(f"{phase.lr:g}" for phase in self.recipe.phases)
        half = "" if self.dtype == torch.float32 else ', or precision="fp32"'
        return (
            f"{self.adapter.name}: training diverged at step {self.adapter.steps + 1}: {what}. Try a "
            f"tenth of the learning rate {rates}, a max_grad_norm below {self.options.max_grad_norm:g}{half}. The "
            "last checkpoint is as it was."
        )


@contextmanager
def prepared_unet(backbone: Backbone, options: Hyperparameters) -> Iterator[None]:
    """Let the UNet recompute its activations in the backward pass, or be compiled, as the options say."""
    if options.gradient_checkpointing:
        backbone.unet.enable_gradient_checkpointing()
    if options.compile:
        backbone.unet.compile()
    try:
        yield
    finally:
        backbone.unet.disable_gradient_checkpointing()
        backbone.unet._compiled_call_impl = None  # torch has no public way back from Module.compile


def out_of_memory(options: Hyperparameters) -> str:
    """What to try when the GPU's memory does not hold a step."""
    return (
        f"training with batch_size={options.batch_size}, gradient_checkpointing={options.gradient_checkpointing}. Set "
        "gradient_checkpointing = true (the same result, a third more time), or halve batch_size and double "
        "accumulation, in data/profiles.toml"
    )
