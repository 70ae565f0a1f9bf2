"""Drawing training timesteps."""

from __future__ import annotations

import torch

from leaf_seg.runtime.errors import InputError


class TimestepSampler:
    """Draws timesteps, uniformly as in the paper or weighted towards the last one.

    Differs from the paper: with ``terminal_probability`` > 0 that share of the draws is T - 1, the only timestep that
    one-step inference uses.

    Args:
        terminal_probability: share of draws fixed at T - 1, in [0, 1]; 0 is the paper's.

    Raises:
        InputError: When the share is outside [0, 1].
    """

    def __init__(self, terminal_probability: float = 0.0) -> None:
        if not 0 <= terminal_probability <= 1:
            raise InputError(f"terminal_probability is a share in [0, 1], found {terminal_probability}.")
        self.terminal_probability = terminal_probability

    def __call__(self, batch_size: int, num_timesteps: int = 1000, device: torch.device | None = None) -> torch.Tensor:
        """Draw [batch_size] integers in 0 .. T - 1, T being ``num_timesteps``."""
        timesteps = torch.randint(0, num_timesteps, (batch_size,), device=device)
        terminal = torch.rand(batch_size, device=device) < self.terminal_probability
        return timesteps.masked_fill(terminal, num_timesteps - 1)
