"""VGGish, the audio classifier whose embeddings the Frechet audio distance was defined on.

Conventions: clips are mono float arrays (n,) at 16 kHz; a patch is 0.96 s of log-mel, (96, 64); embeddings
are (patches, 128), neither rectified nor unit-norm nor passed through AudioSet's PCA. To the definition of
Google's https://github.com/tensorflow/models/tree/master/research/audioset/vggish (Hershey et al., ICASSP
2017), whose last layer is linear: the well-known torch port adds a ReLU there, which moves every distance.

log_mel_patches : clip -> patches.
VGGish          : patches -> embeddings; its parameters carry the names of the torch port's weight file.
load_vggish     : the network with its weights, from a file whose hash is the one of its first use.
VggishEmbedder  : it, as an embedder of clips.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from transformers.audio_utils import mel_filter_bank

from tmp_utils.files import file_sha256
from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.inputs.weights import check_recorded
from tmp_utils.metrics.embed import HASH_CHARS, Embedder

RATE_HZ = 16000
WINDOW_SAMPLES, HOP_SAMPLES, N_FFT = 400, 160, 512  # 25 ms, 10 ms, the next power of two
N_MELS, LOW_HZ, HIGH_HZ = 64, 125.0, 7500.0
LOG_OFFSET = 0.01
PATCH_FRAMES = 96  # 0.96 s, not overlapping
PATCH_SAMPLES = (PATCH_FRAMES - 1) * HOP_SAMPLES + WINDOW_SAMPLES
EMBEDDING_SIZE = 128
WEIGHTS_URL = "https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth"
WEIGHTS_SHA256 = (
    "10086976"  # the hash's beginning, which the file carries in its name; the rest is recorded at first use
)
DEFAULT_WEIGHTS = DATA_DIR.parent / "runs" / "cache" / "vggish-10086976.pth"


@lru_cache
def mel_matrix() -> np.ndarray:
    """Return (257, 64): triangles of height 1, evenly spaced in HTK mel from 125 to 7500 Hz, without DC."""
    return mel_filter_bank(
        *(N_FFT // 2 + 1, N_MELS, LOW_HZ, HIGH_HZ, RATE_HZ), mel_scale="kaldi", triangularize_in_mel_space=True
    )


def log_mel_patches(clip: np.ndarray) -> torch.Tensor:
    """Return the patches (k, 96, 64) of a clip (n,) at 16 kHz: log(mel + 0.01) of the magnitude spectrum.

    A clip shorter than a patch is padded with zeros; what is left after the last whole patch is dropped.
    """
    samples = np.asarray(clip, dtype=np.float64)
    samples = np.pad(samples, (0, max(0, PATCH_SAMPLES - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW_SAMPLES)[::HOP_SAMPLES]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES)
    mel = np.abs(np.fft.rfft(frames * hann, N_FFT)) @ mel_matrix()
    n_patches = len(mel) // PATCH_FRAMES
    patches = np.log(mel + LOG_OFFSET)[: n_patches * PATCH_FRAMES].reshape(n_patches, PATCH_FRAMES, N_MELS)
    return torch.from_numpy(patches.astype(np.float32))


class VGGish(torch.nn.Module):
    """Six convolutions and three fully connected layers: patches (b, 96, 64) -> (b, 128), the last linear."""

    def __init__(self, hidden: int = 4096):
        super().__init__()
        layers, channels = [], 1
        for block in ([64], [128], [256, 256], [512, 512]):
            for width in block:
                layers += [torch.nn.Conv2d(channels, width, 3, padding=1), torch.nn.ReLU()]
                channels = width
            layers.append(torch.nn.MaxPool2d(2))
        self.features = torch.nn.Sequential(*layers)
        self.embeddings = torch.nn.Sequential(
            torch.nn.Linear(512 * 6 * 4, hidden),
            torch.nn.ReLU(),
            torch.nn.Linear(hidden, hidden),
            torch.nn.ReLU(),
            torch.nn.Linear(hidden, EMBEDDING_SIZE),
        )

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        maps = self.features(patches[:, None])
        return self.embeddings(maps.permute(0, 2, 3, 1).flatten(1))  # TensorFlow's order: height, width, channel


def load_vggish(path: str | Path, sha256: str = WEIGHTS_SHA256, hidden: int = 4096) -> VGGish:
    """Return VGGish with the weights of a file, in evaluation mode.

    Parameters
    ----------
    path : the torch port's ``vggish-10086976.pth``.
    sha256 : what the file's SHA-256 has to begin with.

    Raises
    ------
    FileNotFoundError, ValueError : there is no such file, or its hash is another.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no VGGish weights there. Fetch them once (288 MB), curl -L --create-dirs -o {path} "
            f"{WEIGHTS_URL}, or use the CLAP embeddings for FAD instead."
        )
    if not (digest := file_sha256(path)).startswith(sha256):
        raise ValueError(
            f"{path}: its SHA-256 begins {digest[:16]}, expected {sha256}. It is broken or another file; delete it "
            f"and fetch it again from {WEIGHTS_URL}."
        )
    check_recorded(path)
    network = VGGish(hidden)
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval()


class VggishEmbedder(Embedder):
    """One row (128,) a patch of 0.96 s, neither rectified nor unit-norm."""

    def __init__(self, weights: str | Path, device: str = "cpu", cache_dir: str | Path | None = None, **kwargs):
        weights = Path(weights or DEFAULT_WEIGHTS)
        self.network = load_vggish(weights, **kwargs).to(device)
        self.name = f"vggish@{check_recorded(weights)[:HASH_CHARS]}"
        self.device, self.cache_dir = device, cache_dir

    def _embed(self, clips: list[np.ndarray]) -> list[np.ndarray]:
        with torch.inference_mode():
            return [self.network(log_mel_patches(clip).to(self.device)).cpu().numpy() for clip in clips]
