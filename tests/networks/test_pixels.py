"""Diffusion in pixel space: parts that take the place of an autoencoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from leaf_seg.diffusion import Ddim, DiffusionSettings, TimestepSampler
from leaf_seg.engines import PrepareDenoisingBatch
from leaf_seg.inference.half_weights import set_weights
from leaf_seg.losses import DenoisingLoss
from leaf_seg.networks import LatentSegmenter, OneHotPixelCodec, PixelMaskEncoder, Pixels, build_conditional_unet
from tests.conftest import TINY_UNET

K, SIZE = 4, (8, 16)


def make(num_steps: int = 5) -> LatentSegmenter:
    """With random weights, whose predictions leave [-1, 1]."""
    torch.manual_seed(0)
    unet = build_conditional_unet(TINY_UNET, latent_channels=K, image_channels=3)
    diffusion = DiffusionSettings(DDIMScheduler(clip_sample=True), "eps")
    codec = OneHotPixelCodec(K)
    return LatentSegmenter(Pixels(), unet, Pixels(K), codec, diffusion, SIZE, sampler=Ddim(num_steps)).eval()


def test_label_maps_there_and_back() -> None:
    label, codec = torch.randint(0, K, (2, 1, *SIZE)), OneHotPixelCodec(K)
    latents = Pixels(K)(PixelMaskEncoder(codec)(label.to(torch.uint8)))
    assert latents.dtype == torch.float32
    assert torch.equal(latents, torch.nn.functional.one_hot(label[:, 0], K).permute(0, 3, 1, 2) * 2.0 - 1)
    torch.testing.assert_close(codec.decode(latents), (latents + 1) / 2, rtol=0, atol=1e-5)
    assert OneHotPixelCodec.from_config(codec.config).config == codec.config


def test_shares_of_raters_there_and_back() -> None:
    shares, codec = torch.rand(2, K, *SIZE).softmax(dim=1), OneHotPixelCodec(K)
    torch.testing.assert_close(codec.decode(PixelMaskEncoder(codec)(shares)), shares, rtol=0, atol=1e-5)


def test_images_that_are_no_shares() -> None:
    """Beyond the limits counts as at them; several classes share; where there is none, all are alike."""
    images = torch.tensor([[3.0, -1, -9, -1], [1, 1, -1, -1], [-1, -1, -1, -1], [0, -0.5, -1, -1]]).half()
    found = OneHotPixelCodec(K).decode(images[:, :, None, None])[:, :, 0, 0]
    expected = [[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25] * 4, [2 / 3, 1 / 3, 0, 0]]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=1e-5)


def test_images_are_given_as_the_network_s_range_is() -> None:
    network, image = make(), torch.rand(2, 1, *SIZE)
    assert torch.equal(network.encode_image(image), image.expand(-1, 3, -1, -1) * 2 - 1)
    assert (network.unet.config["in_channels"], network.unet.config["out_channels"]) == (3 + K, K)
    assert network.initial_noise(3).shape == (1, K, *SIZE)


@torch.no_grad()
@pytest.mark.parametrize("num_steps", [1, 5, 50])
def test_estimates_are_cut_at_every_step(num_steps: int) -> None:
    """As diffusers' DDIM does that goes on from the clipped estimate, as the published code."""
    network, image = make(num_steps), torch.rand(2, 3, *SIZE)
    scheduler = DDIMScheduler(clip_sample=True, timestep_spacing="trailing")
    scheduler.set_timesteps(num_steps)
    noisy, cut = network.noise.expand(2, -1, -1, -1), False
    for step in scheduler.timesteps:
        output = network.denoise(image * 2 - 1, noisy, step.expand(2))
        found: Any = scheduler.step(output, step, noisy, use_clipped_model_output=True)
        cut |= bool((found.pred_original_sample.abs() == 1).any())
        noisy = found.prev_sample
    assert cut
    torch.testing.assert_close(network(image), network.codec.decode(noisy), rtol=0, atol=1e-4)


def test_the_loss_is_the_squared_error_of_the_noise() -> None:
    """In float64, from the betas alone."""
    network = make().double()
    image, label = torch.rand(3, 3, *SIZE).double(), torch.randint(0, K, (3, 1, *SIZE))
    prepare = PrepareDenoisingBatch(network.schedule, PixelMaskEncoder(OneHotPixelCodec(K)), TimestepSampler(0.0))
    torch.manual_seed(3)
    image, targets, (noisy, timesteps), _ = prepare({"image": image, "label": label}, "cpu")
    torch.manual_seed(3)
    assert torch.equal(timesteps, torch.randint(0, 1000, (3,)))
    torch.rand(3)
    noise = torch.randn(3, K, *SIZE)

    kept = np.cumprod(1 - np.linspace(0.0001, 0.02, 1000))[timesteps]
    alpha, sigma = (torch.from_numpy(root).view(-1, 1, 1, 1) for root in (np.sqrt(kept), np.sqrt(1 - kept)))
    clean = torch.nn.functional.one_hot(label[:, 0], K).permute(0, 3, 1, 2) * 2.0 - 1
    torch.testing.assert_close(noisy.double(), alpha * clean + sigma * noise, rtol=1e-5, atol=1e-5)
    output = network(image, noisy.double(), timesteps)
    loss = DenoisingLoss(network.schedule, network.mask_decoder, network.codec, norm="l2")
    expected = ((output - noise.double()) ** 2).sum() / output.numel()
    torch.testing.assert_close(loss(output, targets), expected, rtol=1e-10, atol=0)


@torch.no_grad()
def test_computes_in_half_precision() -> None:
    network, half, image = make(), make(), torch.rand(2, 3, *SIZE)
    set_weights(half, torch.bfloat16)
    expected = network(image)
    assert (half(image) - expected).abs().mean() < 0.05
    assert half(image).dtype == torch.float32


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_script_has_all_steps() -> None:
    network, image = make(num_steps=3), torch.rand(3, 3, *SIZE)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.script(network)(image), network(image))
