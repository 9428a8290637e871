"""Whether half precision overflows: every intermediate result of each part of the pipeline, looked at once.

Conventions: Each part runs under autocast, so also those that a study leaves in single precision;
the row says whether that is needed. Weights are random here: with trained ones, magnitudes differ.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch

from tmp_utils.inputs.audio import CLIP_S
from tmp_utils.model.backbone import Backbone
from tmp_utils.model.device import PRECISIONS

INFINITE = float("inf")
PROMPT = "a jazz song"
PARTS = ("text encoder", "denoiser", "VAE encoder", "VAE decoder")  # what follows the decoder is looked at with it


@torch.no_grad()
def finite_row(backbone: Backbone, part: str, precision: str, clip_s: float = CLIP_S) -> dict:
    """Return what, precision, compiled, concepts, largest (magnitude of an intermediate) and status.

    The status is "ok", or which module is the first whose result is not finite.
    """
    action = _work(backbone, part, clip_s)
    with _watched(backbone.pipe) as seen, torch.autocast(backbone.device.type, PRECISIONS[precision]):
        action()
    wrong = [name for name, largest in seen if largest == INFINITE]
    status = f"not finite from {wrong[0] or part} on" if wrong else "ok"
    largest = max((value for _, value in seen if value < INFINITE), default=None)
    row = {"what": f"{part}, each intermediate", "precision": precision, "compiled": False, "concepts": 1}
    return {**row, "latents": 1, "largest": largest, "status": status}


def _work(backbone: Backbone, part: str, clip_s: float) -> Callable[[], object]:
    """A pass through a part."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, *backbone.latent_shape(clip_s), generator=generator).to(backbone.device)
    clip = 0.1 * torch.randn(round(clip_s * backbone.rate_hz), generator=generator).numpy()
    first = backbone.process(1).times[:1]
    return {
        "text encoder": lambda: backbone.embed_prompts([PROMPT]),
        "denoiser": lambda: backbone.predict(latents, first, backbone.embed_prompts([PROMPT])),
        "VAE encoder": lambda: backbone.moments([clip]),
        "VAE decoder": lambda: backbone.decode(latents),
    }[part]


@contextmanager
def _watched(pipe) -> Iterator[list[tuple[str, float]]]:
    """Collect the name and the largest magnitude of every result in a pipeline; infinite where one is not finite."""
    seen: list[tuple[str, float]] = []

    def look(name: str) -> Callable:
        def hook(_module, _inputs, result) -> None:
            if isinstance(result, torch.Tensor) and result.is_floating_point() and result.numel():
                seen.append((name, float(result.abs().max().nan_to_num(nan=INFINITE, posinf=INFINITE))))

        return hook

    with ExitStack() as stack:
        for part, module in pipe.components.items():
            for name, inner in module.named_modules(prefix=part) if isinstance(module, torch.nn.Module) else ():
                stack.callback(inner.register_forward_hook(look(name)).remove)
        yield seen
