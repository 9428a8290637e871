"""Operations: of the UNet in a training step, and what the machine can do at best.

Conventions: a multiplication and an addition are two operations (torch.utils.flop_counter's count). GFLOP/s are 10^9 a
second. The peak is that of torch's matrix product, in the precision that the step computes in.
"""

from collections.abc import Callable, Mapping

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tmp_utils.commands.bench.timing import seconds_of
from tmp_utils.personalize.training import Training

SIDES = {"cpu": (512, 1024, 2048), "cuda": (4096, 8192)}  # of the square matrices whose product is timed


def count_flops(action: Callable[[], object]) -> int:
    """Operations of an action. Attention is run as plain products meanwhile, since not every fused one is counted."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        action()
    return counter.get_total_flops()


def training_flops(unet, shape: tuple[int, ...], trained: bool) -> int:
    """Operations of a UNet's forward and backward pass on latents of `shape`, counted on tensors without data.

    Parameters
    ----------
    trained : whether it computes its weights' gradients (DB), or only those of the condition (TI).
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


def unet_rate(run: Training, parts: Mapping[str, float]) -> dict[str, float]:
    """Achieved speed of the UNet in a training step whose `parts` `step_parts` measured.

    Returns
    -------
    gflop : of a step, forward and backward.
    gflop_per_s, peak_gflop_per_s, share : achieved, the machine's, and their quotient.
    """
    latents = (run.hyperparameters.batch_size, *run.examples.mean.shape[2:])
    flops = training_flops(run.backbone.unet, latents, trained=run.recipe.placeholder is None)
    speed = flops / (parts["UNet forward"] + parts["backward"])
    peak = matmul_peak(run.backbone.device.type, run.dtype)
    rates = {"gflop_per_s": speed / 1e9, "peak_gflop_per_s": peak / 1e9, "share": speed / peak}
    return {"gflop": flops / 1e9, **rates}
