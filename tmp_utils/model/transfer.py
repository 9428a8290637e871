"""Style transfer: a clip, moved towards a learned concept as far as a strength in [0, 1] says.

Conventions: clips are mono float32 (n,) at 16 kHz, whatever the backbone's rate. Equation 2 of the paper: encode the
clip, noise its latents to t = strength * N, denoise from there with y = S*. The noise level is that of t to within one
timestep, whatever the number of steps; from there timesteps fall by N / steps, so about strength * steps of them are
run. Where a model's time runs from 0 to 1, N is 1, and the steps are those of the whole process below t. Strength 0 is
the clip's round trip through VAE and vocoder, and 1 is generation from noise: the very clip that `generate` makes of
the same seed, prompt and length (bit for bit alone on a CPU, to rounding in a batch). Instead of noise, the way up can
be an inversion (see `inversion`); at strength 0 all of them are the same round trip.

A long clip is cut into overlapping windows, which share source and noise where they overlap, and the results
are cross-faded. Strengths whose times coincide are one batch, each row joining at its step.
"""

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from tmp_utils.inputs.audio import CLIP_S, MIN_CLIP_S, RATE_HZ, SILENCE_PEAK, fit_length, load_clip, resampled
from tmp_utils.inputs.prompts import fill
from tmp_utils.model.adapter import Adapter
from tmp_utils.model.backbone import Backbone, unit_noise
from tmp_utils.model.inversion import INVERSIONS, Denoiser, Trajectory, check_methods

