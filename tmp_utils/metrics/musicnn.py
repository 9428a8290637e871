"""MusiCNN: a tagger of real music as a second embedder, trained on none of the sounds that this project rendered.

Conventions: clips are mono float arrays (n,) at 16 kHz; a window is 3 s of log-mel, (187, 96), log10(10000 power + 1)
on Slaney's mel scale; an embedding is the (200,) penultimate layer, neither rectified nor unit-norm. Levels are taken
as they are. Windows are spread evenly from a clip's first frame to its last and overlap a little (four in 10.24 s); a
shorter clip is repeated until it fills one.

The network is that of Pons and Serra, "musicnn: pre-trained convolutional neural networks for music audio tagging"
(ISMIR 2019 late-breaking, https://arxiv.org/abs/1909.06654), with the weights `MTT_musicnn` of their package (ISC
licence), trained on MagnaTagATune (`data/musicnn/SOURCE.toml`). The package rounds the mel to half precision before
the logarithm, where loud clips overflow; here all is float32. Over the 220 shipped clips of 44 concepts the
penultimate layer is a better measure of likeness than the 1506 pools: clips of one concept have a cosine of 0.93 with
each other and 0.32 with others (pools: 0.97 and 0.85), and 97.7 % have their nearest neighbour in their own concept
(pools: 97.3 %).

log_mel_windows : clip -> windows.
MusiCNN         : windows -> tags and penultimate layer.
load_musicnn    : the network with the shipped weights.
MusicnnEmbedder : it, as an embedder of clips; it knows no prompts.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import ceil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn import functional
from transformers.audio_utils import mel_filter_bank

from tmp_utils.files import file_sha256
from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.inputs.sources import SOURCE_NAME, read_licensed
from tmp_utils.metrics.embed import HASH_CHARS, Embedder

RATE_HZ = 16000
N_FFT, HOP, N_MELS = 512, 256, 96
GAIN = 10000.0
WINDOW_FRAMES = 187  # 3 s
TIMBRAL_FILTERS, TIMBRAL_FRAMES, TIMBRAL_BANDS = 204, 7, (38, 67)  # 0.4 and 0.7 of the bands
TEMPORAL_FILTERS, TEMPORAL_FRAMES = 51, (128, 64, 32)
MIDDLE_FILTERS, MIDDLE_FRAMES = 64, 7
EMBEDDING_SIZE = 200
NORM_EPSILON = 1e-3  # TensorFlow's
WEIGHTS_DIR = DATA_DIR / "musicnn"
WEIGHTS_NAME = "model.safetensors"
REMEDY = (
    "Restore the folder from the repository, or make it again: pip download --no-deps musicnn==0.1.0, then "
    "python -m tmp_utils musicnn-weights WHEEL."
)
MODEL = "MTT"
# The tags of MagnaTagATune, most frequent first, as the network gives them.
TAGS = (
    *("guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast", "piano", "ambient"),
    *("beat", "violin", "vocal", "synth", "female", "indian", "opera", "male", "singing", "vocals", "no vocals"),
    *("harpsichord", "loud", "quiet", "flute", "woman", "male vocal", "no vocal", "pop", "soft", "sitar", "solo"),
    *("man", "classic", "choir", "voice", "new age", "dance", "male voice", "female vocal", "beats", "harp", "cello"),
    *("no voice", "weird", "country", "metal", "female voice", "choral"),
)


@lru_cache
def mel_bank() -> torch.Tensor:
    """Return (257, 96): triangles of equal area on Slaney's mel scale, 0 to 8000 Hz."""
    bank = mel_filter_bank(N_FFT // 2 + 1, N_MELS, 0.0, RATE_HZ / 2, RATE_HZ, norm="slaney", mel_scale="slaney")
    return torch.from_numpy(bank).float()


def log_mel_windows(clip: np.ndarray) -> torch.Tensor:
    """Return the windows (k, 187, 96) of a clip (n,) at 16 kHz; they cover the whole clip.

    As librosa computes it: power spectrum of 512 samples under a Hann window, 62.5 frames a second, zeros beyond the
    ends.
    """
    samples = torch.from_numpy(np.resize(np.asarray(clip, np.float32), max(len(clip), (WINDOW_FRAMES - 1) * HOP)))
    window = torch.hann_window(N_FFT)
    spectrum = torch.stft(samples, N_FFT, HOP, window=window, pad_mode="constant", return_complex=True)
    mel = torch.log10(GAIN * (spectrum.abs() ** 2).T @ mel_bank() + 1)
    last = len(mel) - WINDOW_FRAMES
    starts = np.linspace(0, last, ceil(len(mel) / WINDOW_FRAMES)).round().astype(int)
    return torch.stack([mel[start : start + WINDOW_FRAMES] for start in starts])


class MusiCNN(torch.nn.Module):
    """Convolutions over bands and over frames, three residual ones over frames, pools over time, two dense layers."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(1, eps=NORM_EPSILON)
        self.timbral = torch.nn.ModuleList(
            _layer(torch.nn.Conv2d(1, TIMBRAL_FILTERS, (TIMBRAL_FRAMES, bands), padding=(TIMBRAL_FRAMES // 2, 0)))
            for bands in TIMBRAL_BANDS
        )
        self.temporal = torch.nn.ModuleList(
            _layer(torch.nn.Conv2d(1, TEMPORAL_FILTERS, (frames, 1))) for frames in TEMPORAL_FRAMES
        )
        front = TIMBRAL_FILTERS * len(TIMBRAL_BANDS) + TEMPORAL_FILTERS * len(TEMPORAL_FRAMES)
        self.middle = torch.nn.ModuleList(
            _layer(torch.nn.Conv1d(size, MIDDLE_FILTERS, MIDDLE_FRAMES, padding="same"))
            for size in (front, MIDDLE_FILTERS, MIDDLE_FILTERS)
        )
        pooled = 2 * (front + MIDDLE_FILTERS * len(self.middle))
        self.pool_norm = torch.nn.BatchNorm1d(pooled, eps=NORM_EPSILON)
        self.dense = _layer(torch.nn.Linear(pooled, EMBEDDING_SIZE))
        self.output = torch.nn.Linear(EMBEDDING_SIZE, len(TAGS))

    def pools(self, windows: torch.Tensor) -> torch.Tensor:
        """Return (b, 1506) of windows (b, frames, 96): each channel's greatest value and mean over time, in turn."""
        mels = self.norm(windows[:, None])
        padded = [functional.pad(mels, (0, 0, (frames - 1) // 2, frames // 2)) for frames in TEMPORAL_FRAMES]
        front = [layer(mels) for layer in self.timbral]
        front += [layer(each) for layer, each in zip(self.temporal, padded, strict=True)]
        front = torch.cat([each.amax(3) for each in front], dim=1)
        maps = [front, self.middle[0](front)]
        for layer in self.middle[1:]:
            maps.append(maps[-1] + layer(maps[-1]))
        channels = torch.cat(maps, dim=1)
        return torch.stack([channels.amax(2), channels.mean(2)], dim=2).flatten(1)

    def penultimate(self, windows: torch.Tensor) -> torch.Tensor:
        """Return (b, 200) of windows (b, frames, 96)."""
        return self.dense(self.pool_norm(self.pools(windows)))

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Return the likelihoods (b, 50) of `TAGS`, in [0, 1], of windows (b, frames, 96)."""
        return self.output(self.penultimate(windows)).sigmoid()


def _layer(weights: torch.nn.Module) -> torch.nn.Sequential:
    """Return weights, rectifier and normalisation, in the authors' order."""
    if isinstance(weights, torch.nn.Linear):
        norm = torch.nn.BatchNorm1d(weights.out_features, eps=NORM_EPSILON)
    else:
        norm_of = torch.nn.BatchNorm2d if isinstance(weights, torch.nn.Conv2d) else torch.nn.BatchNorm1d
        norm = norm_of(weights.out_channels, eps=NORM_EPSILON)
    return torch.nn.Sequential(weights, torch.nn.ReLU(), norm)


def load_musicnn(folder: str | Path = WEIGHTS_DIR) -> MusiCNN:
    """Return the network with the weights of a folder, in evaluation mode.

    Raises
    ------
    FileNotFoundError, ValueError : the weights, their SOURCE.toml or their licence are missing, or the weights are not
        the ones that it describes.
    """
    path = Path(folder) / WEIGHTS_NAME
    if not path.is_file():
        raise FileNotFoundError(f"{path}: MusiCNN's weights are missing. {REMEDY}")
    expected = read_licensed(Path(folder)).get("model_sha256")
    if (digest := file_sha256(path)) != expected:
        raise ValueError(f"{path}: its SHA-256 is {digest}, and {SOURCE_NAME} says {expected}. {REMEDY}")
    network = MusiCNN()
    network.load_state_dict(load_file(path))
    return network.eval()


class MusicnnEmbedder(Embedder):
    """MusiCNN's penultimate layer: one row (200,) a window of 3 s."""

    def __init__(self, model: str, device: str = "cpu", cache_dir: str | Path | None = None):
        if model != MODEL:
            raise ValueError(f"musicnn:{model} is unknown; the weights that are shipped are musicnn:{MODEL}.")
        self.network = load_musicnn().to(device)
        self.name = f"musicnn:{model}@{file_sha256(WEIGHTS_DIR / WEIGHTS_NAME)[:HASH_CHARS]}"
        self.device, self.cache_dir = device, cache_dir

    def _embed(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        with torch.inference_mode():
            windows = [log_mel_windows(clip).to(self.device) for clip in clips]
            return [self.network.penultimate(each).cpu().numpy() for each in windows]
