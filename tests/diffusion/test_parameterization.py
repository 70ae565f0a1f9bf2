"""What a network predicts, by the schedule's two methods."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler

from leaf_seg.diffusion import PARAMETERIZATIONS, NoiseSchedule
from leaf_seg.runtime.errors import InputError


def make_schedule(parameterization: str, beta_schedule: str = "linear") -> NoiseSchedule:
    return NoiseSchedule(DDIMScheduler(1000, 0.0015, 0.0155, beta_schedule, clip_sample=False), parameterization)


@pytest.mark.parametrize("parameterization", PARAMETERIZATIONS)
@pytest.mark.parametrize("beta_schedule", ["linear", "scaled_linear"])
# alpha_999 is about 0.014, so that eps divides fp32's rounding by it.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 5e-5)])
def test_true_target_gives_the_clean_latent(
    parameterization: str, beta_schedule: str, dtype: torch.dtype, tolerance: float
) -> None:
    schedule = make_schedule(parameterization, beta_schedule).to(dtype)
    timesteps = torch.tensor([0, 1, 250, 500, 998, 999])
    alpha = schedule.alphas[timesteps].view(-1, 1, 1, 1)
    schedule.sigmas = (1 - schedule.alphas.square()).sqrt()  # exact in this precision
    clean, noise = 1.5 * torch.randn(2, 6, 4, 3, 5, dtype=dtype)
    noisy = alpha * clean + schedule.sigmas[timesteps].view(-1, 1, 1, 1) * noise
    restored = schedule.clean_latent(schedule.target(clean, noise, timesteps), noisy, timesteps)
    assert restored.dtype == dtype
    torch.testing.assert_close(restored, clean, rtol=0, atol=tolerance)


def test_through_the_schedule_as_training_does() -> None:
    clean, noise = 1.5 * torch.randn(2, 1000, 4, 2, 2)
    timesteps = torch.arange(1000)
    for parameterization in PARAMETERIZATIONS:
        schedule = make_schedule(parameterization)
        noisy = schedule.add_noise(clean, noise, timesteps)
        restored = schedule.clean_latent(schedule.target(clean, noise, timesteps), noisy, timesteps)
        torch.testing.assert_close(restored, clean, rtol=0, atol=1e-4)


def test_targets_are_those_of_the_paper() -> None:
    clean, noise = torch.tensor([1.0, -2.0]).view(1, 2, 1, 1), torch.tensor([0.5, 3.0]).view(1, 2, 1, 1)
    targets = {}
    for name in PARAMETERIZATIONS:
        schedule = make_schedule(name)
        schedule.alphas, schedule.sigmas = torch.tensor([0.8]), torch.tensor([0.6])
        targets[name] = schedule.target(clean, noise, torch.tensor([0])).flatten().tolist()
    assert targets["x0"] == [1.0, -2.0]
    assert targets["eps"] == [0.5, 3.0]
    assert targets["v"] == pytest.approx([0.8 * 0.5 - 0.6 * 1.0, 0.8 * 3.0 + 0.6 * 2.0])


def test_velocity_is_that_of_diffusers() -> None:
    scheduler = DDIMScheduler(clip_sample=False)
    clean, noise = torch.randn(2, 4, 4, 3, 3)
    timesteps = torch.tensor([0, 10, 500, 999])
    target = NoiseSchedule(scheduler, "v").target(clean, noise, timesteps)
    torch.testing.assert_close(target, scheduler.get_velocity(clean, noise, timesteps))


def test_unknown_name() -> None:
    with pytest.raises(InputError, match="'epsilon'; expected one of x0, v, eps"):
        make_schedule("epsilon")
