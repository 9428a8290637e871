"""Where a pipeline is: a folder, or a model of the Hugging Face hub, which may have to be downloaded.

Conventions: a pipeline is named by its folder (a relative one may be under `DATA_DIR`) or its id on the hub, with
"@revision" behind it for one commit, tag or branch. Bytes are those of weights in single precision, as they are loaded,
whatever the files have.

local_folder      : name -> folder, if it is here.
check_pipeline    : whether it is here, or can be downloaded and used here.
describe_pipeline : name -> a folder with what says which pipeline it is; nothing else of it is downloaded.
locate_pipeline   : name -> folder, downloaded where need be.
download_bytes    : how much of it is to be downloaded.
weight_bytes      : name -> the size of its denoiser, and of its other parts.
"""

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.constants import HF_HUB_CACHE
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.inputs.weights import readable, split_revision
from tmp_utils.model.pipelines import INDEX, SCHEDULER, WORKS, check_versions, weighty_parts
from tmp_utils.model.published import published, terms

DENOISERS = ("unet", "transformer")  # names of the part that predicts
BYTES = 4_000_000  # of a million parameters in single precision


def local_folder(name: str) -> Path | None:
    """The folder of a pipeline that is here, which may be in the Hugging Face cache and not be whole; else None."""
    given = Path(name).expanduser()
    for folder in (given, DATA_DIR / given):
        if (folder / INDEX).is_file():
            return folder.resolve()
    cached = _cached(name, INDEX) if _is_id(name) else None
    return Path(cached).parent if cached else None


def _is_id(name: str) -> bool:
    return name.count("/") == 1 and not Path(name).expanduser().is_dir()


def _cached(name: str, file: str) -> str | None:
    repository, revision = split_revision(name)
    path = try_to_load_from_cache(repository, file, revision=revision)
    return path if isinstance(path, str) else None


def check_pipeline(name: str, gpu_expected: bool = False) -> Path | None:
    """Return a pipeline's folder; for an id of the hub, check what its download needs, and return None.

    Parameters
    ----------
    gpu_expected : refuse an id, of which gigabytes may have to be downloaded, where there is no GPU.

    Raises
    ------
    FileNotFoundError : neither a folder nor an id.
    ValueError : as `check_versions`.
    RuntimeError : a GPU was expected and there is none.
    OSError : the disk of the Hugging Face cache has no room for a model that is not yet there.
    """
    if (folder := local_folder(name)) and not _is_id(name):
        return folder
    if not _is_id(name):
        raise FileNotFoundError(
            f'backbone "{name}": no {INDEX} there, nor in {DATA_DIR / name}. Give the folder of a '
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
    if needed := download_bytes(name):
        cache = Path(HF_HUB_CACHE)
        disk = next(path for path in (cache, *cache.parents) if path.exists())
        free = shutil.disk_usage(disk).free
        if needed > free:
            raise OSError(
                f'backbone "{name}": about {needed / 1e9:.1f} GB to download, and {free / 1e9:.1f} GB free in {disk}. '
                "Nothing was downloaded. Free some space, or set HF_HOME to a folder on another disk."
            )
    return None


def describe_pipeline(name: str, gpu_expected: bool = False) -> Path:
    """Return a folder with a pipeline's `model_index.json` and its scheduler's configuration.

    Raises
    ------
    FileNotFoundError, PermissionError : as `locate_pipeline`.
    RuntimeError, OSError, ValueError : as `check_pipeline`.
    """
    if folder := check_pipeline(name, gpu_expected):
        return folder
    repository, revision = split_revision(name)
    with _said_plainly(name):
        folder = Path(_cached(name, INDEX) or hf_hub_download(repository, INDEX, revision=revision)).parent
        if not (folder / SCHEDULER).is_file():
            hf_hub_download(repository, SCHEDULER, revision=folder.name)  # of the same commit
    return folder


def locate_pipeline(name: str) -> Path:
    """Find a pipeline's folder, downloading it into the Hugging Face cache where need be.

    Raises
    ------
    FileNotFoundError : a wrong name or revision, another format than diffusers', or no connection.
    PermissionError : a gated model that the hub does not give out.
    OSError : as `check_pipeline`.
    """
    if folder := check_pipeline(name):
        return folder
    from diffusers import DiffusionPipeline

    repository, revision = split_revision(name)
    with _said_plainly(name):
        return Path(DiffusionPipeline.download(repository, revision=revision))


@contextmanager
def _said_plainly(name: str) -> Iterator[None]:
    """Turn what may be wrong with a download into one error that says what to do."""
    repository, revision = split_revision(name)
    model = f'backbone "{name}"'
    consent = f"Accept its terms at https://huggingface.co/{repository} ({terms(name)})"
    try:
        yield
    except GatedRepoError as error:
        if error.response.status_code == 401:
            fault = "a gated model, and the hub got no valid token"
            remedy = f"{consent}, then run `hf auth login`, or set HF_TOKEN."
        else:
            fault = "a gated model, and the account of your token has not been given access to it"
            remedy = f"{consent} with that account."
        raise PermissionError(f"{model}: {fault}. {remedy} Nothing was downloaded.") from error
    except RevisionNotFoundError as error:
        raise FileNotFoundError(f'{model}: the model has no commit, tag or branch "{revision}".') from error
    except RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"{model}: the hub has no such model, or a private one that your token does not open. Check how its id is "
            "spelt."
        ) from error
    except LocalEntryNotFoundError as error:
        raise FileNotFoundError(_unreachable(model, error.__cause__ or error)) from error
    except EntryNotFoundError as error:
        how = published(name).conversion.format(id=repository, model=repository.rpartition("/")[2])
        how = f" In a checkout of diffusers {WORKS['diffusers']}: {how}." if how else ""
        raise FileNotFoundError(
            f"{model}: not in diffusers' format (no {INDEX} or no {SCHEDULER}). Convert it, and give the new folder as "
            f"the profile's backbone (TMP_PROFILES names a file with your own profiles).{how}"
        ) from error
    except (OSError, ValueError) as error:
        raise FileNotFoundError(_unreachable(model, error)) from error


