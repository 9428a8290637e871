"""The families of text-to-audio pipelines, one module each; adding a module adds a family.

A module holds a subclass of `backbone.Backbone` that names the pipeline classes that it knows, and defines what the
base class leaves open.

audioldm     : AudioLDM, MusicLDM.
audioldm2    : AudioLDM 2.
stable_audio : Stable Audio Open and 3.
ace_step     : ACE-Step 1.5.
"""

import importlib
import pkgutil
from functools import cache
from pathlib import Path

from tmp_utils.model.backbone import Backbone, frozen


@cache
def families() -> tuple[type[Backbone], ...]:
    """Every family, in the order of their modules' names."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    kinds = [kind for module in modules for kind in vars(module).values() if isinstance(kind, type)]
    known = [kind for kind in kinds if issubclass(kind, Backbone) and kind.pipelines]
    return tuple(sorted(set(known), key=lambda kind: (kind.__module__, kind.__name__)))


def family_of(pipeline: str, name: str) -> type[Backbone]:
    """The family of a diffusers class.

    Parameters
    ----------
    name : of the pipeline's folder, for the message.

    Raises
    ------
    ValueError : no family knows the class.
    """
    known = {known: kind for kind in families() for known in kind.pipelines}
    if pipeline not in known:
        raise ValueError(f"{name}: a pipeline of class {pipeline}; expected {' or '.join(known)}.")
    return known[pipeline]


def backbone_of(pipe, name: str) -> Backbone:
    """A backbone of a pipeline in memory, frozen, that has no folder; its hash is its name."""
    return family_of(type(pipe).__name__, name)(name, name, Path(), frozen(pipe))
