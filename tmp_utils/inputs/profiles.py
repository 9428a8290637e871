"""The sizes a study runs at, and the setups it compares.

Conventions: a profile is a table of `data/profiles.toml`: a backbone, an embedder, how to generate, and each
method's hyperparameters. A setup is a row of `data/setups.csv`: a method and the one thing that varies
(paper, section 3). Nothing here touches a model.

The environment variable TMP_PROFILES names another such file, whose tables are laid over those of `data/profiles.toml`.

DATA_DIR      : the folder of everything that is read and never written; the variable TMP_DATA_DIR moves it.
load_profile  : name -> Profile.
Hyperparameters : of a method, as a profile gives them.
decisive      : those that decide what a setup learns.
load_setup    : method and setup -> Setup.
list_setups   : every setup, or one method's.
method_of     : the method in a setup's name.
"""

import copy
import os
from collections.abc import Mapping
from dataclasses import MISSING, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from tmp_utils.inputs.tables import Count, Name, NotNegative, Positive, Words, read_rows, read_toml, validate

PROFILES_VARIABLE = "TMP_PROFILES"
DATA_DIR = Path(os.environ.get("TMP_DATA_DIR", Path(__file__).resolve().parents[2] / "data"))


@dataclass(frozen=True, config={"strict": True, "extra": "forbid"})
class Hyperparameters:
    """Hyperparameters of a method, each within its range.

    Attributes
    ----------
    lr, steps, batch_size : of AdamW; `accumulation` batches make a step.
    weight_decay, max_grad_norm : decay of DreamBooth's weights, never of a new word; the norm gradients are
        cut to.
    precision : "fp32", "bf16", "fp16"; "auto" is fp32 on a CPU, and on a GPU bf16 where it has it, else fp16.
        The trained tensors and their moments stay fp32.
    gradient_checkpointing : less memory for about a third more time; the same gradients.
    compile : let torch.compile fuse the UNet: a minute or more at the start, then faster on a GPU; other rounding.
    checkpoint_every, keep_checkpoints : steps; whether earlier ones are kept.
    n_vectors, ti_lr, ti_steps : of a new word, and of the first phase of TI-DB.
    prior_clips, prior_lr : of prior preservation: the number of class clips, and the learning rate with it; None is
        `lr`.
    """

    lr: Positive
    steps: Count
    batch_size: Count = 4
    accumulation: Count = 1
    weight_decay: NotNegative = 1e-2
    max_grad_norm: Positive = 1.0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    gradient_checkpointing: bool = False
    compile: bool = False
    checkpoint_every: Count = 50
    keep_checkpoints: bool = False
    n_vectors: Count = 1
    ti_lr: Positive = 2e-2
    ti_steps: Annotated[int, Field(ge=0)] = 0
    prior_clips: Count = 16
    prior_lr: Positive | None = None

    @classmethod
    def of(cls, values: dict[str, Any], place: str) -> "Hyperparameters":
        """A profile's hyperparameters; ValueError names `place`, the field, its value and what is allowed."""
        return validate(cls, values, place)


DEFAULTS = {each.name: each.default for each in fields(Hyperparameters) if each.default is not MISSING}
INCIDENTAL = {"checkpoint_every", "keep_checkpoints"}  # when a training saves, not what it learns
UNUSED = {"TI": {"weight_decay", "ti_lr", "ti_steps"}, "TI-DB": set()}  # by method
UNUSED_BY_OTHERS = {"n_vectors", "ti_lr", "ti_steps"}


def decisive(values: Mapping[str, Any], method: str, prior_weight: float = 0) -> dict[str, Any]:
    """Return the hyperparameters that decide what a setup learns, defaults among them.

    Parameters
    ----------
    values : of `method`, as a profile gives them or a finished run stored them; other names among them stay.
    prior_weight : the setup's. With prior preservation `lr` is the learning rate that is used, and there is no
        `prior_lr`.
    """
    values = {**DEFAULTS, **values}
    unused = INCIDENTAL | UNUSED.get(method, UNUSED_BY_OTHERS) | {"prior_lr"}
    if not prior_weight:
        unused |= {"prior_clips"}
    elif values["prior_lr"]:
        values["lr"] = values["prior_lr"]
    return {name: value for name, value in values.items() if name not in unused}


@dataclass(frozen=True, config={"strict": True, "extra": "forbid"})
class Profile:
    """One table of `data/profiles.toml`.

    Attributes
    ----------
    backbone : a Hugging Face id, or a folder; a relative folder is under `DATA_DIR`.
    embedder : what `embed.load_embedder` takes.
    device : "auto", "cpu", "cuda" or "mps".
    guidance_scale : classifier-free guidance, dimensionless; 1 is none.
    inference_steps, scheduler : how many denoising steps, and by which diffusers scheduler.
    reconstruction_clips, clips_per_prompt, n_editability_prompts : how many clips are generated for each adapter: of
        the reconstruction prompt, of each editability prompt, and how many of those.
    clip_s : duration of a generated clip in seconds.
    methods : hyperparameters by method name; `lr`, `steps`, `batch_size` and what the method adds.
    """

    name: Name
    backbone: Words
    embedder: Words
    device: Words
    guidance_scale: NotNegative
    inference_steps: Count
    scheduler: Words
    reconstruction_clips: Count
    clips_per_prompt: Count
    n_editability_prompts: Count
    clip_s: Positive
    methods: dict[str, dict[str, Any]] = field(hash=False)

    def method(self, name: str) -> dict[str, Any]:
        """Hyperparameters of one method; ValueError lists the methods that the profile has."""
        if name not in self.methods:
            raise ValueError(f'profile "{self.name}" has no method "{name}"; it has {", ".join(self.methods)}.')
        return dict(self.methods[name])


