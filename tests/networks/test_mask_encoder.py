from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from leaf_seg.networks import MaskCodec, MaskEncoder
from leaf_seg.networks.autoencoder import Autoencoder


@pytest.mark.parametrize("kind", ["kl", "tiny"])
@pytest.mark.parametrize("num_classes", [2, 4, 6])
def test_scaled_latents_side_by_side(kind: str, num_classes: int, make_autoencoder: Callable[..., Autoencoder]) -> None:
    autoencoder = make_autoencoder(kind).eval()
    label = torch.randint(0, num_classes, (3, 1, 16, 24), dtype=torch.uint8)
    latent = MaskEncoder(autoencoder, MaskCodec(num_classes))(label)
    codec = MaskCodec(num_classes)
    assert latent.shape == (3, 4 * codec.num_images, 4, 6)
    assert latent.dtype == torch.float32
    assert not latent.requires_grad
    with torch.no_grad():
        encoded = autoencoder.encode(codec.encode(label))
    expected = encoded.latent_dist.mean if kind == "kl" else encoded.latents
    expected = expected * autoencoder.config["scaling_factor"]
    for image in range(codec.num_images):
        torch.testing.assert_close(latent[:, 4 * image : 4 * image + 4], expected[image :: codec.num_images])


def test_frozen_and_apart_from_the_autoencoder(make_autoencoder: Callable[..., Autoencoder]) -> None:
    autoencoder = make_autoencoder()
    encoder = MaskEncoder(autoencoder, MaskCodec(2)).train()
    assert not any(module.training for module in encoder.encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert all(parameter.requires_grad for parameter in autoencoder.parameters())  # that of the caller stays as it was
    assert not any(name.startswith(("encoder.decoder", "encoder.post_quant")) for name in encoder.state_dict())
    assert autoencoder.training
