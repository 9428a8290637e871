"""Operations: of the UNet in a training step, and what the machine can do at best.

Conventions: a multiplication and an addition are two operations (torch.utils.flop_counter's count). GFLOP/s are 10^9 a
second. The peak is that of torch's own matrix product, in the precision that the step computes in.

unet_pass      : run -> the UNet's part of a step, forward and backward, as an action.
count_flops    : action -> operations.
training_flops : UNet -> operations of that part without running it.
matmul_peak    : device and precision -> operations a second.
unet_rate      : run -> achieved operations a second, and their share of the peak.
"""

import statistics
from collections.abc import Callable

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tmp_utils.commands.bench.timing import alternating, seconds_of
from tmp_utils.model.adapter import full_weights
from tmp_utils.personalize.objective import draw_batch, squared_errors
from tmp_utils.personalize.training import Training, step_generator

SIDES = {"cpu": (512, 1024, 2048), "cuda": (4096, 8192)}  # of the square matrices whose product is timed


def unet_pass(run: Training) -> Callable[[], None]:
    """The UNet's answers to one batch and their gradients, of whatever the run trains."""
    run.require_gradients()
    backbone, n = run.backbone, run.hyperparameters.batch_size
    draw = draw_batch(run.recipe, run.examples, backbone.scheduler.config.num_train_timesteps, n, step_generator(0, 0))
    condition = backbone.null_condition.expand(len(draw.rows), -1).clone()
    condition.requires_grad_(run.recipe.placeholder is not None)

    def action() -> None:
        with backbone.swapped(full_weights(backbone, run.tensors, run.spectra)):
            with torch.autocast(backbone.device.type, run.dtype, enabled=run.dtype != torch.float32):
                errors, _ = squared_errors(backbone, draw, condition)
            errors.mean().backward()
        condition.grad = None
        run.optimizer.zero_grad()

    return action


def count_flops(action: Callable[[], object]) -> int:
    """Operations of an action. Attention is run as plain products meanwhile, since not every fused one is counted."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        action()
    return counter.get_total_flops()


def training_flops(unet, shape: tuple[int, ...], trained: bool) -> int:
    """Operations of a UNet's forward and backward pass on latents of `shape`, counted on tensors without data.

    Parameters
    ----------
    trained : whether its weights' gradients are asked for (DB), or only those of the condition (TI).
    """
    with torch.device("meta"):
        empty = type(unet).from_config(unet.config).requires_grad_(trained)
        latents, steps = torch.empty(shape), torch.zeros(shape[0], dtype=torch.long)
        condition = torch.empty(shape[0], unet.config.projection_class_embeddings_input_dim, requires_grad=not trained)
        return count_flops(lambda: empty(latents, steps, None, class_labels=condition).sample.sum().backward())


def matmul_peak(device: str, dtype: torch.dtype, repeats: int = 5) -> float:
    """Operations a second of the best of several matrix products."""
    best = 0.0
    for side in SIDES["cuda" if device == "cuda" else "cpu"]:
        one, other = torch.randn(2, side, side, device=device).to(dtype)
        (one @ other).sum()
        best = max(best, *(2 * side**3 / seconds_of(lambda a=one, b=other: a @ b) for _ in range(repeats)))
    return best


def unet_rate(run: Training, repeats: int = 5) -> dict[str, float]:
    """Achieved speed of the UNet's part of a training step.

    Returns
    -------
    gflop, seconds : of one pass, forward and backward.
    gflop_per_s, peak_gflop_per_s, share : achieved, the machine's, and their quotient.
    """
    action, device = unet_pass(run), run.backbone.device.type
    flops = count_flops(action)
    seconds = statistics.median(alternating({"pass": action}, repeats)["pass"])
    peak = matmul_peak(device, run.dtype)
    rates = {"gflop_per_s": flops / seconds / 1e9, "peak_gflop_per_s": peak / 1e9, "share": flops / seconds / peak}
    return {"gflop": flops / 1e9, "seconds": seconds, **rates}
