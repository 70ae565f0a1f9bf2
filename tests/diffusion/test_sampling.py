from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler

from leaf_seg.diffusion import Ddim, LdmNoiseSchedule, NoiseSchedule, OneStep
from leaf_seg.networks.parts import SAMPLERS
from leaf_seg.runtime.described import build, describe
from leaf_seg.runtime.errors import InputError

PREDICTION_TYPES = {"x0": "sample", "v": "v_prediction", "eps": "epsilon"}


def make_scheduler(**options: object) -> DDIMScheduler:
    return DDIMScheduler(1000, 0.0015, 0.0155, clip_sample=False, timestep_spacing="trailing", **options)


def network(noisy: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
    """Something that depends on both of its inputs, each image on its own."""
    return torch.tanh(noisy.roll(1, dims=1) + timesteps.view(-1, 1, 1, 1) / 1000)


def test_one_step_is_the_estimate_at_the_noisiest_timestep() -> None:
    schedule, noise = NoiseSchedule(make_scheduler()), torch.randn(2, 4, 3, 3)
    assert torch.equal(OneStep()(network, noise, schedule), network(noise, torch.tensor([999, 999])))


@pytest.mark.parametrize("parameterization", ["x0", "v", "eps"])
@pytest.mark.parametrize("num_steps", [1, 2, 10, 50])
def test_ddim_is_that_of_diffusers(parameterization: str, num_steps: int) -> None:
    scheduler = make_scheduler(prediction_type=PREDICTION_TYPES[parameterization])
    scheduler.set_timesteps(num_steps)
    schedule, noise = NoiseSchedule(scheduler, parameterization), torch.randn(2, 4, 3, 3)
    expected = noise
    for timestep in scheduler.timesteps:
        expected = scheduler.step(network(expected, timestep.expand(2)), timestep, expected).prev_sample

    def predict_clean(noisy: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        return schedule.clean_latent(network(noisy, timesteps), noisy, timesteps)

    found = Ddim(num_steps)(predict_clean, noise, schedule)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    if num_steps == 1:
        assert torch.equal(found, OneStep()(predict_clean, noise, schedule))


@pytest.mark.parametrize("kind", [NoiseSchedule, LdmNoiseSchedule])
def test_a_network_that_knows_the_answer_finds_it_in_any_number_of_steps(kind: type[NoiseSchedule]) -> None:
    answer, noise = torch.randn(2, 2, 4, 3, 3)
    for num_steps in (1, 3, 7):  # 1000 is no multiple of the last two
        found = Ddim(num_steps)(lambda noisy, timesteps: answer, noise, kind(make_scheduler()))
        assert torch.equal(found, answer)


@pytest.mark.parametrize("num_steps", [0, -1, 2.5, "ten"])
def test_unfit_number_of_steps(num_steps: int) -> None:
    with pytest.raises(InputError, match="num_steps is"):
        Ddim(num_steps)


def test_more_steps_than_timesteps() -> None:
    with pytest.raises(InputError, match="expected at most the schedule's 1000"):
        Ddim(1001)(network, torch.randn(1, 4, 3, 3), NoiseSchedule(make_scheduler()))


@pytest.mark.parametrize("sampler", [OneStep(), Ddim(7)])
def test_description(sampler: OneStep | Ddim) -> None:
    assert build(describe(sampler), SAMPLERS) == sampler


def test_unknown_class() -> None:
    with pytest.raises(InputError, match="'Magic' is not known; this version of leaf_seg has OneStep, Ddim"):
        build({"_class_name": "Magic"}, SAMPLERS)
