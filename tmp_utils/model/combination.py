"""Two concepts in one prompt: "a <fiddle> over a <taiko>".

Conventions: new words (TI) do not touch each other, since the backbone stays frozen, so any number of them can stand
in a prompt, beside one adapter that changes weights. Two that change weights cannot, but for low-rank updates
(DB-LoRA), which are small: W becomes W + w_1 B_1 A_1 + w_2 B_2 A_2, with a weight each, as is usual for images. Each
was learned without the other, so their sum is a model that nobody trained; notebook 07 measures what it does.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tmp_utils.model.adapter import Adapter, applied_together
from tmp_utils.model.backbone import Backbone
from tmp_utils.model.tensors import EMBEDDING, LORA_A, LORA_B


@dataclass(frozen=True)
class Combination:
    """Adapters that are applied together, each with its weight; `combine` makes it."""

    adapters: tuple[Adapter, ...]
    weights: tuple[float, ...]

    @property
    def name(self) -> str:
        """The adapters' names, for messages."""
        return " and ".join(adapter.name for adapter in self.adapters)

    def with_nouns(self, prompts: list[str]) -> list[str]:
        """Prompts with each adapter's class noun in the place of its words."""
        for adapter in self.adapters:
            prompts = adapter.with_nouns(prompts)
        return prompts

    @contextmanager
    def applied(self, backbone: Backbone, strength: float = 1.0) -> Iterator[Backbone]:
        """Use the backbone with all of them, each at its weight times a strength; otherwise as `Adapter.applied`."""
        with applied_together(backbone, self.adapters, [strength * weight for weight in self.weights]):
            yield backbone


def combine(*adapters: Adapter, weights: Sequence[float] = ()) -> Combination:
    """Let several adapters share a prompt.

    Parameters
    ----------
    weights : the strength of each; 1 by default.

    Raises
    ------
    ValueError : fewer than two, not a weight for each, adapters of different backbones, one word twice, or more than
        one that changes weights and is no low-rank update.
    """
    if len(adapters) < 2:
        raise ValueError(f"{len(adapters)} adapters; combine takes two or more. One alone needs no combination.")
    weights = tuple(map(float, weights)) or (1.0,) * len(adapters)
    if len(weights) != len(adapters):
        raise ValueError(f"{len(weights)} weights for {len(adapters)} adapters; give one for each, or none.")
    first = adapters[0]
    for other in adapters[1:]:
        if other.backbone_hash != first.backbone_hash:
            raise ValueError(
                f"{first.name} was learned on {first.backbone_id} ({first.backbone_hash[:12]}), {other.name} on "
                f"{other.backbone_id} ({other.backbone_hash[:12]}). Learn one of them again on the other's backbone."
            )
    words = [adapter.words for adapter in adapters]
    if twice := next((word for word in words if words.count(word) > 1), None):
        names = " and ".join(adapter.name for adapter in adapters if adapter.words == twice)
        raise ValueError(
            f"{names} have the same word, {twice}, so a prompt cannot say which is meant. Learn one of them under "
            "another name."
        )
    heavy = [adapter.name for adapter in adapters if set(adapter.tensors) != {EMBEDDING}]
    low_rank = all(name.endswith((LORA_A, LORA_B)) for a in adapters for name in a.tensors if name != EMBEDDING)
    if len(heavy) > 1 and not low_rank:
        raise ValueError(
            f"{' and '.join(heavy)} both change the backbone's weights, and cannot be used together. Possible are new "
            "words (TI) with each other, new words with one adapter that changes weights, and low-rank updates "
            "(DB-LoRA) with each other: learn one of the two concepts with method TI, or both with DB-LoRA."
        )
    return Combination(adapters, weights)
