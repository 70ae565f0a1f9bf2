"""Parts of another kind take the place of LEAF's in the same segmenter, with the same loss."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DModel, VQModel
from torch import nn

from leaf_seg.data import ModelSettings
from leaf_seg.diffusion import Ddim, DiffusionSettings
from leaf_seg.losses import DenoisingLoss
from leaf_seg.networks import LatentDecoder, LatentEncoder, LatentSegmenter, MaskCodec, Pixels, build_unet, parts
from leaf_seg.runtime.errors import InputError
from leaf_seg.weights import load_network, save_model
from leaf_seg.weights.model_folder import check_can_be_loaded
from tests.conftest import TINY_UNET

SETTINGS = DiffusionSettings(DDIMScheduler(clip_sample=False))


class QuantizingDecoder(LatentDecoder):
    """A VQ-VAE's, which decodes the nearest codes."""

    def __init__(self, autoencoder: Any, trainable: bool = False) -> None:
        super().__init__(autoencoder, trainable)
        self.quantize = autoencoder.quantize

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        nearest, _, _ = self.quantize(latent / self._scale)
        return super().forward(nearest * self._scale)


class ConditionalUNet(nn.Module):
    """A U-Net that is told a class, here always the same."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.inner = build_unet(config)
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
    unet: Any = ConditionalUNet({**TINY_UNET, "in_channels": 6, "out_channels": 3, "num_class_embeds": 3})
    return LatentSegmenter(Pixels(), unet, Pixels(), InvertedCodec(3), SETTINGS, (8, 8), sampler=Ddim(3))


def vector_quantized() -> LatentSegmenter:
    autoencoder: Any = make_vq()
    unet = UNet2DModel(**TINY_UNET, in_channels=8, out_channels=4)
    encoder, decoder = LatentEncoder(autoencoder), QuantizingDecoder(autoencoder)
    return LatentSegmenter(encoder, unet, decoder, MaskCodec(3), SETTINGS, (8, 8))


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one entry each in networks/parts.py."""
    for kinds, kind in (
        (parts.MASK_DECODERS, QuantizingDecoder),
        (parts.CODECS, InvertedCodec),
        (parts.UNETS, ConditionalUNet),
    ):
        monkeypatch.setitem(kinds, kind.__name__, kind)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("make", [pixel_space, vector_quantized])
def test_is_saved_and_loaded(make: Any, tmp_path: Path) -> None:
    network = make().eval()
    check_can_be_loaded(network)
    save_model(network, ModelSettings(["background", "a", "b"], network.image_size), tmp_path)
    image = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(load_network(tmp_path)(image), network(image))


@pytest.mark.parametrize("make", [pixel_space, vector_quantized])
def test_a_part_that_nobody_knows_is_an_error_before_training(make: Any) -> None:
    with pytest.raises(InputError, match=r"could be saved, but not loaded: .*is not known"):
        check_can_be_loaded(make())


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
