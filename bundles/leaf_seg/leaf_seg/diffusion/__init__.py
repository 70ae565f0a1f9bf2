"""Diffusion: schedule, parameterisation and the sampling of timesteps."""

from leaf_seg.diffusion.parameterization import PARAMETERIZATIONS, clean_latent, prediction_target
from leaf_seg.diffusion.schedule import LdmNoiseSchedule, NoiseSchedule
from leaf_seg.diffusion.timesteps import TimestepSampler

__all__ = [
    "PARAMETERIZATIONS",
    "LdmNoiseSchedule",
    "NoiseSchedule",
    "TimestepSampler",
    "clean_latent",
    "prediction_target",
]
