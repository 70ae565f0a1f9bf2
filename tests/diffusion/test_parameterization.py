from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler

from leaf_seg.diffusion import PARAMETERIZATIONS, NoiseSchedule, clean_latent, prediction_target


@pytest.mark.parametrize("parameterization", PARAMETERIZATIONS)
@pytest.mark.parametrize("beta_schedule", ["linear", "scaled_linear"])
# alpha_999 is about 0.014, so that eps divides fp32's rounding by it.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 5e-5)])
def test_true_target_gives_the_clean_latent(
    parameterization: str, beta_schedule: str, dtype: torch.dtype, tolerance: float
) -> None:
    scheduler = DDIMScheduler(1000, 0.0015, 0.0155, beta_schedule, clip_sample=False)
    cumulative = scheduler.alphas_cumprod.to(dtype)[[0, 1, 250, 500, 998, 999]].view(-1, 1, 1, 1)
    alpha, sigma = cumulative.sqrt(), (1 - cumulative).sqrt()
    clean, noise = 1.5 * torch.randn(2, 6, 4, 3, 5, dtype=dtype)
    noisy = alpha * clean + sigma * noise
    target = prediction_target(clean, noise, alpha, sigma, parameterization)
    restored = clean_latent(target, noisy, alpha, sigma, parameterization)
    torch.testing.assert_close(restored, clean, rtol=0, atol=tolerance)


def test_through_the_schedule_as_training_does() -> None:
    schedule = NoiseSchedule(DDIMScheduler(1000, 0.0015, 0.0155, clip_sample=False))
    clean, noise = 1.5 * torch.randn(2, 1000, 4, 2, 2)
    timesteps = torch.arange(1000)
    noisy = schedule.add_noise(clean, noise, timesteps)
    for parameterization in PARAMETERIZATIONS:
        target = prediction_target(clean, noise, *schedule.at(timesteps), parameterization)
        restored = clean_latent(target, noisy, *schedule.at(timesteps), parameterization)
        torch.testing.assert_close(restored, clean, rtol=0, atol=1e-4)


def test_targets_are_those_of_the_paper() -> None:
    alpha, sigma = torch.tensor(0.8), torch.tensor(0.6)
    clean, noise = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
    targets = {name: prediction_target(clean, noise, alpha, sigma, name).tolist() for name in PARAMETERIZATIONS}
    assert targets["x0"] == [1.0, -2.0]
    assert targets["eps"] == [0.5, 3.0]
    assert targets["v"] == pytest.approx([0.8 * 0.5 - 0.6 * 1.0, 0.8 * 3.0 + 0.6 * 2.0])


def test_velocity_is_that_of_diffusers() -> None:
    scheduler = DDIMScheduler(clip_sample=False)
    clean, noise = torch.randn(2, 4, 4, 3, 3)
    timesteps = torch.tensor([0, 10, 500, 999])
    target = prediction_target(clean, noise, *NoiseSchedule(scheduler).at(timesteps), "v")
    torch.testing.assert_close(target, scheduler.get_velocity(clean, noise, timesteps))


def test_unknown_name() -> None:
    tensor = torch.zeros(1, 4, 2, 2)
    for function in (prediction_target, clean_latent):
        with pytest.raises(ValueError, match="'epsilon'; expected one of x0, v, eps"):
            function(tensor, tensor, tensor, tensor, "epsilon")
