"""The noise schedule's constants, kept in fp32."""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler
from torch import nn

from leaf_seg.errors import InputError


class NoiseSchedule(nn.Module):
    """alpha_t and sigma_t of a variance-preserving process (LEAF Eq. 1) as fp32 buffers.

    Under bf16 autocast the published code adds noise in bf16, which leaves 192 distinct levels of 1 000; here they stay
    fp32.

    Args:
        scheduler: diffusers' DDIMScheduler; only its betas are used.

    Raises:
        InputError: When the scheduler clips predicted latents: theirs is a standard deviation above 1, and clipping to
            [-1, 1] cuts them.
    """

    alphas: torch.Tensor
    sigmas: torch.Tensor

    def __init__(self, scheduler: DDIMScheduler) -> None:
        super().__init__()
        if scheduler.config["clip_sample"]:
            raise InputError(
                "The noise scheduler has clip_sample on, which cuts latents at +-1; set clip_sample to false."
            )
        cumulative = scheduler.alphas_cumprod.float()
        self.register_buffer("alphas", cumulative.sqrt(), persistent=False)
        self.register_buffer("sigmas", (1 - cumulative).sqrt(), persistent=False)

    @property
    def last(self) -> int:
        """The noisiest timestep, T - 1."""
        return len(self.alphas) - 1

    def at(self, timesteps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """alpha_t and sigma_t, each [B, 1, 1, 1], for ``timesteps`` [B]."""
        return self.alphas[timesteps].view(-1, 1, 1, 1), self.sigmas[timesteps].view(-1, 1, 1, 1)

    def add_noise(self, clean: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """z_t = alpha_t z + sigma_t eps (LEAF Eq. 1); [B, C, h, w]."""
        alpha, sigma = self.at(timesteps)
        return alpha * clean.float() + sigma * noise.float()
