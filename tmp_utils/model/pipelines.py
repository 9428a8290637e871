"""Opening a diffusers pipeline quietly, and telling it from another; `hub` says where it is.

Conventions: a pipeline is a folder with a `model_index.json`, its weights in safetensors (or, in older ones,
bin).

check_versions  : whether the installed libraries have a pipeline's class.
pipeline_index  : folder -> what its `model_index.json` says.
pipeline_class  : folder -> the name of its diffusers class.
open_pipeline   : folder -> pipeline.
make_scheduler  : name -> a scheduler for a pipeline's noise.
pipeline_hash   : folder -> SHA-256 of its weights.
vocoder_choice  : which vocoder a folder asks for.
"""

import hashlib
import importlib
import inspect
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import torch

from tmp_utils.inputs.weights import load_whole, readable

INDEX, SCHEDULER = "model_index.json", "scheduler/scheduler_config.json"
MODEL_CONFIG = "config.json"  # in the folder of a part that has weights
VOCODERS = ("hifigan", "griffin-lim", "spectrum")
VOCODER_CHOICE = "vocoder_choice.json"
WORKS = {"diffusers": "0.42.1", "transformers": "5.23.0"}  # what every family was tried with: those of the lock


def check_versions(pipeline: str, name: str) -> None:
    """Raise ValueError where the installed diffusers or transformers has no such pipeline, saying which have it.

    Where they have it and its own call fails with them, there is a warning.
    """
    import diffusers
    import transformers

    try:
        kind = getattr(diffusers, pipeline)
        lacks = ", ".join(getattr(kind, "_backends", ())) if type(kind).__name__ == "DummyObject" else None
    except (AttributeError, ImportError, RuntimeError) as error:  # RuntimeError: a class that transformers lacks
        lacks = str(error).strip().splitlines()[-1]
    if lacks:
        raise ValueError(
            f'backbone "{name}": a {pipeline}, which diffusers {diffusers.__version__} with transformers '
            f"{transformers.__version__} does not have ({lacks}). It works with diffusers {WORKS['diffusers']} and "
            f"transformers {WORKS['transformers']}; install these. Nothing was downloaded."
        )
    if pipeline == "MusicLDMPipeline" and int(transformers.__version__.partition(".")[0]) >= 5:
        warnings.warn(
            f"diffusers' own {pipeline} cannot encode a prompt with transformers {transformers.__version__}. This "
            "package encodes prompts itself; an adapter's card shows how diffusers can.",
            stacklevel=1,  # the same place whoever asks, so that it is said once
        )


def pipeline_class(folder: Path) -> str:
    """The name of a pipeline's diffusers class; ValueError where its index is damaged."""
    return pipeline_index(folder)["_class_name"]


def pipeline_index(folder: Path) -> dict:
    """A pipeline's `model_index.json`; ValueError where it is damaged."""
    with readable(folder, "pipeline"):
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if not isinstance(index["_class_name"], str):
            raise ValueError("it names no class")
        return index


def open_pipeline(folder: Path, own: dict | None = None):
    """Load a pipeline in single precision on the CPU.

    Parameters
    ----------
    own : parts to use in the place of the folder's.

    Raises
    ------
    ValueError : weights that are damaged or incomplete.
    """
    import diffusers

    kind = pipeline_class(folder)
    check_versions(kind, folder.name)
    parts = {part: class_of(kind, of[1]) for part, of in weighty_parts(folder).items()}
    with quiet():
        parts = {part: load_whole(of, folder / part, part, local_files_only=True) for part, of in parts.items()}
        with readable(folder, "tokenizer or scheduler"):
            pipe = getattr(diffusers, kind).from_pretrained(folder, local_files_only=True, **parts, **(own or {}))
        pipe.to(torch.float32)
    return pipe


