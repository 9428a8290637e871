"""The reverse process: from noise to latents, step by step.

Conventions: step i goes from noise level i to level i + 1; `times[i]` is what the denoiser is told in it, and the last
step ends with clean latents. Latents at a level are signal * latents + sigma * noise. A step is p * latents +
q * output, where the output is the denoiser's (with the first-order solvers; others keep a history).
"""

import copy

import torch


class Process:
    """A reverse process.

    Attributes
    ----------
    times : (steps,), what the denoiser is told in each step.
    """

    times: torch.Tensor

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return len(self.times)

    def initial(self, noise: torch.Tensor) -> torch.Tensor:
        """What the whole process begins with, of unit noise."""
        return noise

    def scaled(self, latents: torch.Tensor, i: int) -> torch.Tensor:
        """Latents as the denoiser takes them in step `i`."""
        return latents

    def add_noise(self, source: torch.Tensor, noise: torch.Tensor, i: int) -> torch.Tensor:
        """Noise a source to the level that step `i` starts from."""
        raise NotImplementedError

    def step(self, output: torch.Tensor, i: int, latents: torch.Tensor) -> torch.Tensor:
        """What step `i` makes of its latents."""
        raise NotImplementedError

    def coefficients(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(p, q) of step `i`."""
        raise NotImplementedError

    def ancestral_mean(self, output: torch.Tensor, i: int, latents: torch.Tensor) -> torch.Tensor:
        """The mean of DDPM's step `i`, where the process has such steps."""
        raise NotImplementedError


class Scheduled(Process):
    """Steps of a diffusers scheduler.

    Parameters
    ----------
    scheduler : its state is not touched.
    steps : of the whole process.
    times : those of the steps to run, falling; None is the whole process.

    Raises
    ------
    ValueError : a number of steps outside 1 to the number of timesteps.
    """

    def __init__(self, scheduler, steps: int, device: torch.device, times: list[int] | None = None):
        n_train = scheduler.config.num_train_timesteps
        if not 1 <= steps <= n_train:
            raise ValueError(f"steps={steps}: expected 1 to {n_train}.")
        self.scheduler = copy.deepcopy(scheduler)
        self.scheduler.set_timesteps(steps, device=device)
        if times is not None:
            self.scheduler.timesteps = torch.tensor(times, device=device)
        self.times, self.device = self.scheduler.timesteps, device

    def initial(self, noise: torch.Tensor) -> torch.Tensor:
        return noise * self.scheduler.init_noise_sigma

    def scaled(self, latents: torch.Tensor, i: int) -> torch.Tensor:
        return self.scheduler.scale_model_input(latents, self.times[i])

    def add_noise(self, source: torch.Tensor, noise: torch.Tensor, i: int) -> torch.Tensor:
        return self.scheduler.add_noise(source, noise, self.times[i : i + 1])

    def step(self, output: torch.Tensor, i: int, latents: torch.Tensor) -> torch.Tensor:
        return self.scheduler.step(output, self.times[i], latents).prev_sample

    def coefficients(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        one = torch.ones((), device=self.device)
        return self.step(0 * one, i, one), self.step(one, i, 0 * one)  # read off the scheduler itself

    def ancestral_mean(self, output: torch.Tensor, i: int, latents: torch.Tensor) -> torch.Tensor:
        still = torch.zeros_like(latents)
        return self.scheduler.step(output, self.times[i], latents, eta=1.0, variance_noise=still).prev_sample


class Continuous(Process):
    """First-order steps over falling times.

    With flow matching, latents at time t are (1 - t) x + t noise, the output is noise - x, and a step is Euler's. With
    velocities, they are cos(t pi/2) x + sin(t pi/2) noise, and a step is DDIM's (Salimans and Ho 2022,
    https://arxiv.org/abs/2202.00512, appendix D). Both keep the noise that the output implies.

    Parameters
    ----------
    times : of the steps, falling, each in (0, 1]; the process ends at 0.
    prediction : "flow" or "v_prediction".
    """

    def __init__(self, times: list[float], prediction: str, device: torch.device):
        self.times, self.prediction = torch.tensor(times, dtype=torch.float32, device=device), prediction
        self._levels = continuous_levels(torch.cat([self.times, self.times.new_zeros(1)]), prediction)

    def add_noise(self, source: torch.Tensor, noise: torch.Tensor, i: int) -> torch.Tensor:
        signal, sigma = (level[i] for level in self._levels)
        return signal * source + sigma * noise

    def step(self, output: torch.Tensor, i: int, latents: torch.Tensor) -> torch.Tensor:
        p, q = self.coefficients(i)
        return p * latents + q * output

    def coefficients(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        (signal, later_signal), (sigma, later_sigma) = (level[i : i + 2] for level in self._levels)
        if self.prediction == "flow":
            return torch.ones_like(sigma), later_sigma - sigma
        return later_signal * signal + later_sigma * sigma, later_sigma * signal - later_signal * sigma


def continuous_levels(times: torch.Tensor, prediction: str) -> tuple[torch.Tensor, torch.Tensor]:
    """(signal, sigma) of times from 0 to 1; the signal is 0 at 1, to rounding."""
    if prediction == "flow":
        return 1 - times, times
    return torch.cos(times * torch.pi / 2), torch.sin(times * torch.pi / 2)
