"""From noise to a clean latent: one step (LEAF, SDSeg), or several by DDIM."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch

from leaf_seg.diffusion.schedule import NoiseSchedule
from leaf_seg.runtime.errors import InputError

# The estimate of the clean latent [B, C, h, w] from a noisy one [B, C, h, w] and its timesteps [B].
PredictClean = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Sampler(ABC):
    """Draws a clean latent; a frozen dataclass of plain values."""

    @abstractmethod
    def __call__(self, predict_clean: PredictClean, noise: torch.Tensor, schedule: NoiseSchedule) -> torch.Tensor:
        """The clean latent that a network comes to from noise, [B, C, h, w]."""

    @property
    def is_one_step(self) -> bool:
        """Whether it asks the network once."""
        return False

    @property
    def config(self) -> dict[str, Any]:
        """Plain values from which :meth:`from_config` makes the same."""
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make the sampler from :attr:`config`."""
        return cls(**config)


@dataclass(frozen=True)
class OneStep(Sampler):
    """One denoising step from the noisiest timestep, T - 1 (LEAF; SDSeg's inference)."""

    @property
    def is_one_step(self) -> bool:
        """It does."""
        return True

    def __call__(self, predict_clean: PredictClean, noise: torch.Tensor, schedule: NoiseSchedule) -> torch.Tensor:
        """The network's estimate at T - 1, [B, C, h, w]."""
        return predict_clean(noise, _at(schedule.last, noise))


@dataclass(frozen=True)
class Ddim(Sampler):
    """Deterministic DDIM (Song et al., ICLR 2021, Eq. 12 with sigma_t = 0) over evenly spaced timesteps from T - 1.

    With one step it is :class:`OneStep`. diffusers' DDIMScheduler computes the same from a network's raw output; here
    the constants are those of :class:`~leaf_seg.diffusion.NoiseSchedule`, which are buffers and so can be exported.

    Attributes:
        num_steps: number of calls of the network, at least 1.

    Raises:
        InputError: When the number is not a whole one of at least 1, or when called, above the schedule's T.
    """

    num_steps: int = 10

    @property
    def is_one_step(self) -> bool:
        """Whether there is one."""
        return self.num_steps == 1

    def __post_init__(self) -> None:
        if not isinstance(self.num_steps, int) or self.num_steps < 1:
            raise InputError(f"num_steps is {self.num_steps!r}; expected a whole number, at least 1.")

    def __call__(self, predict_clean: PredictClean, noise: torch.Tensor, schedule: NoiseSchedule) -> torch.Tensor:
        """The clean latent after the last step, [B, C, h, w]."""
        num_timesteps = schedule.last + 1
        if self.num_steps > num_timesteps:
            raise InputError(f"num_steps is {self.num_steps}; expected at most the schedule's {num_timesteps}.")
        steps = [round(num_timesteps * (1 - i / self.num_steps)) - 1 for i in range(self.num_steps)]
        noisy, now = noise, _at(steps[0], noise)
        clean = predict_clean(noisy, now)
        for step in steps[1:]:
            alpha, sigma = schedule.at(now)
            epsilon = (noisy - alpha * clean) / sigma
            now = _at(step, noise)
            noisy = schedule.add_noise(clean, epsilon, now)
            clean = predict_clean(noisy, now)
        return clean


def _at(timestep: int, latent: torch.Tensor) -> torch.Tensor:
    """The timestep for each latent of a batch, [B]."""
    return torch.full((latent.shape[0],), timestep, device=latent.device)
