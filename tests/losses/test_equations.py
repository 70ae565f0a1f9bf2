"""LEAF's and SDSeg's loss, and one step of the optimiser, are what the papers' equations give in fp64.

What is expected is worked out here from betas, weights, batch, timesteps and noise alone, in float64 and by formulas
written out; of the package it has nothing but the U-Net as a function.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.func import functional_call, grad

from leaf_seg.networks import LatentSegmenter
from tests.conftest import denoising_loss

Make = Callable[..., LatentSegmenter]
RATE, DECAY, EPSILON, BETAS = 4e-5, 0.01, 1e-8, (0.9, 0.999)
STEPS = torch.tensor([17, 999, 431])


def constants(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """alpha and sigma at the steps, from the betas, in float64; LDM's "linear" is linear in the root."""
    if kind == "sdseg":
        betas = np.linspace(0.0015**0.5, 0.0155**0.5, 1000, dtype=np.float64) ** 2
    else:
        betas = np.linspace(0.0015, 0.0155, 1000, dtype=np.float64)
    kept = np.cumprod(1 - betas)[STEPS.numpy()]
    return torch.from_numpy(np.sqrt(kept)).view(-1, 1, 1, 1), torch.from_numpy(np.sqrt(1 - kept)).view(-1, 1, 1, 1)


@pytest.fixture(params=["leaf", "sdseg"])
def case(request: pytest.FixtureRequest, make_segmenter: Make) -> dict[str, Any]:
    from diffusers import DDIMScheduler

    options: dict[str, Any] = {"beta_start": 0.0015, "beta_end": 0.0155, "clip_sample": False}
    if request.param == "sdseg":
        scheduler = DDIMScheduler(beta_schedule="scaled_linear", **options)
        network = make_segmenter(
            scheduler=scheduler, parameterization="eps", image_latent_first=False, ldm_schedule=True
        )
    else:
        network = make_segmenter(scheduler=DDIMScheduler(beta_schedule="linear", **options))
    network = network.double()
    alpha, sigma = constants(request.param)
    # The buffers are rounded to fp32 for speed and for equal results everywhere; here they are as exact as the rest.
    found = network.schedule.at(STEPS)
    torch.testing.assert_close(found, (alpha, sigma), rtol=2e-6, atol=0)
    for name, values in {
        "alphas": alpha,
        "sigmas": sigma,
        "inverse_alphas": 1 / alpha,
        "ratios": sigma / alpha,
    }.items():
        if hasattr(network.schedule, name):
            getattr(network.schedule, name)[STEPS] = values.flatten()
    torch.manual_seed(3)
    draws = {name: torch.randn(3, 4, 4, 4, dtype=torch.float64) for name in ("image", "clean", "noise")}
    return {"kind": request.param, "network": network, "alpha": alpha, "sigma": sigma, **draws}


def loss_by_hand(case: dict[str, Any], weights: dict[str, torch.Tensor]) -> torch.Tensor:
    alpha, sigma, clean, noise = (case[name] for name in ("alpha", "sigma", "clean", "noise"))
    noisy = alpha * clean + sigma * noise  # Eq. 1
    both = [case["image"], noisy] if case["kind"] == "leaf" else [noisy, case["image"]]
    output = functional_call(case["network"].unet, weights, (torch.cat(both, dim=1), STEPS)).sample
    if case["kind"] == "leaf":
        return (output - clean).abs().mean()  # Eq. 4, of z itself
    estimate = (noisy - sigma * output) / alpha
    return (output - noise).abs().mean() + 1.0 * (estimate - clean).abs().mean()  # lambda = 1


def loss_of_the_package(case: dict[str, Any]) -> torch.Tensor:
    network = case["network"]
    schedule = network.schedule
    alpha, sigma = schedule.at(STEPS)
    noisy = alpha * case["clean"] + sigma * case["noise"]  # add_noise itself rounds to fp32
    target = schedule.target(case["clean"], case["noise"], STEPS)
    targets = {"target": target, "noisy": noisy, "clean": case["clean"], "timesteps": STEPS}
    loss = denoising_loss(network, latent_loss_weight=float(case["kind"] == "sdseg"))
    return loss(network.denoise(case["image"], noisy, STEPS), targets)


def test_the_loss(case: dict[str, Any]) -> None:
    weights = dict(case["network"].unet.named_parameters())
    expected = loss_by_hand(case, weights)
    assert expected > 0.1
    torch.testing.assert_close(loss_of_the_package(case), expected, rtol=1e-10, atol=1e-10)


def test_a_step_of_the_optimiser(case: dict[str, Any]) -> None:
    """AdamW's first step (Loshchilov and Hutter, Algorithm 2), after the gradient is clipped to norm 1."""
    unet = case["network"].unet
    before = {name: value.detach().clone() for name, value in unet.named_parameters()}
    gradients = grad(lambda weights: loss_by_hand(case, weights))(before)
    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients.values()))
    shrink = min(1.0, 1.0 / (norm + 1e-6))  # PyTorch's
    expected = {}
    for name, weight in before.items():
        gradient = gradients[name] * shrink
        mean, square = (1 - BETAS[0]) * gradient, (1 - BETAS[1]) * gradient.square()
        step = (mean / (1 - BETAS[0])) / ((square / (1 - BETAS[1])).sqrt() + EPSILON)
        expected[name] = weight - RATE * DECAY * weight - RATE * step
    optimizer = torch.optim.AdamW(unet.parameters(), lr=RATE, weight_decay=DECAY, betas=BETAS, eps=EPSILON)
    loss_of_the_package(case).backward()
    torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
    optimizer.step()
    for name, weight in unet.named_parameters():
        torch.testing.assert_close(weight.detach(), expected[name], rtol=0, atol=1e-10, msg=name)
    assert any(not torch.equal(before[name], weight) for name, weight in unet.named_parameters())
