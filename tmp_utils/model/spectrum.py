"""A vocoder for latents: a small network maps the VAE's latents to STFT magnitudes, Griffin-Lim finds the phases.

Griffin-Lim keeps the key of a clip if it starts from the true STFT magnitudes, and often loses it if the magnitudes are
estimated from 64 mels. Latents know more than the mels that a small decoder makes of them, so the network reads the
latents. It works at their frame rate first, where all of a clip's frequencies fit into a few hundred channels. It was
trained on what is loud; quiet bands get the level that the VAE's decoder gives them. Some generated latents have values
that no clip had, for which the network extrapolates; such frames are the decoder's alone.

Conventions: latents are the VAE's, unscaled, (b, 16, frames / 8, 8); magnitudes (b, frames, 513) are those of the STFT
in `audio.log_mel`; log-mels (b, frames, 64); clips (b, frames * 160).
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from tmp_utils.inputs.audio import MEL_FLOOR, N_FFT
from tmp_utils.inputs.weights import readable
from tmp_utils.model.griffin_lim import GriffinLimVocoder

WEIGHTS = "spectrum.safetensors"  # beside the HiFi-GAN's own weights
N_BINS = N_FFT // 2 + 1
STRIDE, LATENT_CHANNELS, LATENT_MELS = 8, 16, 8
LATENT_SCALE = 0.7046  # about 1 / standard deviation
COARSE_WIDTH, FINE_WIDTH = 384, 160  # channels at the frame rate of latents, and of magnitudes
COARSE_DILATIONS, FINE_DILATIONS = (1, 1, 1), (1, 2, 4)
QUIET, SOFTNESS = 2.5, 0.5  # nepers below the loudest mel of a clip, from where on bands follow the decoder's mel
HIGHEST = 8.0  # log-magnitude; those of 70 shipped clips reach 6.5, and where the network extrapolates 81
MOST_ABOVE = 3.0  # nepers of a band above the decoder's mel; those of 35 shipped clips reach 2.4
SHARPENING, NEIGHBOURS = 0.5, 13  # exponent; bins over which a peak is looked for, 200 Hz


class _Residual(nn.Module):
    def __init__(self, width: int, dilation: int):
        super().__init__()
        self.first = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.second = nn.Conv1d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(F.gelu(self.first(F.gelu(x))))


class SpectrumNet(nn.Module):
    """Convolutions over time, first at the frame rate of the latents, then at that of the magnitudes.

    The VAE's encoder ends in a group norm, so the level of a clip shows in the statistics of all of its latents, which
    the network therefore reads as well. ``mean`` (513,) is the mean log-magnitude of the corpus, from which the network
    learns the difference.
    """

    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(LATENT_CHANNELS * LATENT_MELS, COARSE_WIDTH, 3, padding=1)
        self.whole = nn.Linear(2 * LATENT_CHANNELS * LATENT_MELS, COARSE_WIDTH)
        nn.init.zeros_(self.whole.weight)
        nn.init.zeros_(self.whole.bias)
        self.coarse = nn.Sequential(*(_Residual(COARSE_WIDTH, dilation) for dilation in COARSE_DILATIONS))
        self.up = nn.Conv1d(COARSE_WIDTH, STRIDE * FINE_WIDTH, 1)
        self.fine = nn.Sequential(*(_Residual(FINE_WIDTH, dilation) for dilation in FINE_DILATIONS))
        self.last = nn.Conv1d(FINE_WIDTH, N_BINS, 1)
        self.register_buffer("mean", torch.zeros(N_BINS))
        self.register_buffer("gain", torch.zeros(()))

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Log-magnitudes (b, 8 * t, 513) of the latents (b, 16, t, 8) of whole clips."""
        return self.head(self.hidden(latents, latents))

    def hidden(self, latents: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
        """All but the last layer, (b, 160, 8 * t), which may be computed in bfloat16.

        Parameters
        ----------
        latents : (b, 16, t, 8), maybe a part of each clip.
        whole : (b, 16, t_clip, 8), each whole clip.
        """
        x, clip = ((LATENT_SCALE * z).transpose(2, 3).flatten(1, 2) for z in (latents, whole))
        level = self.whole(torch.cat([clip.mean(-1), clip.std(-1)], 1))
        x = self.up(self.coarse(self.first(x) + level[..., None]))
        return self.fine(x.unflatten(1, (STRIDE, FINE_WIDTH)).permute(0, 2, 3, 1).flatten(2))

    def head(self, hidden: torch.Tensor) -> torch.Tensor:
        """The last layer."""
        return self.last(F.gelu(hidden)).transpose(1, 2) + self.mean


class SpectrumVocoder(GriffinLimVocoder):
    """Griffin-Lim from the network's magnitudes; each clip gets the energy of its magnitudes.

    Mels, which have no latents, it turns into clips like any `GriffinLimVocoder`.
    """

    def __init__(self, net: SpectrumNet, **options):
        super().__init__(**options)
        self.net = net

    @torch.no_grad()
    def from_latents(self, latents: torch.Tensor, mel: torch.Tensor) -> torch.Tensor:
        """Clips (b, 8 * t * 160) of latents (b, 16, t, 8) and the log-mels (b, 8 * t, 64) that the VAE decodes."""
        magnitude = self._magnitude(self.net(latents.float()), mel.float())
        # Where the pitch of a partial is uncertain, the network returns a broad peak, which would sound like noise.
        peak = F.max_pool1d(magnitude, NEIGHBOURS, 1, NEIGHBOURS // 2)
        clips = self.with_phases(magnitude * (magnitude / peak.clamp(min=1e-12)) ** SHARPENING)
        energy, made = (x.square().sum((1, 2)) for x in (magnitude, self.analyse(clips).abs()))
        return clips * self.net.gain.exp() * (energy / made.clamp(min=1e-12)).sqrt()[:, None]

    def _magnitude(self, log_magnitude: torch.Tensor, mel: torch.Tensor) -> torch.Tensor:
        """Magnitudes (b, frames, 513): the network's, or in frames for which it extrapolates the decoder's."""
        magnitude = self._like_quiet_bands(log_magnitude.clamp(max=HIGHEST).exp(), mel)
        above = (magnitude @ self.filters.T).clamp(min=MEL_FLOOR).log() - mel
        odd = (log_magnitude > HIGHEST).any(-1, keepdim=True) | (above > MOST_ABOVE).any(-1, keepdim=True)
        return torch.where(odd, self.magnitudes(mel), magnitude) if odd.any() else magnitude

    def _like_quiet_bands(self, magnitude: torch.Tensor, mel: torch.Tensor) -> torch.Tensor:
        """Scale magnitudes (b, frames, 513) to the log-mels (b, frames, 64) where those are quiet."""
        loudest = mel.amax((1, 2), keepdim=True)
        quiet = torch.sigmoid((loudest - QUIET - mel) / SOFTNESS)
        rise = quiet * (mel - (magnitude @ self.filters.T).clamp(min=MEL_FLOOR).log())
        return magnitude * (rise @ (self.filters / self.filters.sum(0).clamp(min=1e-9))).exp()


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
