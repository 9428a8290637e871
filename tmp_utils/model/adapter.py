"""An adapter is a file: what personalisation changed, and how to put it on a backbone and take it off.

Conventions: an adapter's tensors say by their names what they are, so that a file needs no code of its
method:

    "embedding"                        (n_vectors, d), the placeholder's vectors
    "<parameter>"                      the parameter's full new value
    "<parameter>.difference"           fp16, added to the parameter: how finished runs keep full values
    "<module>.lora_A.weight", "lora_B" (rank, in), (out, rank): the weight W becomes W + B A (peft's names)
    "<parameter>.shift"                (r,), added to the parameter's singular values, which stay >= 0

A parameter is named as in `backbone`: "unet.<name>" or "text_encoder.<name>".

Adapter      : the tensors, where they come from, and `applied`.
load_adapter : folder -> Adapter.
full_weights : tensors of an adapter -> values of the parameters they change; used in training too.
singular     : a parameter's singular value decomposition.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from tmp_utils.files import whole_folder, write_tensors, write_text
from tmp_utils.inputs.concepts import Concept
from tmp_utils.model.backbone import Backbone

FORMAT = 2  # of adapter.json and its tensor names; 1 called the hyperparameters "settings"
TENSORS_FILE, HEADER_FILE = "adapter.safetensors", "adapter.json"
# Types of the header's values, and the lowest number; no text may be empty.
HEADER = {
    **dict.fromkeys(("method", "setup", "concept", "class_noun", "words"), ((str,), None)),
    **dict.fromkeys(("backbone_id", "backbone_hash", "stored"), ((str,), None)),
    **dict.fromkeys(("rare_word", "placeholder"), ((str, type(None)), None)),
    **dict.fromkeys(("seed", "steps"), ((int,), 0)),
    **{"hyperparameters": ((dict,), None), "history": ((list,), None)},
}
LORA_A, LORA_B, SHIFT, EMBEDDING = ".lora_A.weight", ".lora_B.weight", ".shift", "embedding"
DIFFERENCE = ".difference"
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
    cost : trainable parameters, seconds per step, peak memory; measured, so not saved.
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
        return {name: value for name, value in (header | values).items() if name not in ELSEWHERE}

    def halved(self, backbone: Backbone) -> "Adapter":
        """The same with parameters as fp16 differences from the backbone's, in half the space.

        Clips differ by less than 1e-4 of full scale and CLAP-A by less than 1e-5 (DreamBooth on the pocket model). New
        words, low-rank updates and shifts stay as they are.
        """
        if not any(map(is_parameter, self.tensors)):
            return self
        tensors = {name: tensor for name, tensor in self.tensors.items() if not is_parameter(name)}
        for name in self.tensors.keys() - tensors.keys():
            tensors[name + DIFFERENCE] = (self.tensors[name] - backbone.parameter(name).detach().cpu()).half()
        return replace(self, tensors=tensors, stored=DIFFERENCES)

    def save(self, folder: str | Path) -> Path:
        """Write `adapter.safetensors` and `adapter.json`; the same adapter gives the same bytes."""
        with whole_folder(Path(folder)) as part:
            write_adapter(self, part)
        return Path(folder)

    @contextmanager
    def applied(self, backbone: Backbone) -> Iterator[Backbone]:
        """Use the backbone with this adapter; afterwards it is bit for bit as it was, whatever happens.

        Raises
        ------
        ValueError : the adapter was learned on another backbone, or its tensors do not fit this one.
        RuntimeError : an adapter is applied already.
        """
        if backbone.adapter is not None:
            raise RuntimeError(
                f"{backbone.adapter} is applied to this backbone already; leave its `with` block first. "
                "Adapters do not add up."
            )
        if self.backbone_hash != backbone.hash:
            raise ValueError(
                f"{self.name}: learned on {self.backbone_id} ({self.backbone_hash[:12]}), but this backbone "
                f"is {backbone.id} ({backbone.hash[:12]}). Load that one, or learn the concept again on this."
            )
        _check_shapes(self, backbone)
        tensors = {name: tensor.to(backbone.device) for name, tensor in self.tensors.items()}
        with torch.no_grad():
            weights = full_weights(backbone, tensors)
        with backbone.swapped(weights):
            backbone.adapter = self.name
            if self.placeholder:
                backbone.overrides = {self.placeholder: tensors[EMBEDDING]}
            try:
                yield backbone
            finally:
                backbone.adapter, backbone.overrides = None, {}


def full_weights(
    backbone: Backbone, tensors: dict[str, torch.Tensor], spectra: dict | None = None
) -> dict[str, torch.Tensor]:
    """Values of the parameters that an adapter's tensors change, differentiable in the tensors.

    Parameters
    ----------
    spectra : decompositions by parameter name, filled as needed; keep it to compute each only once.
    """
    spectra = {} if spectra is None else spectra
    weights = {}
    for name, tensor in tensors.items():
        if name.endswith(LORA_A):
            module = name.removesuffix(LORA_A)
            change = tensors[module + LORA_B] @ tensor
            weights[f"{module}.weight"] = backbone.parameter(f"{module}.weight") + change
        elif name.endswith(SHIFT):
            of = name.removesuffix(SHIFT)
            if of not in spectra:
                spectra[of] = singular(backbone.parameter(of))
            left, values, right = spectra[of]
            change = (left * (torch.relu(values + tensor) - values)) @ right
            weights[of] = backbone.parameter(of) + change.reshape(backbone.parameter(of).shape)
        elif name.endswith(DIFFERENCE):
            of = name.removesuffix(DIFFERENCE)
            weights[of] = backbone.parameter(of) + tensor.float()
        elif is_parameter(name):
            weights[name] = tensor
    return weights


def is_parameter(name: str) -> bool:
    """Whether an adapter's tensor is a parameter's full value."""
    return name != EMBEDDING and not name.endswith((LORA_A, LORA_B, SHIFT, DIFFERENCE))


def singular(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """U (out, r), S (r,), V^T (r, rest) of a weight whose axes after the first are taken as one."""
    return torch.linalg.svd(weight.detach().flatten(1), full_matrices=False)


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
                "KEEP=clips deletes it; delete the run's folder and run again to train it anew."
            )
    damaged = f"{folder}: a damaged adapter. Train it again, or copy the folder afresh"
    try:
        header = json.loads((folder / HEADER_FILE).read_text(encoding="utf-8"))
        tensors = load_file(folder / TENSORS_FILE)
    except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{damaged} ({error}).") from error
    if not isinstance(header, dict):
        raise ValueError(f"{damaged} ({HEADER_FILE} is no table).")
    if header.get("format") == 1:
        header |= {"format": FORMAT, "hyperparameters": header.pop("settings", None)}
    if header.get("format") != FORMAT:
        raise ValueError(f"{folder}: adapter format {header.get('format')}; this version reads 1 and {FORMAT}.")
    header.setdefault("stored", EXACT)
    known = {f.name for f in fields(Adapter)} - {"tensors", "cost"}
    del header["format"]
    if odd := sorted(known ^ header.keys()):
        raise ValueError(f"{damaged} (its header lacks or adds {', '.join(odd)}).")
    if fault := _header_fault(header):
        raise ValueError(f"{damaged} ({HEADER_FILE}: {fault}).")
    if fault := _tensor_fault(header["placeholder"], tensors):
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


def _tensor_fault(placeholder: str | None, tensors: dict[str, torch.Tensor]) -> str | None:
    """What is wrong with an adapter's tensors by themselves, or None."""
    if bool(placeholder) != (EMBEDDING in tensors):
        return "placeholder and embedding do not go together"
    for name, tensor in tensors.items():
        if not (tensor.is_floating_point() and tensor.isfinite().all()):
            return f"{name} holds values that are not finite numbers"
        for end, other in ((LORA_A, LORA_B), (LORA_B, LORA_A)):
            partner = name.removesuffix(end) + other
            if name.endswith(end) and partner not in tensors:
                return f"{name} without {partner}"
    return None


