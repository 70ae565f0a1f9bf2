from __future__ import annotations

import pytest
import torch

from leaf_seg.diffusion import TimestepSampler

NUMBER = 20_000


def test_uniform_without_a_terminal_share() -> None:
    timesteps = TimestepSampler(terminal_probability=0)(NUMBER)
    assert timesteps.dtype == torch.int64
    counts = torch.bincount(timesteps, minlength=1000)  # 20 of each expected
    assert counts.shape == (1000,)
    assert counts.min() > 0
    assert counts.max() < 60
    assert timesteps.float().mean().item() == pytest.approx(499.5, abs=10)


@pytest.mark.parametrize("probability", [0.3, 0.7])
def test_share_of_the_last_timestep(probability: float) -> None:
    timesteps = TimestepSampler(terminal_probability=probability)(NUMBER)
    is_last = timesteps == 999
    assert is_last.float().mean().item() == pytest.approx(probability, abs=0.02)
    rest = timesteps[~is_last]
    assert rest.min() < 10
    assert rest.max() > 985
    assert rest.float().mean().item() == pytest.approx(499, abs=15)


def test_always_the_last_timestep() -> None:
    assert (TimestepSampler(terminal_probability=1.0)(NUMBER, 50) == 49).all()


def test_seed_fixes_the_draws() -> None:
    sampler = TimestepSampler(terminal_probability=0.5)
    torch.manual_seed(1)
    first, second = sampler(100), sampler(100)
    torch.manual_seed(1)
    assert torch.equal(sampler(100), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("probability", [-0.1, 1.1])
def test_share_out_of_range(probability: float) -> None:
    with pytest.raises(ValueError, match="share in"):
        TimestepSampler(terminal_probability=probability)
