"""The paper's CLAP, from its own checkpoint into transformers' `ClapModel`.

Conventions: the checkpoint is laion-clap's (https://github.com/LAION-AI/CLAP): HTSAT-base for sound, RoBERTa for text,
no fusion; a pickle of which only tensors and plain numbers are let in. Beside the two networks it holds the front end
that it was trained with, the windowed DFT and the mel filters of torchlibrosa, which are used as they are. Samples are
mono at 48 kHz in [-1, 1].

check_checkpoint  : name or path -> where the file is; the paper's must have its size.
read_checkpoint   : path -> tensors by laion-clap's names.
convert           : these -> ClapModel and FrontEnd; every tensor has its place.
FrontEnd          : samples -> log-mel.
through_int16     : samples as laion-clap takes them.
"""

import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import torch
import transformers
from huggingface_hub import try_to_load_from_cache

from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.inputs.weights import check_recorded, load_whole, readable, shortened

CHECKPOINT, REPOSITORY = "music_audioset_epoch_15_esc_90.14.pt", "lukewys/laion_clap"
CHECKPOINT_URL = f"https://huggingface.co/{REPOSITORY}/resolve/main/{CHECKPOINT}"
CHECKPOINT_BYTES = 2_352_471_003
CHECKPOINT_SHA256 = "fae3e9c087f2909c28a09dc31c8dfcdacbc42ba44c70e972b58c1bd1caf6dedd"
CACHE_DIR = DATA_DIR.parent / "runs" / "cache"
RATE_HZ, WINDOW, N_FFT, HOP, N_MELS = 48000, 480_000, 1024, 480, 64
FLOOR = 1e-10  # of the power, before its logarithm

# RoBERTa divides by sqrt(variance + 1e-5), where transformers' ClapTextConfig has 1e-12.
CONFIG = {
    "text_config": {"layer_norm_eps": 1e-5},
    "audio_config": {"depths": [2, 2, 12, 2], "patch_embeds_hidden_size": 128, "hidden_size": 1024},
}
FRONT_END = {
    "audio_branch.spectrogram_extractor.stft.conv_real.weight": (N_FFT // 2 + 1, 1, N_FFT),
    "audio_branch.spectrogram_extractor.stft.conv_imag.weight": (N_FFT // 2 + 1, 1, N_FFT),
    "audio_branch.logmel_extractor.melW": (N_FFT // 2 + 1, N_MELS),
}
# What an embedding does not need: the classifier of AudioSet, the heads of a second loss, and what is computed anew.
UNUSED = re.compile(
    r"audio_branch\.(tscam_conv|head)\.|(audio|text)_transform\.|.*\.attn_mask$|text_branch\.embeddings\.position_ids$"
)
RENAMES = {
    "text_branch.": "text_model.",
    "audio_branch.bn0.": "audio_model.audio_encoder.batch_norm.",
    "audio_branch.": "audio_model.audio_encoder.",
    ".attn.proj.": ".attention.output.dense.",
    ".attn.": ".attention.self.",
    ".norm1.": ".layernorm_before.",
    ".norm2.": ".layernorm_after.",
    ".mlp.fc1.": ".intermediate.dense.",
    ".mlp.fc2.": ".output.dense.",
    "_projection.0.": "_projection.linear1.",
    "_projection.2.": "_projection.linear2.",
}


def check_checkpoint(source: str | Path) -> Path:
    """Return where a checkpoint is: at a path, under `CACHE_DIR`, or in the Hugging Face cache.

    Raises
    ------
    FileNotFoundError : it is in none of them; says how to fetch it.
    ValueError : it has the name of the paper's checkpoint and another size.
    """
    name = Path(source).name
    cached = try_to_load_from_cache(REPOSITORY, name)
    places = [Path(source).expanduser(), CACHE_DIR / source, *([Path(cached)] if isinstance(cached, str) else [])]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"{source}: no such CLAP checkpoint here, in {CACHE_DIR} or in the Hugging Face cache; nothing was "
            f"downloaded. The paper's is {CHECKPOINT} ({CHECKPOINT_BYTES / 1e9:.2f} GB): fetch it once with `hf "
            f"download {REPOSITORY} {CHECKPOINT}`, or from {CHECKPOINT_URL} into that folder."
        )
    if name == CHECKPOINT and path.stat().st_size != CHECKPOINT_BYTES:
        raise ValueError(
            f"{path} has {path.stat().st_size} bytes; the paper's checkpoint has {CHECKPOINT_BYTES}. Its download did "
            f"not end, or it is another file: delete it and fetch it again from {CHECKPOINT_URL}."
        )
    return path


def read_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], str]:
    """Return the tensors of a checkpoint by laion-clap's names, and the file's SHA-256.

    Raises
    ------
    ValueError : the file is damaged, has changed since its first use, or is no checkpoint.
    """
    digest = check_recorded(path)
    if path.name == CHECKPOINT and path.stat().st_size == CHECKPOINT_BYTES and digest != CHECKPOINT_SHA256:
        raise ValueError(
            f"{path}: its SHA-256 is {digest}; the paper's checkpoint has {CHECKPOINT_SHA256}. Delete it and the "
            f".sha256 beside it, and fetch it again from {CHECKPOINT_URL}."
        )
    # The paper's holds a numpy number, pickled under a name that numpy 2 has changed.
    scalar = np.float64(0).__reduce__()[0]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    numbers = [*((scalar, name) for name in names), np.dtype, type(np.dtype("float64"))]
    with readable(path, "embedder"), torch.serialization.safe_globals(numbers):
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        except pickle.UnpicklingError as error:  # whose message recommends to allow all code
            raise TypeError("it is cut short, or holds more than tensors and numbers") from error
        state = content.get("state_dict", content)
        # Copied, so that the file, two thirds of which are the optimiser's, is neither held in memory nor in use.
        tensors = {key.removeprefix("module."): tensor.clone() for key, tensor in state.items()}
    return tensors, digest


