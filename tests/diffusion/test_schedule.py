from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from leaf_seg.diffusion import LdmNoiseSchedule, NoiseSchedule


def make_scheduler(beta_schedule: str = "linear", clip_sample: bool = False, num_steps: int = 1000) -> DDIMScheduler:
    return DDIMScheduler(num_steps, 0.0015, 0.0155, beta_schedule, clip_sample=clip_sample)


@pytest.mark.parametrize("beta_schedule", ["linear", "scaled_linear"])
def test_adds_noise_as_diffusers_does(beta_schedule: str) -> None:
    scheduler = make_scheduler(beta_schedule)
    clean, noise = torch.randn(2, 5, 4, 8, 8)
    timesteps = torch.tensor([0, 1, 400, 998, 999])
    noisy = NoiseSchedule(scheduler).add_noise(clean, noise, timesteps)
    torch.testing.assert_close(noisy, scheduler.add_noise(clean, noise, timesteps))


@pytest.mark.parametrize(("beta_schedule", "expected"), [("linear", 1.95e-4), ("scaled_linear", 6.69e-4)])
def test_last_noise_level_of_the_paper(beta_schedule: str, expected: float) -> None:
    schedule = NoiseSchedule(make_scheduler(beta_schedule))
    assert schedule.last == 999
    alpha, sigma = schedule.at(torch.tensor([999]))
    assert alpha.square().item() == pytest.approx(expected, rel=3e-3)
    assert alpha.shape == sigma.shape == (1, 1, 1, 1)


def test_preserves_variance() -> None:
    schedule = NoiseSchedule(make_scheduler())
    alpha, sigma = schedule.at(torch.arange(1000))
    torch.testing.assert_close(alpha.square() + sigma.square(), torch.ones(1000, 1, 1, 1))
    assert (sigma.flatten().diff() > 0).all()


def test_last_follows_the_number_of_steps() -> None:
    assert NoiseSchedule(make_scheduler(num_steps=50)).last == 49


def test_stays_fp32_under_autocast_and_with_bf16_latents() -> None:
    schedule = NoiseSchedule(make_scheduler())
    clean, noise = torch.zeros(1000, 1, 1, 1, dtype=torch.bfloat16), torch.ones(1000, 1, 1, 1, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        noisy = schedule.add_noise(clean, noise, torch.arange(1000))
    assert noisy.dtype == torch.float32
    assert len(noisy.unique()) > 900  # bf16 leaves 192


def test_no_part_of_a_checkpoint() -> None:
    assert not NoiseSchedule(make_scheduler()).state_dict()


def test_clipping_scheduler() -> None:
    assert NoiseSchedule(make_scheduler(clip_sample=True)).clip_range == 1.0
    assert NoiseSchedule(make_scheduler()).clip_range is None


@pytest.mark.parametrize("beta_schedule", ["linear", "scaled_linear"])
def test_ldm_schedule_rounds_its_constants_once(beta_schedule: str) -> None:
    schedule = LdmNoiseSchedule(make_scheduler(beta_schedule))
    power = 1 if beta_schedule == "linear" else 2
    betas = np.linspace(0.0015 ** (1 / power), 0.0155 ** (1 / power), 1000) ** power
    cumulative = np.cumprod(1 - betas)
    expected = {
        "alphas": np.sqrt(cumulative),
        "sigmas": np.sqrt(1 - cumulative),
        "inverse_alphas": np.sqrt(1 / cumulative),
        "ratios": np.sqrt(1 / cumulative - 1),
    }
    for name, values in expected.items():
        found = getattr(schedule, name).numpy()
        np.testing.assert_allclose(found, values.astype(np.float32), rtol=1.2e-7)  # the last bit may differ


@pytest.mark.parametrize("parameterization", ["x0", "v", "eps"])
def test_both_schedules_invert_the_noise(parameterization: str) -> None:
    clean, noise = torch.randn(2, 3, 4, 4, 4)
    timesteps = torch.tensor([0, 500, 999])
    for kind in (NoiseSchedule, LdmNoiseSchedule):
        schedule = kind(make_scheduler(), parameterization)
        noisy = schedule.add_noise(clean, noise, timesteps)
        output = schedule.target(clean, noise, timesteps)
        found = schedule.clean_latent(output.double(), noisy.double(), timesteps)
        assert found.dtype == torch.float64
        torch.testing.assert_close(found.float(), clean, rtol=0, atol=1e-4)