WINDOW_S, OVERLAP_S = CLIP_S, 1.28  # of a long clip's windows; neighbours overlap by so much at least


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
    rate_hz: int = RATE_HZ,
    progress: bool = False,
) -> list[np.ndarray]:
    """Move a clip towards a prompt, once for each strength.

    Parameters
    ----------
    clip : (n,) at 16 kHz, or a sound file of any rate and number of channels; of any length from 0.5 s.
    strengths : in [0, 1]; see the module's conventions.
    prompt : y; a "{}" in it stands for the adapter's words. None is y = S*, the adapter's words alone.
    adapter : what was learned, of any method; None asks the backbone as it is.
    method : "noising" (Equation 2), "ddim-inversion" or, with a DDPM, "ddpm-inversion".
    seed : of the noise; DDIM inversion has none.
    steps, guidance_scale : of the reverse process; the profile's, commonly.
    rate_hz : of the clips that are returned.

    Returns
    -------
    list of float32 (n,) at `rate_hz`, one for each strength, as long as the clip.

    Raises
    ------
    FileNotFoundError : `clip` names no file.
    ValueError : a strength outside [0, 1]; neither prompt nor adapter; a method that the backbone does not have; a clip
        that is silent, too short or not finite.
    """
    words = _words(prompt, adapter)
    check_methods(backbone, [method])
    strengths = [float(strength) for strength in strengths]
    if not strengths:
        raise ValueError("no strengths arrived; expected at least one number from 0 to 1.")
    for strength in strengths:
        if not 0 <= strength <= 1:
            raise ValueError(
                f"strength {strength}: expected a number from 0 (the source) to 1 (generation from noise)."
            )
    processes = _processes(backbone, strengths, steps)
    samples, own_hz, grain = _checked(clip, backbone.rate_hz), backbone.rate_hz, backbone.grain
    offsets, window = window_starts(len(samples), grain, own_hz)
    clips: dict[float, np.ndarray] = {}
    with adapter.applied(backbone) if adapter else nullcontext(), backbone.lasting(window / own_hz):
        sources = [_encode(backbone, fit_length(samples, window, offset)) for offset in offsets]
        condition = backbone.embed_prompts([words])
        null = backbone.null_of(condition)
        with tqdm(desc=method, disable=not progress, leave=False) as bar:
            for times, joins in processes:
                forward = Denoiser(backbone, null, steps, 1.0, times)
                starts = sorted(set(joins.values()))  # strengths with the same times are one row
                parts = []
                for offset, source in zip(offsets, sources, strict=True):
                    trajectory = _trajectory(forward, source, method, seed, offset // grain, starts[0])
                    back = Denoiser(backbone, condition, steps, guidance_scale, times)
                    parts.append(_decode(backbone, _sweep(back, trajectory, starts, bar), window))
                faded = [cross_fade([part[k] for part in parts], offsets, own_hz) for k in range(len(starts))]
                clips |= {strength: faded[starts.index(start)] for strength, start in joins.items()}
    n = round(len(samples) * rate_hz / own_hz)
    made = (resampled(clips[strength][: len(samples)], own_hz, rate_hz) for strength in strengths)
    return [fit_length(samples, n) for samples in made]


def round_trip(backbone: Backbone, clip: np.ndarray | str | Path) -> np.ndarray:
    """What the VAE and the vocoder make of a clip: strength 0, and the most that any transfer can keep."""
    return transfer(backbone, clip, [0.0], prompt="", steps=1, guidance_scale=1.0)[0]


def _processes(
    backbone: Backbone, strengths: Sequence[float], steps: int
) -> list[tuple[list | None, dict[float, int]]]:
    """The processes that serve all strengths: times (None: all of generation), and each strength's first step."""
    runs = {strength: backbone.times_of(strength, steps) for strength in strengths}
    whole = [(None, {1.0: 0})] if runs.pop(1.0, None) else []
    groups: list[tuple[list, dict[float, int]]] = []
    for strength, times in sorted(runs.items(), reverse=True):  # strength 0 comes last and joins any at its end
        for most, joins in groups:
            if not times or most[-len(times) :] == times:
                joins[strength] = len(most) - len(times)
                break
        else:
            groups.append((times, {strength: 0}))
    return whole + groups


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


def _checked(clip: np.ndarray | str | Path, rate_hz: int) -> np.ndarray:
    if isinstance(clip, str | Path):
        return load_clip(clip, rate_hz)
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
    return resampled(samples, RATE_HZ, rate_hz)


def window_starts(n: int, grain: int, rate_hz: int) -> tuple[list[int], int]:
    """Where the windows of a clip of `n` samples begin, spread evenly, and how long they are, in multiples of `grain`.

    One window, as long as the clip, if it fits. The last may reach past the clip's end by less than `grain`.
    """
    window, overlap = (round(seconds * rate_hz / grain) for seconds in (WINDOW_S, OVERLAP_S))
    frames = -(-n // grain)
    if frames <= window:
        return [0], frames * grain
    count = -(-(frames - overlap) // (window - overlap))
    return [int(start) * grain for start in np.linspace(0, frames - window, count)], window * grain


def cross_fade(parts: Sequence[np.ndarray], starts: Sequence[int], rate_hz: int) -> np.ndarray:
    """Add windows up; one fades linearly into the next for `OVERLAP_S` in the middle of what both hold.

    They may share much more than that, but two inventions at once are a blur, and softer than either. Fades are
    linear because neighbours sound alike where they overlap; gains add up to 1, and the clip's ends are not
    faded.
    """
    if len(parts) == 1:
        return np.array(parts[0])
    n, ramp = len(parts[0]), round(OVERLAP_S * rate_hz)
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
    """Latents (c, t, ...): the mean of the posterior, so that one clip has one round trip."""
    mean, _ = backbone.moments([samples])
    return mean[0].to(backbone.device) * backbone.latent_scale


def _decode(backbone: Backbone, latents: torch.Tensor, n: int) -> list[np.ndarray]:
    """Clips (n,) of latents (b, c, t, ...), one at a time, so that no clip's bits depend on the others."""
    return [backbone.decode(row[None])[0][:n] for row in latents]


def _trajectory(
    denoiser: Denoiser, source: torch.Tensor, method: str, seed: int, frame: int, earliest: int
) -> Trajectory | None:
    if earliest == denoiser.steps:  # only strength 0
        return Trajectory(source.expand(denoiser.steps + 1, *source.shape))
    draws = denoiser.steps if method == "ddpm-inversion" else 1
    return INVERSIONS[method](denoiser, source, _noise(seed, draws, source.shape, frame).to(source.device))


def _noise(seed: int, draws: int, shape: torch.Size, frame: int) -> torch.Tensor:
    """Draws (draws, c, t, ...) of an endless noise from a frame on, so that windows share it where they overlap.

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
    """Clean latents (len(starts), c, t, ...): rows enter a common reverse process, each at its step.

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
