"""Parts of another kind take the place of LEAF's in the same segmenter, with the same loss."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DModel, VQModel
from torch import nn

from leaf_seg.diffusion import Ddim, DiffusionSettings
from leaf_seg.losses import DenoisingLoss
from leaf_seg.networks import LatentDecoder, LatentEncoder, LatentPart, LatentSegmenter, MaskCodec
from tests.conftest import TINY_UNET

SETTINGS = DiffusionSettings(DDIMScheduler(clip_sample=False))


class Pixels(LatentPart):
    """Images are their own latents, as in MedSegDiff."""

    channels, factor = 3, 1

    def __init__(self) -> None:
        super().__init__()
        self.config = {}

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image


class QuantizingDecoder(LatentDecoder):
    """A VQ-VAE's, which decodes the nearest codes."""

    def __init__(self, autoencoder: VQModel) -> None:
        super().__init__(autoencoder)
        self.quantize = autoencoder.quantize

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        nearest, _, _ = self.quantize(latent / self._scale)
        return super().forward(nearest * self._scale)


class ConditionalUNet(nn.Module):
    """A U-Net that is told a class, here always the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = UNet2DModel(**TINY_UNET, in_channels=2 * channels, out_channels=channels, num_class_embeds=3)
        self.config = self.inner.config

    def forward(self, latents: torch.Tensor, timesteps: torch.Tensor) -> SimpleNamespace:
        label = torch.ones(len(latents), dtype=torch.int64)
        return SimpleNamespace(sample=self.inner(latents, timesteps, class_labels=label).sample)


class InvertedCodec(MaskCodec):
    """-1 inside, 1 outside."""

    def encode(self, label: torch.Tensor) -> torch.Tensor:
        return -super().encode(label)

    def decode(self, images: torch.Tensor) -> torch.Tensor:
        return super().decode(-images)


def make_vq() -> VQModel:
    return VQModel(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        latent_channels=4,
        num_vq_embeddings=16,
    )


def pixel_space() -> LatentSegmenter:
    unet: Any = ConditionalUNet(3)
    return LatentSegmenter(Pixels(), unet, Pixels(), InvertedCodec(3), SETTINGS, (8, 8), sampler=Ddim(3))


def vector_quantized() -> LatentSegmenter:
    autoencoder: Any = make_vq()
    unet = UNet2DModel(**TINY_UNET, in_channels=8, out_channels=4)
    encoder, decoder = LatentEncoder(autoencoder), QuantizingDecoder(autoencoder)
    return LatentSegmenter(encoder, unet, decoder, MaskCodec(3), SETTINGS, (8, 8))


@pytest.mark.parametrize("make", [pixel_space, vector_quantized])
def test_segments_draws_hypotheses_and_learns(make: Any) -> None:
    network = make().train()
    image, label = torch.rand(2, 3, 8, 8), torch.randint(0, 3, (2, 1, 8, 8))
    with torch.no_grad():
        probabilities = network.eval()(image)
        drawn = network.hypotheses(image, seeds=(0, 1))
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2, 8, 8))
    torch.testing.assert_close(drawn[0], probabilities, rtol=1e-4, atol=1e-5)
    assert (drawn[0] - drawn[1]).abs().max() > 1e-4

    clean = torch.randn_like(network.noise.expand(2, -1, -1, -1))
    noise, timesteps = torch.randn_like(clean), torch.tensor([10, 900])
    noisy = network.schedule.add_noise(clean, noise, timesteps)
    targets = {"target": clean, "noisy": noisy, "timesteps": timesteps, "label": label}
    loss = DenoisingLoss(network.schedule, network.mask_decoder, network.codec, image_loss_weight=1.0)
    loss(network.train()(image, noisy, timesteps), targets).backward()
    assert all(p.grad is not None for p in network.unet.parameters() if p.requires_grad)