def weighty_parts(folder: Path) -> dict[str, tuple[str, str]]:
    """The parts of a pipeline that have weights, in the order of their names: the library and class of each."""
    entries = {part: of for part, of in sorted(pipeline_index(folder).items()) if isinstance(of, list) and all(of)}
    return {part: tuple(of) for part, of in entries.items() if (folder / part / MODEL_CONFIG).is_file()}


def class_of(pipeline: str, name: str) -> type:
    """A part's class: of diffusers, of transformers, or of the module of the one pipeline that has it."""
    import diffusers
    import transformers

    own = importlib.import_module(getattr(diffusers, pipeline).__module__.rpartition(".")[0])
    classes = [getattr(library, name) for library in (diffusers, transformers, own) if hasattr(library, name)]
    if not classes:
        raise ValueError(f"{pipeline}: no class {name} in diffusers {diffusers.__version__} or its transformers.")
    return classes[0]


def make_scheduler(name: str, current):
    """Another scheduler for the noise levels and the prediction type that a pipeline was trained with.

    Parameters
    ----------
    name : a diffusers scheduler without its last word: "DDIM", "DPMSolverMultistep" (DPM-Solver++, Lu et al. 2022,
        https://arxiv.org/abs/2211.01095), "UniPCMultistep" (Zhao et al. 2023, https://arxiv.org/abs/2302.04867). One
        other than the pipeline's spaces its steps evenly in log sigma where it can.
    current : the pipeline's scheduler.

    Raises
    ------
    ValueError : no such scheduler.
    """
    import diffusers

    chosen = getattr(diffusers, f"{name}Scheduler", None)
    if chosen is None:
        raise ValueError(f'scheduler "{name}": not one of diffusers\'; use DDIM, for example.')
    if isinstance(current, chosen):
        return chosen.from_config(current.config)
    # Even steps in time end with one long step from a noise level of 0.35 to 0, which costs what a higher order gains:
    # on Gaussian data 15 steps are then no nearer the exact answer than DDIM's. Even in log sigma, they are ten times
    # nearer.
    evenly = "use_exponential_sigmas" in inspect.signature(chosen.__init__).parameters
    return chosen.from_config(current.config, **({"use_exponential_sigmas": True} if evenly else {}))


@contextmanager
def quiet() -> Iterator[None]:
    """No loading bars, and no reminder that diffusers no longer extends these pipelines."""
    import diffusers.utils.logging
    import transformers.utils.logging

    libraries = (diffusers.utils.logging, transformers.utils.logging)
    before = [(library, library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]
    try:
        for library in libraries:
            library.set_verbosity_error()
            library.disable_progress_bar()
        yield
    finally:
        for library, verbosity, had_bars in before:
            library.set_verbosity(verbosity)
            if had_bars:
                library.enable_progress_bar()


def vocoder_choice(folder: Path) -> str:
    """Which of `VOCODERS` the folder's `VOCODER_CHOICE` names; the pipeline's HiFi-GAN where the file is missing.

    Raises
    ------
    ValueError : another vocoder.
    """
    path = folder / VOCODER_CHOICE
    choice = json.loads(path.read_text(encoding="utf-8"))["vocoder"] if path.is_file() else VOCODERS[0]
    if choice not in VOCODERS:
        raise ValueError(f'{path}: vocoder "{choice}"; expected one of {", ".join(VOCODERS)}.')
    return choice


def pipeline_hash(folder: Path) -> str:
    """SHA-256 over the weight files of a pipeline's parts and over its choice of vocoder."""
    total = hashlib.sha256(vocoder_choice(folder).encode())
    for component in weighty_parts(folder):
        files = sorted((folder / component).glob("*.safetensors")) or sorted((folder / component).glob("*.bin"))
        for path in files:
            total.update(_file_hash(path, path.stat().st_mtime_ns, path.stat().st_size))
    return total.hexdigest()


@lru_cache
def _file_hash(path: Path, mtime_ns: int, size: int) -> bytes:
    """Computed again only when the file's time or size has changed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
