"""Style transfer: a clip, moved towards a learned concept as far as a strength in [0, 1] says.

Conventions: clips are mono float32 (n,) at 16 kHz. Equation 2 of the paper: encode the clip, noise its latents to
t = strength * N, denoise from there with y = S*. The noise level is that of t to within one timestep, whatever the
number of steps; from there timesteps fall by N / steps, so about strength * steps of them are run. Strength 0 is the
clip's round trip through VAE and vocoder, and 1 is generation from noise: the very clip that `generate` makes of the
same seed, prompt and length (bit for bit alone on a CPU, to rounding in a batch). Instead of noise, the way up can be
an inversion (see `inversion`); at strength 0 all of them are the same round trip.

A long clip is cut into overlapping windows, which share source and noise where they overlap, and the results
are cross-faded. Strengths whose timesteps coincide are one batch, each row joining at its step.

transfer    : clip + words + strengths -> clips.
round_trip  : clip -> what VAE and vocoder make of it, strength 0.
timesteps_of : strength -> the timesteps that it runs.
window_starts, cross_fade : how a long clip is cut and put together.
"""

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from tmp_utils.inputs.audio import CLIP_S, HOP, MIN_CLIP_S, RATE_HZ, SILENCE_PEAK, fit_length, load_clip
from tmp_utils.inputs.prompts import fill
from tmp_utils.model.adapter import Adapter
from tmp_utils.model.backbone import Backbone, unit_noise
from tmp_utils.model.inversion import INVERSIONS, Denoiser, Trajectory

OVERLAP_S = 1.28  # of neighbouring windows, at least


