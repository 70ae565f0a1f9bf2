"""Diffusion: noise schedule, the sampling of timesteps and of clean latents."""

from leaf_seg.diffusion.sampling import Ddim, OneStep, Sampler
from leaf_seg.diffusion.schedule import PARAMETERIZATIONS, DiffusionSettings, LdmNoiseSchedule, NoiseSchedule
from leaf_seg.diffusion.scheduler import noise_scheduler
from leaf_seg.diffusion.timesteps import TimestepSampler

__all__ = [
    "PARAMETERIZATIONS",
    "Ddim",
    "DiffusionSettings",
    "LdmNoiseSchedule",
    "NoiseSchedule",
    "OneStep",
    "Sampler",
    "TimestepSampler",
    "noise_scheduler",
]
