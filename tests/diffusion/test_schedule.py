from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler

from leaf_seg.diffusion import NoiseSchedule
from leaf_seg.errors import InputError


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
    with pytest.raises(InputError, match="set clip_sample to false"):
        NoiseSchedule(make_scheduler(clip_sample=True))