Absent = BeforeValidator(lambda value: None if value == "" else value)  # an empty cell


@dataclass(frozen=True, config={"extra": "forbid"})
class Setup:
    """One row of `data/setups.csv`.

    Attributes
    ----------
    method, setup : e.g. "TI" and "MW"; together the setup's name, and the table's key.
    n_clips : how many of the concept's clips are learned from.
    mix_snr_db : signal-to-noise ratio of the background mixed into each training clip; None mixes nothing.
    init : what a placeholder token starts from: "vocabulary" or "class_noun" mean; None where none is
        learned.
    text_encoder : whether the text encoder is trained too.
    prior_weight : weight of the prior-preservation loss; 0 is none.
    rank : rank of a low-rank update; None for a full one.
    note : where it comes from.
    """

    method: Name
    setup: Name
    n_clips: Count
    mix_snr_db: Annotated[Annotated[float, Field(allow_inf_nan=False)] | None, Absent]
    init: Annotated[Literal["vocabulary", "class_noun"] | None, Absent]
    text_encoder: bool
    prior_weight: NotNegative
    rank: Annotated[Count | None, Absent]
    note: str

    @property
    def name(self) -> str:
        """Method and setup in one word, as run folders spell it."""
        return f"{self.method}-{self.setup}"


def load_profile(name: str) -> Profile:
    """Read one profile; one that `inherits` another gives only what differs.

    Raises
    ------
    ValueError : no such profile (the message lists them), or a table with a wrong or a missing key or value.
    """
    tables = _profiles_table()
    if name not in tables:
        raise ValueError(f'unknown profile "{name}"; {_places()} has {", ".join(tables)}.')
    values = _inherited(tables, name, ())
    profile = validate(Profile, {"name": name, **values}, f"{_places()}, [{name}]")
    for method, hyperparameters in profile.methods.items():
        Hyperparameters.of(hyperparameters, f"{_places()}, [{name}.methods] {method}")
    return profile


def _places() -> str:
    """The files that profiles come from, for messages."""
    return " with ".join([str(DATA_DIR / "profiles.toml"), *filter(None, [os.environ.get(PROFILES_VARIABLE)])])


def _profiles_table() -> dict[str, dict]:
    tables = _read_profiles(DATA_DIR / "profiles.toml", ends_in_newline=True)
    if path := os.environ.get(PROFILES_VARIABLE):
        try:
            own = _read_profiles(Path(path).expanduser())
        except (OSError, ValueError) as error:
            fault = f"{PROFILES_VARIABLE}={path}: {error} It should name a TOML file like data/profiles.toml."
            raise ValueError(fault) from error
        tables |= {name: _overlaid(tables.get(name, {}), values) for name, values in own.items()}
    return tables


def _read_profiles(path: Path, ends_in_newline: bool = False) -> dict[str, dict]:
    tables = read_toml(path, ends_in_newline)
    for name, table in tables.items():
        methods = table.get("methods", {}) if isinstance(table, dict) else None
        if not isinstance(methods, dict) or not all(isinstance(values, dict) for values in methods.values()):
            raise ValueError(
                f"{path}: {name} is not a profile; expected a table [{name}] and a table [{name}.methods]."
            )
    return tables


def _overlaid(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """`values` over `base`, methods key by key; a `prior_lr` is inherited only together with its `lr`."""
    methods = dict(base.get("methods", {}))
    for method, hyperparameters in values.get("methods", {}).items():
        inherited = dict(methods.get(method, {}))
        if "lr" in hyperparameters:
            inherited.pop("prior_lr", None)
        methods[method] = inherited | hyperparameters
    return {**base, **values, "methods": methods}


def _inherited(tables: dict[str, dict], name: str, heirs: tuple[str, ...]) -> dict[str, Any]:
    values = copy.deepcopy(tables[name])
    parent = values.pop("inherits", None)
    if parent is None:
        return values
    heirs = (*heirs, name)
    if parent not in tables or parent in heirs:
        raise ValueError(
            f'{_places()}: profile "{name}" inherits "{parent}", which is not another profile: {", ".join(tables)}.'
        )
    return _overlaid(_inherited(tables, parent, heirs), values)


def list_setups(method: str | None = None) -> list[Setup]:
    """Every setup in the file's order, or one method's.

    Raises
    ------
    ValueError : no such method (the message lists them).
    """
    path = DATA_DIR / "setups.csv"
    rows = read_rows(path, ("method", "setup"))
    setups = [validate(Setup, row, f"{path}, {row['method']}-{row['setup']}") for row in rows]
    if method is None:
        return setups
    methods = list(dict.fromkeys(setup.method for setup in setups))
    if method not in methods:
        raise ValueError(f'unknown method "{method}"; data/setups.csv has {", ".join(methods)}.')
    return [setup for setup in setups if setup.method == method]


def load_setup(method: str, setup: str) -> Setup:
    """Read one setup.

    Raises
    ------
    ValueError : no such method or setup (the message lists the valid ones).
    """
    candidates = list_setups(method)
    for candidate in candidates:
        if candidate.setup == setup:
            return candidate
    raise ValueError(f'unknown setup "{setup}" of {method}; it has {", ".join(c.setup for c in candidates)}.')


def method_of(name: str) -> str:
    """Return the method of a setup's name.

    >>> method_of("TI-DB-BL")
    'TI-DB'
    """
    return max((setup.method for setup in list_setups() if name.startswith(f"{setup.method}-")), key=len)
