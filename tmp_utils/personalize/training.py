"""One training that is going on: what it learns from, and what it keeps between steps.

Conventions: trained tensors and their AdamW moments are fp32; a GPU computes in half precision around them. What a
step draws depends on (seed, step) alone, so a resumed training repeats the same bits (on a CPU). The backbone's
parameters are never written to.

Training       : its tensors, optimiser, history and checkpoints.
Diverged       : the error of a loss that grows without bound, or of gradients that are not finite.
step_generator : the random numbers of one step.
"""

import hashlib
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch.nn.functional import cosine_similarity

from tmp_utils.inputs.profiles import Hyperparameters
from tmp_utils.model.adapter import Adapter
from tmp_utils.model.backbone import Backbone
from tmp_utils.model.device import precision
from tmp_utils.model.tensors import EMBEDDING, is_parameter
from tmp_utils.personalize.checkpoint import last_checkpoint, restore, write_checkpoint
from tmp_utils.personalize.examples import Examples
from tmp_utils.personalize.objective import Conditions
from tmp_utils.personalize.recipe import Recipe

DIVERGED = 10  # times the loss of always predicting 0, which is that of a model that knows nothing
# In fp16 the scale of the loss begins at 2^16 and is halved where a gradient overflows. After so many halvings in a row
# the loss is not scaled up any more, and a gradient that still is not finite will not become so.
OVERFLOWS = 16
FUSED = ("cpu", "cuda")  # devices that have AdamW in one kernel


class Diverged(RuntimeError):
    """The loss is not finite, or far above that of a model that knows nothing; or the gradients are not finite.

    finished : of several trainings, the adapters of those that did not diverge, None for those that did.
    """

    finished: tuple = ()


