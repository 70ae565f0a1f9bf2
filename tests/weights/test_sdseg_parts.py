"""The parts in which SDSeg differs from LEAF."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from leaf_seg.networks import DrawnClass, LatentEncoder, MaskCodec, MaskEncoder, build_conditional_unet
from leaf_seg.networks.autoencoder import Autoencoder
from leaf_seg.runtime.errors import InputError
from leaf_seg.weights import scaled_to_masks
from leaf_seg.weights.unet_channels import start_image_channels_at_zero
from tests.conftest import TINY_UNET

Make = Callable[..., Autoencoder]


class Slices:
    """What a sampler draws: slices with random labels, of which the last is empty."""

    is_empty = (False,) * 7 + (True,)

    def __getitems__(self, items: list[tuple[int, int]]) -> list[dict[str, torch.Tensor]]:
        labels = torch.randint(0, 2, (8, 1, 16, 16), generator=torch.Generator().manual_seed(0))
        return [{"label": labels[index] * (not self.is_empty[index])} for index, _ in items]


def sampler() -> Any:
    return SimpleNamespace(dataset=Slices(), empty_rate=1.0, seed=0)


@pytest.mark.parametrize("kind", ["kl", "tiny"])
def test_masks_of_the_first_batch_have_unit_deviation(kind: str, make_autoencoder: Make) -> None:
    autoencoder, codec = make_autoencoder(kind), MaskCodec(2)
    assert scaled_to_masks(autoencoder, codec, sampler(), batch_size=8) is autoencoder
    labels = torch.stack([item["label"] for item in Slices().__getitems__([(index, 0) for index in range(8)])])
    encoder = MaskEncoder(autoencoder, codec)
    spread = encoder(labels).std()
    if kind == "tiny":  # which draws nothing
        assert float(spread) == pytest.approx(1, abs=1e-4)
    factor = autoencoder.config["scaling_factor"]
    assert factor not in (0.7, 0.8)
    again = make_autoencoder(kind)
    before = torch.get_rng_state()
    assert scaled_to_masks(again, codec, sampler(), batch_size=8).config["scaling_factor"] == factor
    assert torch.equal(torch.get_rng_state(), before)  # the training draws what it would


def test_masks_of_drawn_classes_have_unit_deviation(make_autoencoder: Make) -> None:
    autoencoder, drawn = make_autoencoder("tiny"), DrawnClass(2)
    before = torch.get_rng_state()
    factor = scaled_to_masks(autoencoder, drawn, sampler(), batch_size=8).config["scaling_factor"]
    assert torch.equal(torch.get_rng_state(), before)
    labels = torch.stack([item["label"] for item in Slices().__getitems__([(index, 0) for index in range(8)])])
    torch.manual_seed(0)
    images = drawn.encode(labels)
    assert float(LatentEncoder(autoencoder, trainable=False)(images).std()) == pytest.approx(1, abs=1e-4)
    again = scaled_to_masks(make_autoencoder("tiny"), drawn, sampler(), batch_size=8)
    assert again.config["scaling_factor"] == factor


@pytest.mark.slow
def test_latents_are_drawn_from_the_posterior(make_autoencoder: Make) -> None:
    autoencoder, label = make_autoencoder(), torch.randint(0, 3, (2, 1, 16, 16))
    codec = MaskCodec(5)  # two mask images
    drawn = torch.stack([MaskEncoder(autoencoder, codec, sampled=True)(label) for _ in range(200)])
    images = codec.encode(label)
    with torch.no_grad():
        posterior = autoencoder.encode(images).latent_dist
    mean = (posterior.mean * 0.7).reshape(2, 8, 4, 4)
    deviation = (posterior.std * 0.7).reshape(2, 8, 4, 4)
    torch.testing.assert_close(MaskEncoder(autoencoder, codec)(label), mean)
    assert ((drawn.mean(dim=0) - mean).abs() < 5 * deviation / 200**0.5).all()
    torch.testing.assert_close(drawn.std(dim=0), deviation, rtol=0.35, atol=0)


def test_without_a_posterior_nothing_is_drawn(make_autoencoder: Make) -> None:
    encoder = MaskEncoder(make_autoencoder("tiny"), MaskCodec(2), sampled=True)
    with pytest.raises(InputError, match="expected an AutoencoderKL: set autoencoder_dir"):
        encoder(torch.zeros(1, 1, 16, 16, dtype=torch.long))


def test_a_new_projection(make_autoencoder: Make) -> None:
    autoencoder = make_autoencoder()
    new = LatentEncoder(autoencoder, scaled=False, new_projection=True)
    old = LatentEncoder(autoencoder, scaled=False)
    names = [name for name, value in old.state_dict().items() if not torch.equal(value, new.state_dict()[name])]
    assert names == ["quant_conv.weight", "quant_conv.bias"]
    assert new.config == old.config  # a saved model has its own weights
    with pytest.raises(InputError, match="new_projection is true, and a AutoencoderTiny ends in no projection"):
        LatentEncoder(make_autoencoder("tiny"), new_projection=True)


@pytest.mark.parametrize("image_first", [True, False])
@pytest.mark.parametrize("num_latents", [1, 2])
def test_image_channels_begin_at_zero(image_first: bool, num_latents: int) -> None:
    unet = build_conditional_unet(TINY_UNET, num_mask_latents=num_latents)
    part = unet.conv_in.weight[:, :4].detach() * (1 + num_latents)  # of the U-Net of one latent
    start_image_channels_at_zero(unet, 4, image_first)
    parts = list(unet.conv_in.weight.split(4, dim=1))
    image = parts.pop(0 if image_first else -1)
    assert not image.any()
    for mask in parts:
        torch.testing.assert_close(mask, part / num_latents)
