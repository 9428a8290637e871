"""What users of the paper's public code run, written anew, to time and to check this package against.

Conventions: a step's randomness comes in a `PublicDraw`, so that it and `personalize` can be given the same noise and
asked for the same loss. Each step does what the public training scripts do (github.com/zelaki/DreamSound, commit
244ed19, and the diffusers examples that it follows). Clip by clip, in the training process: it reads the wav again,
builds AudioLDM's `FrontEnd` anew (their `wav_to_mel` does so in every call), computes the mel, and tokenises and
encodes a prompt padded to the tokenizer's limit. Then it encodes the mels with the VAE and updates with AdamW as it
comes. Textual Inversion's optimiser decays and steps the whole vocabulary, and all rows but one are put back
afterwards; DreamBooth's steps the whole UNet. Generation is a call of the pipeline a prompt. Their faults that change
the sound and not the time (only the left channel, division by the peak, other padding) are left out: both loops learn
from the same mels. `keep_front_end=True` builds the front end once, to tell what the rest of a step costs.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.signal
import torch
import torch.nn.functional as F

from tmp_utils.inputs.audio import CLIP_S, HOP, MEL_FLOOR, N_FFT, RATE_HZ, fit_length, load_clip, mel_filters
from tmp_utils.model.backbone import Backbone, unit_noise
from tmp_utils.model.pipelines import quiet

WEIGHT_DECAY = 1e-2  # AdamW's own, which the scripts leave as it is
MAX_GRAD_NORM = 1.0


@dataclass(frozen=True)
class PublicDraw:
    """Of a batch of b: `rows` of the prompts and `clips`, int (b,); the VAE's `posterior` noise and the diffusion's
    `noise`, (b, c, t, f); `timesteps`, int (b,)."""

    rows: torch.Tensor
    clips: torch.Tensor
    posterior: torch.Tensor
    timesteps: torch.Tensor
    noise: torch.Tensor

    @classmethod
    def of(cls, generator: torch.Generator, n: int, n_prompts: int, n_clips: int, shape: tuple, n_timesteps: int):
        """What `personalize.objective.draw_batch` draws from a generator in the same state, without MIX or a prior."""
        rows = torch.randint(n_prompts, (n,), generator=generator)
        clips = torch.randint(n_clips, (n,), generator=generator)
        torch.randint(1, (n,), generator=generator)  # the version of each clip, of which there is one
        posterior = torch.randn((n, *shape), generator=generator)
        timesteps = torch.randint(n_timesteps, (n,), generator=generator)
        return cls(rows, clips, posterior, timesteps, torch.randn((n, *shape), generator=generator))


class FrontEnd:
    """AudioLDM's mel spectrogram (github.com/haoheliu/AudioLDM, audioldm/audio/stft.py): an STFT as a convolution.

    Making one costs a pseudo-inverse of the Fourier basis, (1026, 1024) in double precision, for a way back that
    training never takes; using one also computes phases, log magnitudes and energies, which are dropped.
    """

    def __init__(self):
        basis = np.fft.fft(np.eye(N_FFT))[: N_FFT // 2 + 1]
        basis = np.concatenate([basis.real, basis.imag])
        window = scipy.signal.get_window("hann", N_FFT)
        self.forward = torch.from_numpy(basis * window).float()[:, None]
        self.inverse = torch.from_numpy(np.linalg.pinv(N_FFT / HOP * basis).T * window).float()[:, None]
        self.filters = torch.from_numpy(mel_filters.__wrapped__().copy())

    def log_mel(self, clip: np.ndarray) -> torch.Tensor:
        """Clip (n,) -> (n // 160, 64), the values of `audio.log_mel`."""
        pad = (N_FFT - HOP) // 2
        padded = F.pad(torch.from_numpy(clip)[None, None], (pad, pad), mode="reflect")
        real, imaginary = F.conv1d(padded, self.forward, stride=HOP)[0].chunk(2)
        magnitude = (real.square() + imaginary.square()).sqrt()
        mel = (self.filters @ magnitude).clamp(min=MEL_FLOOR).log()
        _dropped = (torch.atan2(imaginary, real), magnitude.clamp(min=MEL_FLOOR).log(), magnitude.norm(dim=0))
        return mel.T


class _PublicLoop:
    """What both methods do in a step."""

    def __init__(
        self,
        backbone: Backbone,
        files: Sequence[Path],
        prompts: Sequence[str],
        clip_s: float = CLIP_S,
        keep_front_end: bool = False,
    ):
        self.backbone, self.files, self.prompts, self.clip_s = backbone, list(files), list(prompts), clip_s
        self.front_end = FrontEnd() if keep_front_end else None
        self.unet, self.text_encoder, self.tokenizer = backbone.unet, backbone.text_encoder, backbone.tokenizer

    def latents(self, draw: PublicDraw) -> torch.Tensor:
        """(b, c, t, f): read, mel, VAE, a sample, scaled."""
        mels = torch.stack([self.mel(self.files[k]) for k in draw.clips])[:, None].to(self.backbone.device)
        with torch.no_grad():
            posterior = self.backbone.vae.encode(mels).latent_dist
        sample = posterior.mean + posterior.std * draw.posterior.to(mels.device)
        return sample * self.backbone.vae.config.scaling_factor

    def mel(self, path: Path) -> torch.Tensor:
        """(frames, 64) of a file."""
        clip = fit_length(load_clip(path, duration_s=self.clip_s), round(self.clip_s * RATE_HZ))
        return (self.front_end or FrontEnd()).log_mel(clip)

    def condition(self, draw: PublicDraw) -> torch.Tensor:
        """(b, d), a prompt at a time."""
        return torch.cat([self.encode(self.prompts[k]) for k in draw.rows])

    def encode(self, prompt: str) -> torch.Tensor:
        """(1, d): tokenise, pad to the limit, encode, normalise."""
        tokens = self.tokenizer(
            [prompt],
            padding="max_length",
            max_length=self.backbone.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).to(self.backbone.device)
        embedded = self.text_encoder(tokens.input_ids, attention_mask=tokens.attention_mask).text_embeds
        return F.normalize(embedded, dim=-1)

    def loss(self, draw: PublicDraw) -> torch.Tensor:
        """Mean squared error of what the scheduler says the UNet predicts."""
        latents, condition = self.latents(draw), self.condition(draw)
        scheduler, noise, timesteps = self.backbone.scheduler, draw.noise.to(latents.device), draw.timesteps
        noisy = scheduler.add_noise(latents, noise, timesteps)
        target = noise
        if scheduler.config.prediction_type == "v_prediction":
            target = scheduler.get_velocity(latents, noise, timesteps)
        output = self.unet(noisy, timesteps.to(latents.device), None, class_labels=condition).sample
        return F.mse_loss(output, target)


class PublicTextualInversion(_PublicLoop):
    """A new row of the vocabulary, learned by training all of it.

    Parameters
    ----------
    placeholder, first : the new token, and its first vector (d,).
    prompts : with the placeholder in them.
    """

    def __init__(self, backbone: Backbone, files, prompts, placeholder: str, first: torch.Tensor, lr: float, **kwargs):
        super().__init__(backbone, files, prompts, **kwargs)
        self.tokenizer, self.text_encoder = copy.deepcopy(backbone.tokenizer), copy.deepcopy(backbone.text_encoder)
        self.tokenizer.add_tokens(placeholder)
        with quiet():
            self.text_encoder.resize_token_embeddings(len(self.tokenizer), mean_resizing=False)
        self.token = self.tokenizer.convert_tokens_to_ids(placeholder)
        self.table = self.text_encoder.get_input_embeddings().weight
        with torch.no_grad():
            self.table[self.token] = first
        self.text_encoder.requires_grad_(False)
        self.table.requires_grad_(True)
        self.original = self.table.detach().clone()
        self.optimizer = torch.optim.AdamW([self.table], lr=lr, weight_decay=WEIGHT_DECAY)

    def step(self, draw: PublicDraw) -> float:
        """Take a step, then put all rows but the new one back; the loss."""
        loss = self.loss(draw)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        others = torch.ones(len(self.table), dtype=torch.bool)
        others[self.token] = False
        with torch.no_grad():
            self.table[others] = self.original[others]
        return float(loss.detach())


class PublicDreamBooth(_PublicLoop):
    """The whole UNet, on a copy of it; the prompt is encoded at every step."""

    def __init__(self, backbone: Backbone, files, prompts, lr: float, **kwargs):
        super().__init__(backbone, files, prompts, **kwargs)
        self.unet = copy.deepcopy(backbone.unet).requires_grad_(True)
        self.optimizer = torch.optim.AdamW(self.unet.parameters(), lr=lr, weight_decay=WEIGHT_DECAY)

    def condition(self, draw: PublicDraw) -> torch.Tensor:
        """(b, d), without gradients."""
        with torch.no_grad():
            return super().condition(draw)

    def step(self, draw: PublicDraw) -> float:
        """Take a step; the loss."""
        loss = self.loss(draw)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.unet.parameters(), MAX_GRAD_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(loss.detach())


def public_generate(
    backbone: Backbone, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance_scale: float, clip_s: float
) -> list[np.ndarray]:
    """Generate clips (n,) one call of the pipeline at a time, from the noise that `generate` starts from."""
    shape, numbers = backbone.latent_shape(clip_s), {"num_inference_steps": steps, "guidance_scale": guidance_scale}
    clips = []
    for prompt, seed in zip(prompts, seeds, strict=True):
        noise = unit_noise([seed], shape).to(backbone.device)
        clips.append(backbone.pipe(prompt, audio_length_in_s=clip_s, latents=noise, **numbers).audios[0])
    return clips


def public_scores(embedder, files: Sequence[Path], training: Sequence[Path], prompts: Sequence[str]) -> dict:
    """CLAP-A, CLAP-T and FAD as a script does them: a file and a prompt at a time, nothing kept, a matrix root."""
    from scipy.linalg import sqrtm

    generated, reference = (
        np.stack([embedder.embed_clips([load_clip(path)])[0] for path in paths]) for paths in (files, training)
    )
    texts = np.stack([embedder.embed_prompts([prompt])[0] for prompt in prompts])
    covariances = [np.cov(part, rowvar=False) for part in (reference, generated)]
    shift = reference.mean(0) - generated.mean(0)
    root = np.real(sqrtm(covariances[0] @ covariances[1]))
    return {
        "clap_a": float((generated @ reference.T).mean()),
        "clap_t": float((generated * texts).sum(1).mean()),
        "fad": float(shift @ shift + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * np.trace(root)),
    }
