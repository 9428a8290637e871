"""Where a diffusers pipeline is, opening it quietly, and telling it from another.

Conventions: a pipeline is a folder with a `model_index.json`, its weights in safetensors (or, in older ones,
bin).

locate_pipeline : folder or Hugging Face id -> folder.
check_pipeline  : whether it is there, or can be downloaded and used here.
check_versions  : whether the installed libraries have a pipeline's class.
download_bytes  : how much of it is to be downloaded.
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
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.constants import HF_HUB_CACHE

from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.inputs.weights import load_whole, readable, split_revision
from tmp_utils.model.published import published, terms

DENOISERS = ("unet", "transformer")  # names of the part that predicts
MODEL_CONFIG = "config.json"  # in the folder of a part that has weights
VOCODERS = ("hifigan", "griffin-lim", "spectrum")
VOCODER_CHOICE = "vocoder_choice.json"
WORKS = {"diffusers": "0.42.1", "transformers": "5.23.0"}  # what every family was tried with: those of the lock
BYTES = 4_000_000  # of a million parameters in single precision


def locate_pipeline(name: str, gpu_expected: bool = False) -> Path:
    """Find a pipeline's folder, downloading it into the Hugging Face cache where need be.

    Parameters
    ----------
    name : a folder, or a Hugging Face id; `id@revision` is one commit, tag or branch of it.
    gpu_expected : refuse a Hugging Face id, of which gigabytes may have to be downloaded, where there is no GPU.

    Raises
    ------
    FileNotFoundError : neither a folder nor a model that is in the cache or can be downloaded.
    RuntimeError, OSError : as `check_pipeline`.
    """
    if folder := check_pipeline(name, gpu_expected):
        return folder
    from diffusers import DiffusionPipeline

    try:
        repository, revision = split_revision(name)
        return Path(DiffusionPipeline.download(repository, revision=revision))
    except (OSError, ValueError) as error:  # offline, and for ids that do not exist
        raise FileNotFoundError(
            f'backbone "{name}": not a folder, not in the Hugging Face cache, and not to be downloaded '
            f'({type(error).__name__}). Connect once to fetch it, give a folder, or use profile "pocket", '
            "which needs no network. A private or gated one needs a token of the hub (HF_TOKEN, or `hf auth login`) "
            f"and consent to its terms: {terms(name)}. One in another format than diffusers' has to be converted first."
        ) from error


def check_pipeline(name: str, gpu_expected: bool = False) -> Path | None:
    """Return a pipeline's folder; for a Hugging Face id, check what its download needs, and return None.

    Parameters
    ----------
    name, gpu_expected : as of `locate_pipeline`.

    Raises
    ------
    FileNotFoundError : neither a folder nor an id.
    ValueError : as `check_versions`.
    RuntimeError : a GPU was expected and there is none.
    OSError : the disk of the Hugging Face cache has no room for a model that is not yet there.
    """
    given = Path(name).expanduser()
    for folder in (given, DATA_DIR / given):
        if (folder / "model_index.json").is_file():
            return folder.resolve()
    if given.is_dir() or name.count("/") != 1:
        raise FileNotFoundError(
            f'backbone "{name}": no model_index.json there, nor in {DATA_DIR / given}. Give the folder of a '
            "diffusers pipeline, or a Hugging Face id such as cvssp/audioldm-m-full."
        )
    if known := published(name).pipeline:
        check_versions(known, name)
    if gpu_expected and not torch.cuda.is_available():
        raise RuntimeError(
            f'backbone "{name}" is made for a GPU, and this machine has none that torch can use. Nothing was '
            'downloaded. Use profile "pocket", a machine with a GPU, or, if days on a CPU will do, device = "cpu" in '
            "the profile (TMP_PROFILES names another file)."
        )
    if needed := _bytes_not_in_cache(name):
        cache = Path(HF_HUB_CACHE)
        disk = next(path for path in (cache, *cache.parents) if path.exists())
        free = shutil.disk_usage(disk).free
        if needed > free:
            raise OSError(
                f'backbone "{name}": about {needed / 1e9:.1f} GB to download, and {free / 1e9:.1f} GB free in {disk}. '
                "Nothing was downloaded. Free some space, or set HF_HOME to a folder on another disk."
            )
    return None


def check_versions(pipeline: str, name: str) -> None:
    """Raise ValueError where the installed diffusers or transformers has no such pipeline, saying which have it."""
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


def download_bytes(name: str) -> int:
    """Return about how many bytes of a pipeline must be downloaded; 0 for a folder or a cached one."""
    given = Path(name).expanduser()
    return 0 if given.is_dir() or (DATA_DIR / given).is_dir() else _bytes_not_in_cache(name)


def _bytes_not_in_cache(name: str) -> int:
    repository, revision = split_revision(name)
    if try_to_load_from_cache(repository, "model_index.json", revision=revision) is not None:
        return 0
    return denoiser_bytes(name) + other_parts_bytes(name)


def denoiser_bytes(name: str) -> int:
    """Return the size in single precision of a published model's denoiser; AudioLDM-M's for an unknown one."""
    return BYTES * published(name).denoiser


def other_parts_bytes(name: str) -> int:
    """Return the same of its text encoders, VAE and vocoder."""
    return BYTES * published(name).others


def pipeline_class(folder: Path) -> str:
    """The name of a pipeline's diffusers class; ValueError where its index is damaged."""
    return _index(folder)["_class_name"]


def _index(folder: Path) -> dict:
    with readable(folder, "pipeline"):
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
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
    entries = {part: of for part, of in sorted(_index(folder).items()) if isinstance(of, list) and all(of)}
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