def convert(tensors: dict[str, torch.Tensor], path: Path) -> tuple[transformers.ClapModel, "FrontEnd"]:
    """Return the networks and the front end of a checkpoint's tensors.

    Raises
    ------
    ValueError : a tensor is missing, has no place or has another shape, as those of another architecture; names them.
    """
    config = transformers.ClapConfig(**CONFIG)
    with torch.device("meta"):
        places = {key: tuple(value.shape) for key, value in transformers.ClapModel(config).state_dict().items()}
    named = {key: tensor for key, tensor in tensors.items() if not UNUSED.match(key)}
    weights = {new: part for key, tensor in named.items() for new, part in _renamed(key, tensor)}
    weights |= {key: value for key, value in _computed(places).items() if key in places}
    _check_places({key: tuple(tensor.shape) for key, tensor in weights.items()}, places | FRONT_END, path)
    front_end = FrontEnd(*(weights.pop(key).float() for key in FRONT_END))
    model = load_whole(transformers.ClapModel, path, "embedder", config=config, state_dict=weights)
    return model.float().eval(), front_end


def _renamed(key: str, tensor: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
    """Return a tensor, or its three parts, with transformers' names."""
    if key in FRONT_END:
        return [(key, tensor)]
    for old, new in RENAMES.items():
        key = key.replace(old, new)
    if ".qkv." not in key:
        return [(key, tensor)]
    thirds = zip(("query", "key", "value"), tensor.chunk(3), strict=True)
    return [(key.replace("qkv", part), third.contiguous()) for part, third in thirds]


def _computed(places: dict[str, tuple]) -> dict[str, torch.Tensor]:
    """Return the buffers that transformers keeps with the weights and laion-clap does not."""
    positions = places["text_model.embeddings.position_embeddings.weight"][0]
    return {
        "text_model.embeddings.position_ids": torch.arange(positions)[None],
        "text_model.embeddings.token_type_ids": torch.zeros(1, positions, dtype=torch.long),
    }


def _check_places(shapes: dict[str, tuple], places: dict[str, tuple], path: Path) -> None:
    faults = {
        "missing": [key for key in places if key not in shapes],
        "unexpected": [key for key in shapes if key not in places],
        "of another shape": [
            f"{key} {shape} instead of {places[key]}"
            for key, shape in shapes.items()
            if places.get(key, shape) != shape
        ],
    }
    if any(faults.values()):
        raise ValueError(
            f"embedder ({path}) is no CLAP of HTSAT-base and RoBERTa without fusion, as {CHECKPOINT} is: "
            f"{'; '.join(f'{fault}: {shortened(keys)}' for fault, keys in faults.items() if keys)}."
        )


class FrontEnd(torch.nn.Module):
    """Samples (b, n) at 48 kHz -> log-mel (b, 1, 1 + n // 480, 64) in dB: power 10 log10 max(power, 1e-10).

    Parameters
    ----------
    real, imaginary : Tensor (513, 1, 1024)
        Kernels of the Hann-windowed DFT.
    mel : Tensor (513, 64)
        Filters from 50 to 14000 Hz.
    """

    def __init__(self, real: torch.Tensor, imaginary: torch.Tensor, mel: torch.Tensor):
        super().__init__()
        for name, tensor in {"real": real, "imaginary": imaginary, "mel": mel}.items():
            self.register_buffer(name, tensor)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        padded = torch.nn.functional.pad(samples[:, None], (N_FFT // 2, N_FFT // 2), mode="reflect")
        parts = (torch.nn.functional.conv1d(padded, kernel, stride=HOP) for kernel in (self.real, self.imaginary))
        power = sum(part.square() for part in parts).transpose(1, 2)[:, None]
        return 10 * torch.log10((power @ self.mel).clamp(min=FLOOR))


def through_int16(samples: np.ndarray) -> np.ndarray:
    """Return samples (..., n) clipped to [-1, 1] and cut to whole steps of 1 / 32767, towards zero."""
    return (np.clip(samples, -1, 1) * 32767).astype(np.int16).astype(np.float32) / np.float32(32767)
