"""An adapter is a file: what personalisation changed, and how to put it on a backbone and take it off.

Conventions: an adapter is a folder with `adapter.safetensors`, `adapter.json` and, once training is over, a card. What
its tensors mean is in `tensors`.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from tmp_utils.files import whole_folder, write_tensors, write_text
from tmp_utils.inputs.concepts import Concept
from tmp_utils.inputs.profiles import decisive
from tmp_utils.model.backbone import Backbone
from tmp_utils.model.card import write_card
from tmp_utils.model.tensors import (
    DIFFERENCE,
    EMBEDDING,
    check_shapes,
    check_strength,
    is_parameter,
    scaled_weights,
    scaled_word,
    tensor_fault,
)

FORMAT = 2  # of adapter.json and its tensor names
TENSORS_FILE, HEADER_FILE = "adapter.safetensors", "adapter.json"
# Types of the header's values, and the lowest number; no text may be empty.
HEADER = {
    **dict.fromkeys(("method", "setup", "concept", "class_noun", "words"), ((str,), None)),
    **dict.fromkeys(("backbone_id", "backbone_hash", "stored"), ((str,), None)),
    **dict.fromkeys(("rare_word", "placeholder"), ((str, type(None)), None)),
    **dict.fromkeys(("seed", "steps"), ((int,), 0)),
    **{"hyperparameters": ((dict,), None), "history": ((list,), None)},
}
EXACT, DIFFERENCES = "fp32", "fp16 differences"  # what `stored` says

ELSEWHERE = ("steps", "history", "backbone_id")  # of an adapter's header: how far it is, and where its backbone lies


@dataclass
class Adapter:
    """What one concept changed in one backbone.

    Attributes
    ----------
    method, setup, concept, class_noun, rare_word, seed : what was learned; `concept` is its name.
    placeholder : the token that "embedding" belongs to, or None.
    words : what stands in for "{}" of a prompt.
    backbone_id, backbone_hash : what it was learned on.
    hyperparameters : of the setup and its method, and a digest of the clips.
    stored : "fp32", or "fp16 differences" from the backbone; see `halved`.
    steps : optimiser steps taken.
    history : one row per step.
    tensors : see the module's conventions; on the CPU.
    cost : trainable parameters, seconds per step, peak memory (`Training.cost`); measured, so not saved.
    """

    method: str
    setup: str
    concept: str
    class_noun: str
    rare_word: str | None
    seed: int
    placeholder: str | None
    words: str
    backbone_id: str
    backbone_hash: str
    hyperparameters: dict
    stored: str = EXACT
    steps: int = 0
    history: list[dict] = field(default_factory=list)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict, repr=False)
    cost: dict = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """For messages: "sitar TI-BL, seed 0"."""
        return f"{self.concept} {self.method}-{self.setup}, seed {self.seed}"

    def phrase(self, concept: Concept | None = None) -> str:
        """The words that stand in for "{}" of a prompt.

        Raises
        ------
        ValueError : the adapter learned another concept.
        """
        if concept is not None and concept.name != self.concept:
            raise ValueError(f'this adapter learned "{self.concept}", not "{concept.name}". Load that one\'s adapter.')
        return self.words

    def header(self) -> dict:
        """Everything but the tensors and what was measured, as saved."""
        rows = {name: value for name, value in vars(self).items() if name not in ("tensors", "cost")}
        return {"format": FORMAT, **rows}

    @property
    def identity(self) -> dict:
        """All that decides what was learned; not how far it is, nor where the backbone lies."""
        header = self.header()
        values = header.pop("hyperparameters")
        values = decisive(values, self.method, values.get("prior_weight", 0))
        return {name: value for name, value in (header | values).items() if name not in ELSEWHERE}

    def halved(self, backbone: Backbone) -> "Adapter":
        """The same with parameters as fp16 differences from the backbone's, in half the space.

        In one DreamBooth run of the pocket model, 30 clips differed by at most 0.0023 of full scale, CLAP-A by 1e-6,
        CLAP-T of a prompt by 5e-4, and one clip of ten had another tempo. New words, low-rank updates and shifts stay
        as they are.
        """
        if not any(map(is_parameter, self.tensors)):
            return self
        tensors = {name: tensor for name, tensor in self.tensors.items() if not is_parameter(name)}
        for name in self.tensors.keys() - tensors.keys():
            tensors[name + DIFFERENCE] = (self.tensors[name] - backbone.parameter(name).detach().cpu()).half()
        return replace(self, tensors=tensors, stored=DIFFERENCES)

    def save(self, folder: str | Path, clip: str | Path | None = None) -> Path:
        """Write `adapter.safetensors`, `adapter.json` and a card, `README.md`; the same adapter gives the same bytes.

        Parameters
        ----------
        clip : a sound file of the adapter, for the card; it is copied.
        """
        with whole_folder(Path(folder)) as part:
            write_adapter(self, part)
            write_card(self, part, clip=clip)
        return Path(folder)

    def with_nouns(self, prompts: list[str]) -> list[str]:
        """Prompts with the class noun in the place of the adapter's words."""
        return [prompt.replace(self.words, self.class_noun) for prompt in prompts]

    @contextmanager
    def applied(self, backbone: Backbone, strength: float = 1.0) -> Iterator[Backbone]:
        """Use the backbone with this adapter; afterwards it is bit for bit as it was, whatever happens.

        Parameters
        ----------
        strength : see `tensors`. `generate` takes one too, and there the prompt follows it down to the class noun.

        Raises
        ------
        ValueError : the adapter was learned on another backbone, its tensors do not fit this one, or a strength that
            is not from 0 to 1.5.
        RuntimeError : an adapter is applied already.
        """
        with applied_together(backbone, [self], [strength]):
            yield backbone


