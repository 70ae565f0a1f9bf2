from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from leaf_seg.networks import MaskCodec
from leaf_seg.networks.autoencoder import Autoencoder
from leaf_seg.networks.reconstruction import MaskRoundTrip, ReconstructionNetwork


def test_posterior_is_sampled_in_training_only(make_autoencoder: Callable[..., Autoencoder]) -> None:
    network = ReconstructionNetwork(make_autoencoder())
    image = torch.rand(2, 3, 16, 16) * 2 - 1
    network.train()
    sampled = [network(image) for _ in range(2)]
    assert not torch.allclose(sampled[0]["reconstruction"], sampled[1]["reconstruction"])
    assert torch.equal(sampled[0]["mean"], sampled[1]["mean"])
    network.eval()
    output = network(image)
    assert output["mean"].shape == output["logvar"].shape == (2, 4, 4, 4)
    assert output["reconstruction"].shape == image.shape
    torch.testing.assert_close(output["reconstruction"], network.autoencoder.decode(output["mean"]).sample)


def test_one_without_posterior_has_unit_variance(make_autoencoder: Callable[..., Autoencoder]) -> None:
    network = ReconstructionNetwork(make_autoencoder("tiny")).train()
    image = torch.rand(2, 3, 16, 16) * 2 - 1
    output = network(image)
    torch.testing.assert_close(output["mean"], network.autoencoder.encode(image).latents)
    torch.testing.assert_close(output["reconstruction"], network.autoencoder.decode(output["mean"]).sample)
    assert torch.equal(output["logvar"], torch.zeros_like(output["mean"]))


@pytest.mark.parametrize(
    ("kind", "parts"),
    [("kl", ["encoder", "quant_conv", "post_quant_conv", "decoder"]), ("tiny", ["encoder", "decoder"])],
)
def test_every_part_learns(kind: str, parts: list[str], make_autoencoder: Callable[..., Autoencoder]) -> None:
    network = ReconstructionNetwork(make_autoencoder(kind)).train()
    network(torch.rand(2, 3, 16, 16))["reconstruction"].square().mean().backward()
    for part in parts:
        gradients = [parameter.grad for parameter in network.autoencoder.get_submodule(part).parameters()]
        assert any(gradient is not None and gradient.abs().max() > 0 for gradient in gradients), part


@pytest.mark.parametrize("kind", ["kl", "tiny"])
@pytest.mark.parametrize("num_classes", [2, 6])
def test_round_trip_of_label_maps(kind: str, num_classes: int, make_autoencoder: Callable[..., Autoencoder]) -> None:
    autoencoder = make_autoencoder(kind).eval()
    label = torch.randint(0, num_classes, (2, 1, 16, 16))
    probabilities = MaskRoundTrip(autoencoder, MaskCodec(num_classes))(label)
    assert probabilities.shape == (2, num_classes, 16, 16)
    codec = MaskCodec(num_classes)
    encoded = autoencoder.encode(codec.encode(label))
    latent = encoded.latent_dist.mean if kind == "kl" else encoded.latents
    torch.testing.assert_close(probabilities, codec.decode(autoencoder.decode(latent).sample))


def test_round_trip_follows_the_autoencoder_while_it_trains(make_autoencoder: Callable[..., Autoencoder]) -> None:
    autoencoder = make_autoencoder().eval()
    network = MaskRoundTrip(autoencoder, MaskCodec(2))
    label = torch.ones(1, 1, 16, 16)
    before = network(label)
    torch.nn.init.ones_(autoencoder.decoder.conv_out.bias)
    assert not torch.allclose(network(label), before)