def step_generator(seed: int, step: int) -> torch.Generator:
    """The CPU generator of one step."""
    digest = hashlib.sha256(f"{seed}/{step}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


@dataclass(eq=False)
class Training:
    """Attributes
    ----------
    recipe : its tensors are trained in place.
    adapter : the result; its tensors and history are filled while training goes on.
    checkpoint_dir : where checkpoints go, each an adapter with its optimiser's moments; None writes none.
    checkpoint_at : steps after which there is a checkpoint besides those of every `checkpoint_every` and the end.
    on_checkpoint : called after each checkpoint.
    diverged : why it ended early, or None.
    overflows : how many tries of this step gave fp16 gradients that were not finite.
    """

    backbone: Backbone
    recipe: Recipe
    examples: Examples
    hyperparameters: Hyperparameters
    adapter: Adapter
    checkpoint_dir: Path | None = None
    on_checkpoint: Callable[[], None] = lambda: None
    checkpoint_at: Collection[int] = ()
    diverged: Diverged | None = None
    overflows: int = 0
    spectra: dict = field(default_factory=dict)

    def __post_init__(self):
        device, self.tensors = self.backbone.device.type, self.recipe.tensors
        self.first_embedding = self.tensors[EMBEDDING].clone() if self.recipe.placeholder else None
        self.dtype = precision(self.hyperparameters.precision, device)
        self.conditions = Conditions(self.backbone, self.recipe)
        self.scaler = torch.amp.GradScaler(device, enabled=self.dtype == torch.float16)
        groups = [
            {"params": [self.tensors[n] for n in phase.names], "lr": phase.lr, "weight_decay": phase.weight_decay}
            for phase in self.recipe.phases
        ]
        # The fused kernel needs no temporary copies of the gradients, and one pass over memory instead of ten.
        self.optimizer = torch.optim.AdamW(groups, fused=device in FUSED)
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()

    @property
    def ended(self) -> bool:
        """Whether all steps are taken, or the training diverged."""
        return self.diverged is not None or self.adapter.steps >= self.recipe.steps

    def require_gradients(self) -> None:
        """Ask autograd for the gradients of the tensors trained in the next step."""
        active = set(self.recipe.active(self.adapter.steps))
        for name, tensor in self.tensors.items():
            tensor.requires_grad_(name in active)

    def weighted(self, errors: torch.Tensor) -> torch.Tensor:
        """The mean of errors (b,) of the concept's clips, plus `prior_weight` times that of the class clips."""
        n = self.hyperparameters.batch_size
        weights = torch.ones_like(errors) / n
        weights[n:] *= self.recipe.prior_weight
        return (weights * errors).sum()  # a product of vectors would be rounded under autocast

    def update(self, losses: list[float]) -> None:
        """Let the optimiser use a step's gradients, and add a row to the history.

        Where fp16 gradients overflow, nothing changes but the scale, and the same step is tried again; after
        `OVERFLOWS` such tries, and at once in the other precisions, gradients that are not finite are `diverged`.
        """
        self.scaler.unscale_(self.optimizer)
        trained = [tensor for tensor in self.tensors.values() if tensor.requires_grad]
        norm = float(torch.nn.utils.clip_grad_norm_(trained, self.hyperparameters.max_grad_norm))
        if finite := math.isfinite(norm):
            self.scaler.step(self.optimizer)
        elif self.overflows == OVERFLOWS or not self.scaler.is_enabled():
            self.diverged = self._error(f"the gradient's norm is {norm}")
            return
        self.scaler.update()
        self.optimizer.zero_grad()
        self.overflows = 0 if finite else self.overflows + 1
        if not finite:
            return
        self.adapter.steps += 1
        row = {"step": self.adapter.steps, "loss": sum(losses) / len(losses), "grad_norm": norm, **self.drift()}
        self.adapter.history.append(row)

    def check(self, loss: float, zero_loss: float) -> None:
        """Raise `Diverged` where a loss is not finite, or far above that of always answering 0."""
        if not loss <= DIVERGED * zero_loss:  # NaN too
            self.diverged = self._error(f"the loss is {loss:.3g}, where always answering 0 would give {zero_loss:.3g}")
            raise self.diverged

    def drift(self) -> dict[str, float]:
        """Of a new word: its vectors' mean norm, and 1 - cosine to where they started."""
        if not self.recipe.placeholder:
            return {}
        now = self.tensors[EMBEDDING].detach()
        return {
            "embedding_norm": float(now.norm(dim=1).mean()),
            "cosine_drift": float(1 - cosine_similarity(now, self.first_embedding).mean()),
        }

    def resume(self) -> None:
        """Continue from the last checkpoint, if there is one.

        Raises
        ------
        ValueError : it is of another run, damaged, or of a later step than the last of this training.
        """
        if checkpoint := last_checkpoint(self.checkpoint_dir):
            restore(checkpoint, self.adapter, self.tensors, self.optimizer)
            if self.adapter.steps > self.recipe.steps:
                raise ValueError(
                    f"{checkpoint}: a checkpoint of step {self.adapter.steps}, but this training ends at step "
                    f"{self.recipe.steps}. Give this training another folder, delete that one, or take as many steps."
                )

    def save_checkpoint(self) -> None:
        """Write a checkpoint every `checkpoint_every` steps, at `checkpoint_at` and at the end.

        There is none where the last try took no step.
        """
        steps = self.adapter.steps
        due = steps % self.hyperparameters.checkpoint_every == 0 or steps in self.checkpoint_at or self.ended
        if self.checkpoint_dir and due and not (self.diverged or self.overflows):
            self.adapter.tensors, keep = self.learned(), self.hyperparameters.keep_checkpoints
            write_checkpoint(self.checkpoint_dir, self.adapter, self.tensors, self.optimizer, keep)
            self.on_checkpoint()

    def result(self, seconds_per_step: float | None) -> Adapter | None:
        """The adapter with its tensors and cost; None of a training that diverged."""
        if self.diverged:
            return None
        self.adapter.tensors, self.adapter.cost = self.learned(), self.cost(seconds_per_step)
        return self.adapter

    def learned(self) -> dict[str, torch.Tensor]:
        """The adapter's tensors, without unchanged parameters."""
        return {
            name: tensor.detach().cpu()
            for name, tensor in self.tensors.items()
            if not (is_parameter(name) and torch.equal(tensor, self.backbone.parameter(name)))
        }

    def cost(self, seconds_per_step: float | None) -> dict:
        """Trainable parameters, seconds per step, and peak GPU memory in MB (None on a CPU, where it is not known).

        Where no step was taken (None seconds), since all were in a checkpoint, the memory is not known either.
        """
        measured = seconds_per_step is not None and self.backbone.device.type == "cuda"
        return {
            "trainable_parameters": sum(tensor.numel() for tensor in self.tensors.values()),
            "seconds_per_step": seconds_per_step,
            "peak_memory_mb": torch.cuda.max_memory_allocated() / 1e6 if measured else None,
        }

    def _error(self, what: str) -> Diverged:
        rates = ", ".join(f"{phase.lr:g}" for phase in self.recipe.phases)
        half = "" if self.dtype == torch.float32 else ', or precision="fp32"'
        return Diverged(
            f"{self.adapter.name}: training diverged at step {self.adapter.steps + 1}: {what}. Try a tenth of the "
            f"learning rate {rates}, or a max_grad_norm below {self.hyperparameters.max_grad_norm:g}{half}. The last "
            "checkpoint is unchanged."
        )
