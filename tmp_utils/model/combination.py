"""Two concepts in one prompt: "a <fiddle> over a <taiko>".

Conventions: new words (TI) do not touch each other, since the backbone stays frozen, so any number of them can stand
in a prompt, beside one adapter that changes weights. Two that change weights cannot: each was learned without the
other's changes, and their sum is a model that nobody trained.

combine     : adapters -> Combination.
Combination : adapters that are applied together; `generate` takes it where it takes an adapter.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tmp_utils.model.adapter import Adapter, applied_together
from tmp_utils.model.backbone import Backbone
from tmp_utils.model.tensors import EMBEDDING


@dataclass(frozen=True)
class Combination:
    """Adapters that are applied together; `combine` makes it."""

    adapters: tuple[Adapter, ...]

    @property
    def name(self) -> str:
        """For messages."""
        return " and ".join(adapter.name for adapter in self.adapters)

    def with_nouns(self, prompts: list[str]) -> list[str]:
        """Prompts with each adapter's class noun in the place of its words."""
        for adapter in self.adapters:
            prompts = adapter.with_nouns(prompts)
        return prompts

    @contextmanager
    def applied(self, backbone: Backbone, strength: float = 1.0) -> Iterator[Backbone]:
        """Use the backbone with all of them, at one strength; otherwise as `Adapter.applied`."""
        with applied_together(backbone, self.adapters, strength):
            yield backbone


def combine(*adapters: Adapter) -> Combination:
    """Let several adapters share a prompt.

    Raises
    ------
    ValueError : fewer than two, adapters of different backbones, one word twice, or more than one that changes weights.
    """
    if len(adapters) < 2:
        raise ValueError(f"{len(adapters)} adapters; combine takes two or more. One alone needs no combination.")
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
    if len(heavy) > 1:
        raise ValueError(
            f"{' and '.join(heavy)} both change the backbone's weights, and cannot be used together. Possible are new "
            "words (TI) with each other, and new words with one adapter that changes weights: learn one of the two "
            "concepts with method TI."
        )
    return Combination(adapters)
