"""The noise schedule, in fp32, and what a network predicts of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDIMScheduler
from torch import nn

from leaf_seg.diffusion.scheduler import check_scheduler
from leaf_seg.runtime.bounds import Flag, check_bounds
from leaf_seg.runtime.errors import InputError

PARAMETERIZATIONS = ("x0", "v", "eps")  # what the U-Net predicts: the clean latent, velocity or noise


class NoiseSchedule(nn.Module):
    """alpha_t and sigma_t of a variance-preserving process (LEAF Eq. 1) as fp32 buffers.

    Under bf16 autocast the published code adds noise in bf16, which leaves 192 distinct levels of 1 000; here they stay
    fp32. The roots are taken in float64 and rounded, so that the constants are the same on every processor (PyTorch's
    fp32 square root is not rounded correctly on some).

    Args:
        scheduler: diffusers' DDIMScheduler; its betas are used, and whether it clips.
        parameterization: one of :data:`PARAMETERIZATIONS`.
        with_noise: without, a latent that noise is added to is all zeros: what is left of it at T - 1, less the noise.

    Attributes:
        clip_range: predicted latents are cut at plus and minus this in inference; None leaves them.

    Raises:
        InputError: When the parameterization is unknown, eps with a schedule that leaves nothing of the latent, or not
            x0 without noise.
    """

    alphas: torch.Tensor
    sigmas: torch.Tensor

    def __init__(self, scheduler: DDIMScheduler, parameterization: str = "x0", with_noise: bool = True) -> None:
        super().__init__()
        if not with_noise and parameterization != "x0":
            raise InputError(f"parameterization is {parameterization!r}; expected x0 where with_noise is false.")
        self.with_noise = with_noise
        if parameterization not in PARAMETERIZATIONS:
            known = ", ".join(PARAMETERIZATIONS)
            raise InputError(f"parameterization is {parameterization!r}; expected one of {known}.")
        self.parameterization = parameterization
        config = scheduler.config
        self.clip_range: float | None = config["clip_sample_range"] if config["clip_sample"] else None
        cumulative = self._cumulative(scheduler)
        if parameterization == "eps" and not bool((cumulative > 0).all()):
            raise InputError("The schedule ends in noise alone, of which eps tells nothing; expected x0 or v with it.")
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
        """z_t = alpha_t z + sigma_t eps (LEAF Eq. 1); [B, C, h, w]; zeros without noise."""
        if not self.with_noise:
            return torch.zeros_like(clean, dtype=torch.float32)
        alpha, sigma = self.at(timesteps)
        return alpha * clean.float() + sigma * noise.float()

    def target(self, clean: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """What the network should return, [B, C, h, w] (LEAF Eq. 2-4): z itself, v = alpha eps - sigma z, or eps."""
        alpha, sigma = self.at(timesteps)
        if self.parameterization == "x0":
            return clean
        if self.parameterization == "v":
            return alpha * noise - sigma * clean
        return noise

    def clean_latent(self, output: torch.Tensor, noisy: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """The estimate of z from the network's output o, [B, C, h, w] in fp32 or better (LEAF Eq. 2-3).

        x0: o; v: alpha z_t - sigma o; eps: (z_t - sigma o) / alpha.
        """
        dtype = torch.promote_types(output.dtype, torch.float32)
        output, noisy = output.to(dtype), noisy.to(dtype)
        alpha, sigma = self.at(timesteps)
        if self.parameterization == "x0":
            return output
        if self.parameterization == "v":
            return alpha * noisy - sigma * output
        return (noisy - sigma * output) / alpha

    def clip(self, clean: torch.Tensor) -> torch.Tensor:
        """A predicted latent cut at :attr:`clip_range`; for inference."""
        return clean if self.clip_range is None else clean.clamp(-self.clip_range, self.clip_range)


class LdmNoiseSchedule(NoiseSchedule):
    """The schedule as LDM and SDSeg compute it: in float64, and only its constants rounded to fp32.

    The clean latent of an eps prediction has constants of its own there, 1 / alpha and sigma / alpha. Both are about 39
    at T - 1, so that diffusers' rounding would be seen in the fifth digit of the latent.
    """

    inverse_alphas: torch.Tensor
    ratios: torch.Tensor

    def __init__(self, scheduler: DDIMScheduler, parameterization: str = "x0", with_noise: bool = True) -> None:
        super().__init__(scheduler, parameterization, with_noise)
        cumulative = self._cumulative(scheduler)
        self.register_buffer("inverse_alphas", (1 / cumulative).sqrt().float(), persistent=False)
        self.register_buffer("ratios", (1 / cumulative - 1).sqrt().float(), persistent=False)

    def _cumulative(self, scheduler: DDIMScheduler) -> torch.Tensor:
        config = scheduler.config
        powers = {"linear": 1, "scaled_linear": 2}
        if config["beta_schedule"] not in powers:
            raise InputError(
                f"beta_schedule is {config['beta_schedule']!r}; with ldm_schedule expected one of {', '.join(powers)}."
            )
        power = powers[config["beta_schedule"]]
        start, end = config["beta_start"] ** (1 / power), config["beta_end"] ** (1 / power)
        betas = torch.linspace(start, end, config["num_train_timesteps"], dtype=torch.float64, device="cpu") ** power
        return (1 - betas).cumprod(dim=0)

    def clean_latent(self, output: torch.Tensor, noisy: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """As in :class:`NoiseSchedule`; for eps: z = z_t / alpha - eps sigma / alpha."""
        if self.parameterization != "eps":
            return super().clean_latent(output, noisy, timesteps)
        dtype = torch.promote_types(output.dtype, torch.float32)
        inverse, ratio = (buffer[timesteps].view(-1, 1, 1, 1) for buffer in (self.inverse_alphas, self.ratios))
        return inverse * noisy.to(dtype) - ratio * output.to(dtype)


@dataclass(frozen=True)
class DiffusionSettings:
    """What distinguishes latent diffusion models of the same parts.

    Attributes:
        scheduler: diffusers' noise schedule; with clip_sample the predicted latent is cut in inference, as in the
            published LEAF pipeline.
        parameterization: what the U-Net predicts: "x0" (LEAF), "v" or "eps" (SDSeg).
        image_latent_first: order of the U-Net's input; SDSeg's is [noisy mask latents, image latent].
        ldm_schedule: constants of the schedule as LDM and SDSeg round them, not as diffusers does.
        with_noise: false is a control that tells what the noise brings: the network sees zeros in its place, when it
            is trained as when it segments.

    Raises:
        InputError: When one of the last three is neither true nor false.
    """

    scheduler: DDIMScheduler
    parameterization: str = "x0"
    image_latent_first: bool = True
    ldm_schedule: bool = False
    with_noise: bool = True

    def __post_init__(self) -> None:
        check_bounds(vars(self), dict.fromkeys(("image_latent_first", "ldm_schedule", "with_noise"), Flag()))

    def schedule(self) -> NoiseSchedule:
        """The schedule as a module."""
        kind = LdmNoiseSchedule if self.ldm_schedule else NoiseSchedule
        return kind(self.scheduler, self.parameterization, self.with_noise)

    def in_order(self, image_latent: torch.Tensor, mask_latent: torch.Tensor) -> torch.Tensor:
        """The U-Net's input [B, 4 + 4n, h, w]: image latent [B, 4, h, w] and noisy mask latents [B, 4n, h, w]."""
        latents = [image_latent, mask_latent] if self.image_latent_first else [mask_latent, image_latent]
        return torch.cat(latents, dim=1)

    @property
    def config(self) -> dict[str, Any]:
        """Plain values from which :meth:`from_config` makes the same."""
        scheduler = {key: value for key, value in self.scheduler.config.items() if not key.startswith("_")}
        return vars(self) | {"scheduler": scheduler}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DiffusionSettings:
        """Make them from :attr:`config`; the constants are on the CPU, whatever the default device.

        Raises:
            InputError: When a number of the scheduler makes no sense.
        """
        check_scheduler(config["scheduler"])
        with torch.device("cpu"):
            return cls(**(config | {"scheduler": DDIMScheduler.from_config(config["scheduler"])}))