def _unreachable(model: str, error: BaseException) -> str:
    return (
        f"{model}: not a folder, not in the Hugging Face cache, and the hub cannot be reached ({type(error).__name__}: "
        f"{str(error).strip().partition(chr(10))[0]}). Connect once to fetch it, give a folder, or use profile "
        '"pocket", which needs no network.'
    )


def download_bytes(name: str) -> int:
    """Return about how many bytes of a pipeline must be downloaded; 0 for a folder or a cached one."""
    folder = local_folder(name)
    if not _is_id(name) or (folder and any(weight_files(folder / part) for part in DENOISERS)):
        return 0
    return BYTES * (published(name).denoiser + published(name).others)


def weight_bytes(name: str) -> tuple[int, int]:
    """Return the size of a pipeline's denoiser and of all its other parts.

    Those of a folder are read off its files' heads, those of a model that is not here are published; of an unknown one
    they are AudioLDM-M's.

    Raises
    ------
    ValueError : weights whose head is damaged.
    """
    if (folder := local_folder(name)) and not download_bytes(name):
        sizes = {}
        for part in weighty_parts(folder):
            with readable(folder, part):
                sizes[part] = sum(_single_precision(path) for path in weight_files(folder / part))
        denoiser = sum(size for part, size in sizes.items() if part in DENOISERS)
        return denoiser, sum(sizes.values()) - denoiser
    return BYTES * published(name).denoiser, BYTES * published(name).others


def weight_files(part: Path) -> list[Path]:
    """The files that a part is loaded from, safetensors before bin; those of a variant ("model.fp16...") are not."""
    for ending in ("safetensors", "bin"):
        if files := sorted(path for path in part.glob(f"*.{ending}") if "." not in path.stem):
            return files
    return []


def _single_precision(path: Path) -> int:
    """Bytes of a file's tensors; a bin file may be in half precision, and is counted as if it were."""
    if path.suffix == ".bin":
        return 2 * path.stat().st_size
    with path.open("rb") as file:
        head = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(4 * math.prod(tensor["shape"]) for name, tensor in head.items() if name != "__metadata__")
