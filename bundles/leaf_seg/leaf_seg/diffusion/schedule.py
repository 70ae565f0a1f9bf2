"""The noise schedule's constants, kept in fp32."""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler
from torch import nn

from leaf_seg.diffusion.parameterization import clean_latent


class NoiseSchedule(nn.Module):
    """alpha_t and sigma_t of a variance-preserving process (LEAF Eq. 1) as fp32 buffers.

    Under bf16 autocast the published code adds noise in bf16, which leaves 192 distinct levels of 1 000; here they stay
    fp32. The roots are taken in float64 and rounded, so that the constants are the same on every processor (PyTorch's
    fp32 square root is not rounded correctly on some).

    Args:
        scheduler: diffusers' DDIMScheduler; its betas are used, and whether it clips.

    Attributes:
        clip_range: predicted latents are cut at plus and minus this in inference; None leaves them.
    """

    alphas: torch.Tensor
    sigmas: torch.Tensor

    def __init__(self, scheduler: DDIMScheduler) -> None:
        super().__init__()
        config = scheduler.config
        self.clip_range: float | None = config["clip_sample_range"] if config["clip_sample"] else None
        cumulative = self._cumulative(scheduler)
        self.register_buffer("alphas", cumulative.double().sqrt().float(), persistent=False)
        self.register_buffer("sigmas", (1 - cumulative).double().sqrt().float(), persistent=False)

    def _cumulative(self, scheduler: DDIMScheduler) -> torch.Tensor:
        """alpha_t squared, [T]."""
        return scheduler.alphas_cumprod.float()

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

    def clean_latent(
        self, output: torch.Tensor, noisy: torch.Tensor, timesteps: torch.Tensor, parameterization: str
    ) -> torch.Tensor:
        """The estimate of z from the U-Net's output (LEAF Eq. 2-3); [B, C, h, w], in fp32 or better."""
        dtype = torch.promote_types(output.dtype, torch.float32)
        alpha, sigma = self.at(timesteps)
        return clean_latent(output.to(dtype), noisy.to(dtype), alpha, sigma, parameterization)


class LdmNoiseSchedule(NoiseSchedule):
    """The schedule as LDM and SDSeg compute it: in float64, and only its constants rounded to fp32.

    The clean latent of an eps prediction has constants of its own there, 1 / alpha and sigma / alpha. Both are about 39
    at T - 1, so that diffusers' rounding would be seen in the fifth digit of the latent.
    """

    inverse_alphas: torch.Tensor
    ratios: torch.Tensor

    def __init__(self, scheduler: DDIMScheduler) -> None:
        super().__init__(scheduler)
        cumulative = self._cumulative(scheduler)
        self.register_buffer("inverse_alphas", (1 / cumulative).sqrt().float(), persistent=False)
        self.register_buffer("ratios", (1 / cumulative - 1).sqrt().float(), persistent=False)

    def _cumulative(self, scheduler: DDIMScheduler) -> torch.Tensor:
        config = scheduler.config
        power = {"linear": 1, "scaled_linear": 2}[config["beta_schedule"]]
        start, end = config["beta_start"] ** (1 / power), config["beta_end"] ** (1 / power)
        betas = torch.linspace(start, end, config["num_train_timesteps"], dtype=torch.float64, device="cpu") ** power
        return (1 - betas).cumprod(dim=0)

    def clean_latent(
        self, output: torch.Tensor, noisy: torch.Tensor, timesteps: torch.Tensor, parameterization: str
    ) -> torch.Tensor:
        """As in :class:`NoiseSchedule`; for eps: z = z_t / alpha - eps sigma / alpha."""
        if parameterization != "eps":
            return super().clean_latent(output, noisy, timesteps, parameterization)
        dtype = torch.promote_types(output.dtype, torch.float32)
        inverse, ratio = (buffer[timesteps].view(-1, 1, 1, 1) for buffer in (self.inverse_alphas, self.ratios))
        return inverse * noisy.to(dtype) - ratio * output.to(dtype)
