"""The sizes a study runs at, and the setups it compares.

Conventions: a profile is a table of `data/profiles.toml`: a backbone, an embedder, how to generate, and each
method's hyperparameters. A setup is a row of `data/setups.csv`: a method and the one thing that varies
(paper, section 3). Nothing here touches a model.

TMP_PROFILES, a variable, names a file of the reader's own whose tables are laid over those of `data/profiles.toml`.

DATA_DIR      : the folder of everything that is read and never written; the variable TMP_DATA_DIR moves it.
load_profile  : name -> Profile.
list_profiles : the valid names.
load_setup    : method and setup -> Setup.
list_setups   : every setup, or one method's.
"""

import copy
import os
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pandas as pd

OWN_PROFILES = "TMP_PROFILES"
DATA_DIR = Path(os.environ.get("TMP_DATA_DIR", Path(__file__).resolve().parents[2] / "data"))


@dataclass(frozen=True)
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
        the reconstruction prompt, of each editability prompt, and how many of those there are.
    clip_s : duration of a generated clip in seconds.
    methods : hyperparameters by method name; `lr`, `steps`, `batch_size` and the method's own.
    """

    name: str
    backbone: str
    embedder: str
    device: str
    guidance_scale: float
    inference_steps: int
    scheduler: str
    reconstruction_clips: int
    clips_per_prompt: int
    n_editability_prompts: int
    clip_s: float
    methods: dict[str, dict[str, Any]] = field(hash=False)

    def method(self, name: str) -> dict[str, Any]:
        """Hyperparameters of one method; ValueError lists the methods that the profile has."""
        if name not in self.methods:
            raise ValueError(f'profile "{self.name}" has no method "{name}"; it has {", ".join(self.methods)}.')
        return dict(self.methods[name])


@dataclass(frozen=True)
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

    method: str
    setup: str
    n_clips: int
    mix_snr_db: float | None
    init: str | None
    text_encoder: bool
    prior_weight: float
    rank: int | None
    note: str

    @property
    def name(self) -> str:
        """Method and setup in one word, as run folders spell it."""
        return f"{self.method}-{self.setup}"


def list_profiles() -> list[str]:
    """The valid profile names, in the file's order."""
    return list(_profiles_table())


def load_profile(name: str) -> Profile:
    """Read one profile; one that `inherits` another gives only what differs.

    Raises
    ------
    ValueError : no such profile (the message lists them), or a table with a wrong or a missing key.
    """
    tables = _profiles_table()
    if name not in tables:
        raise ValueError(f'unknown profile "{name}"; data/profiles.toml has {", ".join(tables)}.')
    values = {"name": name, **_inherited(tables, name)}
    expected = {f.name for f in fields(Profile)}
    if values.keys() != expected:
        raise ValueError(
            f'profile "{name}": missing {sorted(expected - values.keys())}, unknown '
            f"{sorted(values.keys() - expected)}. Mend its table in data/profiles.toml."
        )
    return Profile(**values)


def _profiles_table() -> dict[str, dict]:
    tables = tomllib.loads((DATA_DIR / "profiles.toml").read_text(encoding="utf-8"))
    for name, own in _own_tables().items():
        tables[name] = _laid_over(tables.get(name, {}), own)
    return tables


def _own_tables() -> dict[str, dict]:
    """The tables of the reader's own file, if `TMP_PROFILES` names one."""
    path = os.environ.get(OWN_PROFILES)
    if not path:
        return {}
    try:
        return tomllib.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{OWN_PROFILES}={path}: {error}. It should name a TOML file like data/profiles.toml."
        ) from error


def _laid_over(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """`own` where it says something, else `base`; methods key by key."""
    methods = dict(base.get("methods", {}))
    for method, values in own.get("methods", {}).items():
        methods[method] = {**methods.get(method, {}), **values}
    return {**base, **own, "methods": methods}


def _inherited(tables: dict[str, dict], name: str) -> dict[str, Any]:
    own = copy.deepcopy(tables[name])
    parent = own.pop("inherits", None)
    if parent is None:
        return own
    if parent not in tables or parent == name:
        raise ValueError(f'profile "{name}" inherits "{parent}", which is not another profile: {", ".join(tables)}.')
    return _laid_over(_inherited(tables, parent), own)


def list_setups(method: str | None = None) -> list[Setup]:
    """Every setup in the file's order, or one method's.

    Raises
    ------
    ValueError : no such method (the message lists them).
    """
    table = pd.read_csv(DATA_DIR / "setups.csv", dtype=str, keep_default_na=False)
    setups = [_setup_of(row) for row in table.to_dict("records")]
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


def _setup_of(row: dict[str, str]) -> Setup:
    return Setup(
        method=row["method"],
        setup=row["setup"],
        n_clips=int(row["n_clips"]),
        mix_snr_db=float(row["mix_snr_db"]) if row["mix_snr_db"] else None,
        init=row["init"] or None,
        text_encoder=row["text_encoder"] == "yes",
        prior_weight=float(row["prior_weight"]),
        rank=int(row["rank"]) if row["rank"] else None,
        note=row["note"],
    )
