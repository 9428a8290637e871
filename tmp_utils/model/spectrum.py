"""A vocoder with trained magnitudes: a small network maps log-mels to STFT magnitudes, Griffin-Lim finds the phases.

Griffin-Lim keeps the key of a clip if it starts from the true STFT magnitudes, and often loses it if the magnitudes are
estimated from 64 mels by least squares. The network estimates them better, because it was trained on music, with true
mels and with mels that the VAE had decoded.

Conventions: log-mels are `audio.log_mel`'s, (b, frames, 64), natural log; magnitudes (b, frames, 513) are those of the
same STFT; clips are (b, frames * 160).

SpectrumNet     : log-mels -> log-magnitudes.
SpectrumVocoder : Griffin-Lim from the network's magnitudes.
save_spectrum, load_spectrum : its weights in a pipeline's vocoder folder.
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from tmp_utils.inputs.audio import MEL_FLOOR, N_FFT, N_MELS, mel_filters
from tmp_utils.inputs.weights import readable
from tmp_utils.model.griffin_lim import GriffinLimVocoder

WEIGHTS = "spectrum.safetensors"  # beside the HiFi-GAN's own weights
N_BINS = N_FFT // 2 + 1
WIDTH, DILATIONS = 256, (1, 2, 4, 1, 2)
MEL_MEAN, MEL_STD = -4.0, 2.5  # of the corpus, natural log units
MAGNITUDE_FLOOR = 1e-3
SHARPENING, NEIGHBOURS = 0.5, 13  # exponent; bins over which a peak is looked for, 200 Hz


class _Residual(nn.Module):
    def __init__(self, dilation: int):
        super().__init__()
        self.first = nn.Conv1d(WIDTH, WIDTH, 3, padding=dilation, dilation=dilation)
        self.second = nn.Conv1d(WIDTH, WIDTH, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(F.gelu(self.first(F.gelu(x))))


class SpectrumNet(nn.Module):
    """Convolutions over time that correct an interpolated spectrum.

    The interpolation is a weighted mean of the mels that cover a bin. It is what an untrained network returns, and it
    follows the level of the input.
    """

    def __init__(self):
        super().__init__()
        filters = torch.tensor(mel_filters())
        share = filters / filters.sum(0).clamp(min=1e-6)  # of each mel in a bin
        self.register_buffer("guess", share / filters.sum(1, keepdim=True), persistent=False)
        self.first = nn.Conv1d(N_MELS, WIDTH, 5, padding=2)
        self.blocks = nn.Sequential(*(_Residual(dilation) for dilation in DILATIONS))
        self.last = nn.Conv1d(WIDTH, N_BINS, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        """Log-magnitudes (b, frames, 513) of log-mels (b, frames, 64)."""
        interpolated = (mel.exp() @ self.guess).clamp(min=MAGNITUDE_FLOOR).log()
        hidden = self.blocks(self.first((mel.transpose(1, 2) - MEL_MEAN) / MEL_STD))
        return interpolated + self.last(F.gelu(hidden)).transpose(1, 2)


class SpectrumVocoder(GriffinLimVocoder):
    """Griffin-Lim from the network's magnitudes; each clip gets the energy of its magnitudes."""

    def __init__(self, net: SpectrumNet, **options):
        super().__init__(**options)
        self.net = net

    @torch.no_grad()
    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        """Clips (b, frames * 160), or (frames * 160,) for one mel without a batch."""
        if mel.ndim == 2:
            return self(mel[None])[0]
        clips = super().forward(mel)
        energy = self._net_magnitudes(mel).square().sum((1, 2))
        return clips * (energy / self._analyse(clips).abs().square().sum((1, 2)).clamp(min=1e-12)).sqrt()[:, None]

    def magnitudes(self, mel: torch.Tensor) -> torch.Tensor:
        """STFT magnitudes (b, frames, 513) of log-mels (b, frames, 64), with sharper peaks than the network's."""
        magnitude = self._net_magnitudes(mel)
        # Where the pitch of a partial is uncertain, the network returns a broad peak, which would sound like noise.
        peak = F.max_pool1d(magnitude, NEIGHBOURS, 1, NEIGHBOURS // 2)
        return magnitude * (magnitude / peak.clamp(min=1e-12)) ** SHARPENING

    def _net_magnitudes(self, mel: torch.Tensor) -> torch.Tensor:
        """The network's magnitudes, 0 in frames where every mel lies at the clamp floor."""
        mel = mel.float()
        return self.net(mel).exp() * (mel > math.log(MEL_FLOOR * 1.001)).any(-1, keepdim=True)


def save_spectrum(net: SpectrumNet, folder: Path) -> Path:
    """Write the network's weights in float16 into a pipeline's vocoder folder."""
    from safetensors.torch import save_file

    path = folder / WEIGHTS
    save_file({name: tensor.half().contiguous() for name, tensor in net.state_dict().items()}, path)
    return path


def load_spectrum(folder: Path) -> SpectrumVocoder:
    """Load the vocoder from a pipeline's vocoder folder.

    Raises
    ------
    ValueError : the weights are damaged or missing.
    """
    from safetensors.torch import load_file

    with readable(folder, "spectrum vocoder"):
        weights = load_file(folder / WEIGHTS)
        net = SpectrumNet()
        net.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return SpectrumVocoder(net).eval()