def transfer(
    backbone: Backbone,
    clip: np.ndarray | str | Path,
    strengths: Sequence[float],
    *,
    prompt: str | None = None,
    adapter: Adapter | None = None,
    method: str = "noising",
    seed: int = 0,
    steps: int,
    guidance_scale: float,
    source_prompt: str = "",
    source_guidance_scale: float = 1.0,
    window_s: float = CLIP_S,
    overlap_s: float = OVERLAP_S,
    progress: bool = False,
) -> list[np.ndarray]:
    """Move a clip towards a prompt, once for each strength.

    Parameters
    ----------
    clip : (n,) at 16 kHz, or a sound file of any rate and number of channels; of any length from 0.5 s.
    strengths : in [0, 1]; see the module's conventions.
    prompt : y; a "{}" in it stands for the adapter's words. None is y = S*, the adapter's words alone.
    adapter : what was learned, of any method; None asks the backbone as it is.
    method : "noising" (Equation 2), "ddim-inversion" or "ddpm-inversion".
    seed : of the noise; DDIM inversion has none.
    steps, guidance_scale : of the reverse process; the profile's, commonly.
    source_prompt, source_guidance_scale : what the inversions take the source to be.
    window_s, overlap_s : length of the windows of a long clip, and how far neighbours overlap at the least.

    Returns
    -------
    list of float32 (n,) at 16 kHz, one for each strength, as long as the clip.

    Raises
    ------
    FileNotFoundError : `clip` names no file.
    ValueError : a strength outside [0, 1]; neither prompt nor adapter; an unknown method; a clip that is silent,
        too short or not finite; windows that do not overlap.
    """
    words = _words(prompt, adapter)
    if method not in INVERSIONS:
        raise ValueError(f'unknown method "{method}"; expected one of {", ".join(INVERSIONS)}.')
    strengths = [float(strength) for strength in strengths]
    if not strengths:
        raise ValueError("no strengths arrived; expected at least one number from 0 to 1.")
    processes = _processes(strengths, steps, backbone.scheduler.config.num_train_timesteps)
    samples = _checked(clip)
    offsets, window = window_starts(len(samples), window_s, overlap_s, _grain(backbone))
    clips: dict[float, np.ndarray] = {}
    with adapter.applied(backbone) if adapter else nullcontext():
        sources = [_encode(backbone, fit_length(samples, window, offset)) for offset in offsets]
        sides = [(backbone.embed_prompts([source_prompt]), source_guidance_scale)]
        sides.append((backbone.embed_prompts([words]), guidance_scale))
        with tqdm(desc=method, disable=not progress, leave=False) as bar:
            for timesteps, joins in processes:
                forward, back = (Denoiser(backbone, side, steps, scale, timesteps) for side, scale in sides)
                starts = sorted(set(joins.values()))  # strengths with the same timesteps are one row
                parts = []
                for offset, source in zip(offsets, sources, strict=True):
                    trajectory = _trajectory(forward, source, method, seed, offset // _grain(backbone), starts[0])
                    parts.append(_decode(backbone, _sweep(back, trajectory, starts, bar)))
                faded = [cross_fade([part[k] for part in parts], offsets, overlap_s) for k in range(len(starts))]
                clips |= {strength: faded[starts.index(start)] for strength, start in joins.items()}
    return [clips[strength][: len(samples)].copy() for strength in strengths]


def round_trip(backbone: Backbone, clip: np.ndarray | str | Path) -> np.ndarray:
    """What the VAE and the vocoder make of a clip: strength 0, and the most that any transfer can keep."""
    return transfer(backbone, clip, [0.0], prompt="", steps=1, guidance_scale=1.0)[0]


def timesteps_of(strength: float, steps: int, n_train: int) -> list[int]:
    """The timesteps that a strength runs, falling; none for 0.

    Timestep t (from 0) is the noise level t + 1 of `n_train`. The first is that of strength * n_train to the nearest
    whole one, and each of the next is n_train // steps lower. (`transfer` takes the whole process for strength 1.)

    Raises
    ------
    ValueError : a strength outside [0, 1], or a number of steps outside 1 to `n_train`.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength {strength}: expected a number from 0 (the source) to 1 (generation from noise).")
    if not 1 <= steps <= n_train:
        raise ValueError(f"steps={steps}: expected 1 to {n_train}.")
    return list(range(round(strength * n_train) - 1, -1, -(n_train // steps)))


def _processes(strengths: Sequence[float], steps: int, n_train: int) -> list[tuple[list[int] | None, dict[float, int]]]:
    """The processes that serve all strengths: timesteps (None: all of generation), and each strength's first step."""
    runs = {strength: timesteps_of(strength, steps, n_train) for strength in strengths}
    whole = [(None, {1.0: 0})] if runs.pop(1.0, None) else []
    groups: dict[int, dict[float, list[int]]] = {}
    for strength, timesteps in sorted(runs.items(), reverse=True):  # strength 0 comes last and joins any at its end
        last = timesteps[-1] if timesteps else next(iter(groups), 0)
        groups.setdefault(last, {})[strength] = timesteps
    longest = [(max(group.values(), key=len), group) for group in groups.values()]
    return whole + [
        (most, {s: len(most) - len(timesteps) for s, timesteps in group.items()}) for most, group in longest
    ]


def _words(prompt: str | None, adapter: Adapter | None) -> str:
    if prompt is None and adapter is None:
        raise ValueError("neither a prompt nor an adapter arrived: what should the clip be moved towards?")
    if prompt is None:
        return adapter.words
    if "{}" not in prompt:
        return prompt
    if adapter is None:
        raise ValueError(f'"{prompt}" has a place for a concept, but no adapter arrived to fill it.')
    return fill(prompt, adapter.words)


def _checked(clip: np.ndarray | str | Path) -> np.ndarray:
    if isinstance(clip, str | Path):
        return load_clip(clip)
    samples = np.asarray(clip, dtype=np.float32)
    if samples.ndim != 1:
        raise ValueError(
            f"a clip of shape {samples.shape} arrived; expected one channel (n,) at {RATE_HZ} Hz. Average its "
            "channels, or give the file's path."
        )
    if len(samples) < MIN_CLIP_S * RATE_HZ:
        raise ValueError(f"the clip lasts {len(samples) / RATE_HZ:.2f} s; style transfer needs {MIN_CLIP_S} s or more.")
    if not np.isfinite(samples).all():
        raise ValueError("the clip holds NaN or infinite samples. Export or record it again.")
    if (peak := float(np.abs(samples).max())) < SILENCE_PEAK:
        raise ValueError(
            f"the clip is silent (peak {peak:.1e}, expected at least {SILENCE_PEAK:.0e}): there is no source to "
            "keep. Choose another part of the recording."
        )
    return samples


def _grain(backbone: Backbone) -> int:
    """Samples in one frame of latents."""
    return HOP * backbone.pipe.vae_scale_factor


def window_starts(n: int, window_s: float, overlap_s: float, grain: int) -> tuple[list[int], int]:
    """Where the windows of a clip begin, spread evenly, and how long they are.

    Parameters
    ----------
    n, grain : samples of the clip, and of what starts and lengths are multiples of.

    Returns
    -------
    starts and length in samples; one window, as long as the clip, if it fits. The last may reach past the
    clip's end by less than `grain`.

    Raises
    ------
    ValueError : the overlap is not shorter than half the window.
    """
    window, overlap = (round(seconds * RATE_HZ / grain) for seconds in (window_s, overlap_s))
    if not 0 < 2 * overlap <= window:
        raise ValueError(
            f"overlap_s={overlap_s} with window_s={window_s}: the overlap must be at least "
            f"{grain / RATE_HZ} s and at most half the window."
        )
    frames = -(-n // grain)
    if frames <= window:
        return [0], frames * grain
    count = -(-(frames - overlap) // (window - overlap))
    return [int(start) * grain for start in np.linspace(0, frames - window, count)], window * grain


def cross_fade(parts: Sequence[np.ndarray], starts: Sequence[int], overlap_s: float) -> np.ndarray:
    """Add windows up; one fades linearly into the next for `overlap_s` in the middle of what both hold.

    They may share much more than that, but two inventions at once are a blur, and softer than either. Fades are
    linear because neighbours sound alike where they overlap; gains add up to 1, and the clip's ends are not
    faded.
    """
    if len(parts) == 1:
        return np.array(parts[0])
    n, ramp = len(parts[0]), round(overlap_s * RATE_HZ)
    total, gains = np.zeros((2, starts[-1] + n))
    for k, (part, start) in enumerate(zip(parts, starts, strict=True)):
        gain = np.ones(n)
        if k > 0:
            gain *= _rise(n, starts[k - 1] + n - start, ramp)
        if k + 1 < len(parts):
            gain *= _rise(n, start + n - starts[k + 1], ramp)[::-1]
        total[start : start + n] += gain * part
        gains[start : start + n] += gain
    return (total / gains).astype(np.float32)


def _rise(n: int, shared: int, ramp: int) -> np.ndarray:
    """Gains (n,) of a window whose first `shared` samples its neighbour has too: 0, then a ramp, then 1."""
    return np.clip((np.arange(n) + 0.5 - (shared - ramp) / 2) / ramp, 0.0, 1.0)


def _encode(backbone: Backbone, samples: np.ndarray) -> torch.Tensor:
    """Latents (c, t, f): the mean of the posterior, so that one clip has one round trip."""
    mean, _ = backbone.moments([samples])
    return mean[0].to(backbone.device) * backbone.vae.config.scaling_factor


def _decode(backbone: Backbone, latents: torch.Tensor) -> list[np.ndarray]:
    """Clips of latents (b, c, t, f), one at a time, so that no clip's bits depend on the others."""
    return [backbone.decode(row[None])[0] for row in latents]


def _trajectory(
    denoiser: Denoiser, source: torch.Tensor, method: str, seed: int, frame: int, earliest: int
) -> Trajectory | None:
    if earliest == denoiser.steps:  # only strength 0
        return Trajectory(source.expand(denoiser.steps + 1, *source.shape))
    draws = denoiser.steps if method == "ddpm-inversion" else 1
    return INVERSIONS[method](denoiser, source, _noise(seed, draws, source.shape, frame).to(source.device))


def _noise(seed: int, draws: int, shape: torch.Size, frame: int) -> torch.Tensor:
    """Draws (draws, c, t, f) of an endless noise from a frame on, so that windows share it where they overlap.

    The first draw begins with what `generate` starts from at this seed.
    """
    length, (block, within) = shape[1], divmod(frame, shape[1])
    seeds = [[_derived(seed, draw, block + k) for draw in range(draws)] for k in (0, 1)]
    both = torch.cat([unit_noise(row, tuple(shape)) for row in seeds], dim=2)
    return both[:, :, within : within + length]


def _derived(seed: int, draw: int, block: int) -> int:
    if draw == block == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed}/{draw}/{block}".encode()).digest()[:7], "big")


def _sweep(denoiser: Denoiser, trajectory: Trajectory, starts: Sequence[int], bar: tqdm) -> torch.Tensor:
    """Clean latents (len(starts), c, t, f): rows enter a common reverse process, each at its step.

    Parameters
    ----------
    starts : rising.
    """
    latents = trajectory.latents[starts].clone()
    for i in range(denoiser.steps):
        under_way = sum(start <= i for start in starts)  # the first so many rows
        if under_way:
            latents[:under_way] = denoiser.step(latents[:under_way], i, trajectory.residual(i))
        bar.update()
    return latents