def _check_shapes(adapter: Adapter, backbone: Backbone) -> None:
    """Raise ValueError where a tensor does not fit the backbone."""
    for name, tensor in adapter.tensors.items():
        expected = _expected_shape(name, adapter.tensors, backbone)
        if tuple(tensor.shape) != expected:
            raise ValueError(
                f"{adapter.name}: {name} has shape {tuple(tensor.shape)}; this backbone expects {expected}. The "
                "adapter is damaged: train it again, or copy its folder afresh."
            )


def _expected_shape(name: str, tensors: dict[str, torch.Tensor], backbone: Backbone) -> tuple[int, ...] | None:
    """The shape that a tensor of a name must have; None where the backbone has no such parameter."""
    if name == EMBEDDING:
        return max(1, len(tensors[name])) if tensors[name].ndim else 1, backbone.words.shape[1]
    try:
        if name.endswith((LORA_A, LORA_B)):
            module = name.removesuffix(LORA_A).removesuffix(LORA_B)
            n_out, n_in = backbone.parameter(f"{module}.weight").shape
            rank = tensors[module + LORA_A].shape[0]
            return (rank, n_in) if name.endswith(LORA_A) else (n_out, rank)
        weight = backbone.parameter(name.removesuffix(SHIFT).removesuffix(DIFFERENCE))
    except (AttributeError, KeyError, ValueError, IndexError):
        return None
    return (min(weight.flatten(1).shape),) if name.endswith(SHIFT) else tuple(weight.shape)


def write_adapter(adapter: Adapter, folder: Path) -> None:
    """Write an adapter's two files into an existing folder."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(adapter.tensors.items())}
    write_tensors(folder / TENSORS_FILE, tensors)
    write_text(folder / HEADER_FILE, json.dumps(adapter.header(), indent=1, ensure_ascii=False) + "\n")
