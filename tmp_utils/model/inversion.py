"""How a source becomes noise: three ways to the point where the reverse process takes over.

Conventions: latents are what the denoiser sees, (b, c, t, ...). The reverse process has n steps at times
t_0 > ... > t_{n-1}. `Trajectory.latents[i]` is what step i starts from and `latents[n]` is the source itself,
so that whoever enters at step n gets the source back untouched, by any of the methods. Everything works for
everything that a denoiser may predict, because only the process knows which it is.

Denoiser       : a backbone, a condition and a grid of steps; what both directions share.
Trajectory     : a source's latents at every noise level, and what the steps between them left over.
noising        : the forward process, with one draw of noise (paper, Equation 2; Meng et al. 2022,
    https://arxiv.org/abs/2108.01073).
ddim_inversion : the deterministic reverse process, run backwards (Song et al. 2021,
    https://arxiv.org/abs/2010.02502, section 4.3), each step solved by fixed-point iteration (Pan et al. 2023,
    https://arxiv.org/abs/2309.04907).
ddpm_inversion : edit-friendly noise maps (Huberman-Spiegelglas, Kulikov and Michaeli 2024,
    https://arxiv.org/abs/2304.06140).
INVERSIONS     : the three by name; a model has two or all of them.
check_methods  : whether a backbone has them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch

from tmp_utils.model.backbone import Backbone
from tmp_utils.model.process import Process

REFINEMENTS = 2  # fixed-point iterations of a DDIM inversion step after the first guess


@dataclass
class Denoiser:
    """The reverse process of a backbone under one condition, once: its guidance may remember earlier steps.

    Attributes
    ----------
    condition : (1, ...).
    steps : of the whole process, from noise; they set how far apart times are.
    guidance_scale : as of `Backbone.guided`.
    times : those of the steps to run, falling; None is the whole process.

    Raises
    ------
    ValueError : the scheduler clips what it predicts, or a number of steps that it does not have.

    Notes
    -----
    The process is of the first order (DDIM's), whichever scheduler the backbone generates with: others keep a history
    of steps, which rows that enter at different steps do not share, or cannot be run backwards.
    """

    backbone: Backbone
    condition: torch.Tensor
    steps: int
    guidance_scale: float = 1.0
    times: list | None = None
    process: Process = field(init=False, repr=False)

    def __post_init__(self):
        self.from_noise = self.times is None
        self.process = self.backbone.reversible(self.steps, self.times)
        self.steps = self.process.steps
        self._answer = self.backbone.guided(self.condition.to(self.backbone.device), self.guidance_scale)

    @torch.no_grad()
    def predict(self, latents: torch.Tensor, i: int) -> torch.Tensor:
        """The denoiser's output (b, c, t, ...) for step `i`, guided."""
        return self._answer(latents, self.process.times[i])

    def step(self, latents: torch.Tensor, i: int, residual: torch.Tensor | None = None) -> torch.Tensor:
        """What step `i` makes of its latents: DDIM's, or where there is a residual DDPM's mean plus it."""
        output = self.predict(latents, i)
        if residual is None:
            return self.process.step(output, i, latents)
        return self.process.ancestral_mean(output, i, latents) + residual


@dataclass
class Trajectory:
    """A source on its way to noise.

    Attributes
    ----------
    latents : (n + 1, c, t, f); row i is what step i starts from, row n is the source.
    residuals : (n, c, t, f), added after step i; None where the steps are deterministic.
    """

    latents: torch.Tensor
    residuals: torch.Tensor | None = None

    def residual(self, i: int) -> torch.Tensor | None:
        """What is added after step `i`, if anything."""
        return None if self.residuals is None else self.residuals[i]


def noising(denoiser: Denoiser, source: torch.Tensor, noise: torch.Tensor) -> Trajectory:
    """Noise the source to every level by one and the same draw; the whole process begins with the noise alone.

    Parameters
    ----------
    denoiser : only its noise levels are used; the model is not run.
    source : (c, t, ...).
    noise : (n >= 1, c, t, f), unit Gaussian; the first is used.
    """
    levels = [denoiser.process.add_noise(source, noise[0], i) for i in range(denoiser.steps)]
    if denoiser.from_noise:
        levels[0] = denoiser.process.initial(noise[0])
    return Trajectory(torch.stack([*levels, source]))


def ddim_inversion(
    denoiser: Denoiser, source: torch.Tensor, noise: torch.Tensor | None = None, refinements: int = REFINEMENTS
) -> Trajectory:
    """Find the latents from which DDIM's steps lead to the source.

    A step is p x + q m with the model's output m at x. Backwards x is (step - q m) / p, where m at x is not yet
    known: it is first taken at the step's result, as plain DDIM inversion does, then at the x of the iteration before.

    Parameters
    ----------
    denoiser : of the source's prompt, commonly the family's null without guidance, which would amplify errors.
    source : (c, t, ...).
    noise : not used; the method is deterministic.
    refinements : further iterations; 0 is plain DDIM inversion. With few steps they do not converge: with the pocket
        model's ten, the way back ends about half as far from the source as the source is large.
    """
    latents = [source]
    for i in reversed(range(denoiser.steps)):
        p, q = denoiser.process.coefficients(i)
        earlier = latents[0]
        for _ in range(1 + refinements):
            earlier = (latents[0] - q * denoiser.predict(earlier[None], i)[0]) / p
        latents.insert(0, earlier)
    return Trajectory(torch.stack(latents))


def ddpm_inversion(denoiser: Denoiser, source: torch.Tensor, noise: torch.Tensor) -> Trajectory:
    """Noise the source to every level with independent draws; the residual is what DDPM's steps between them leave.

    The residual of step i is latents[i + 1] - mean(latents[i]), that is sigma_i z_i of the paper; kept as a whole
    it also serves where sigma_i is 0. With the prompt and guidance of `denoiser` the way back is exact.

    Parameters
    ----------
    source : (c, t, ...).
    noise : (n, c, t, f), unit Gaussian, independent over levels: that is what makes the maps edit-friendly. The last
        step takes the first draw, so that a level has the same draw wherever the process begins.

    Raises
    ------
    ValueError : fewer draws than steps.
    """
    if len(noise) < denoiser.steps:
        raise ValueError(f"{len(noise)} draws of noise for {denoiser.steps} steps; give one for each step.")
    draws = noise[: denoiser.steps].flip(0)
    latents = [*(denoiser.process.add_noise(source, draws[i], i) for i in range(denoiser.steps)), source]
    residuals = []
    for i in range(denoiser.steps):
        mean = denoiser.step(latents[i][None], i, torch.zeros_like(source))[0]
        residuals.append(latents[i + 1] - mean)
        if i + 1 < denoiser.steps:  # what the way back will compute, to the last bit: no error adds up
            latents[i + 1] = mean + residuals[i]
    return Trajectory(torch.stack(latents), torch.stack(residuals))


INVERSIONS = {"noising": noising, "ddim-inversion": ddim_inversion, "ddpm-inversion": ddpm_inversion}


def check_methods(backbone: Backbone, methods: Iterable[str]) -> None:
    """Raise ValueError where a method of style transfer is none of the backbone's."""
    for method in methods:
        if method not in backbone.inversions:
            why = "; ddpm-inversion needs the random steps of a DDPM" if method == "ddpm-inversion" else ""
            raise ValueError(f'method "{method}": {backbone.id} has {", ".join(backbone.inversions)}{why}.')