@contextmanager
def applied_together(backbone: Backbone, adapters: Sequence[Adapter], strengths: Sequence[float]) -> Iterator[None]:
    """Use the backbone with adapters, each at its strength; what they change in one weight adds up.

    Errors are those of `Adapter.applied`.
    """
    for strength in strengths:
        check_strength(strength)
    if backbone.adapter is not None:
        raise RuntimeError(
            f"{backbone.adapter} is applied to this backbone already; leave its `with` block first. Adapters do not "
            "add up; combination.combine says which can be used together."
        )
    weights, words = {}, {}
    for adapter, strength in zip(adapters, strengths, strict=True):
        if adapter.backbone_hash != backbone.hash:
            raise ValueError(
                f"{adapter.name}: learned on {adapter.backbone_id} ({adapter.backbone_hash[:12]}), but this backbone "
                f"is {backbone.id} ({backbone.hash[:12]}). Load that one, or learn the concept again on this."
            )
        check_shapes(adapter.name, adapter.tensors, backbone)
        tensors = {name: tensor.to(backbone.device) for name, tensor in adapter.tensors.items()}
        with torch.no_grad():
            for name, weight in scaled_weights(backbone, tensors, strength).items():
                weights[name] = weight if name not in weights else weights[name] + weight - backbone.parameter(name)
            if adapter.placeholder:
                vectors = scaled_word(backbone, tensors[EMBEDDING], adapter.class_noun, strength)
                words[adapter.placeholder] = vectors
    with backbone.swapped(weights), backbone.with_words(words):
        backbone.adapter = " and ".join(adapter.name for adapter in adapters)
        try:
            yield
        finally:
            backbone.adapter = None


def load_adapter(folder: str | Path) -> Adapter:
    """Read what `Adapter.save` wrote.

    Raises
    ------
    FileNotFoundError : no adapter there.
    ValueError : a file of it is damaged, a value is out of range, or it is of another format.
    """
    folder = Path(folder)
    for name in (HEADER_FILE, TENSORS_FILE):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder}: no {name}; expected a folder that Adapter.save wrote. A grid with "
                "KEEP=clips deletes it; delete the run's folder and run again to train it."
            )
    damaged = f"{folder}: a damaged adapter. Train it again, or copy the folder afresh"
    try:
        header = json.loads((folder / HEADER_FILE).read_text(encoding="utf-8"))
        tensors = load_file(folder / TENSORS_FILE)
    except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{damaged} ({error}).") from error
    if not isinstance(header, dict):
        raise ValueError(f"{damaged} ({HEADER_FILE} is not a JSON object).")
    if header.get("format") != FORMAT:
        raise ValueError(f"{folder}: adapter format {header.get('format')}; this version reads {FORMAT}.")
    known = {f.name for f in fields(Adapter)} - {"tensors", "cost"}
    del header["format"]
    if odd := sorted(known ^ header.keys()):
        raise ValueError(f"{damaged} (its header lacks or adds {', '.join(odd)}).")
    if fault := _header_fault(header):
        raise ValueError(f"{damaged} ({HEADER_FILE}: {fault}).")
    if fault := tensor_fault(header["placeholder"], tensors):
        raise ValueError(f"{damaged} ({TENSORS_FILE}: {fault}).")
    return Adapter(**header, tensors=tensors)


def _header_fault(header: dict) -> str | None:
    """Which value of a header cannot be, and what is expected; or None."""
    for name, (kinds, lowest) in HEADER.items():
        value = header[name]
        whole = isinstance(value, kinds) and not isinstance(value, bool) and (lowest is None or value >= lowest)
        if not whole or (isinstance(value, str) and not value.strip()):
            what = {str: "a text that is not empty", int: f"a whole number of at least {lowest}", dict: "a table"}
            return f"{name} = {value!r}; expected {what.get(kinds[0], 'a list')}"
    return None


def write_adapter(adapter: Adapter, folder: Path) -> None:
    """Write an adapter's two files into an existing folder."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(adapter.tensors.items())}
    write_tensors(folder / TENSORS_FILE, tensors)
    write_text(folder / HEADER_FILE, json.dumps(adapter.header(), indent=1, ensure_ascii=False) + "\n")
