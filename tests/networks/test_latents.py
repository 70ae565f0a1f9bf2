from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from diffusers import VQModel

from leaf_seg.networks import LatentDecoder, LatentEncoder
from leaf_seg.networks.autoencoder import Autoencoder


@pytest.fixture(params=["kl", "tiny", "vq"])
def autoencoder(request: pytest.FixtureRequest, make_autoencoder: Callable[..., Autoencoder]) -> Autoencoder:
    return make_autoencoder(request.param).eval()


def mode(autoencoder: Autoencoder, image: torch.Tensor) -> torch.Tensor:
    """The unscaled latent, by diffusers' own methods."""
    encoded = autoencoder.encode(image)
    if isinstance(autoencoder, VQModel):
        return autoencoder.quantize(encoded.latents)[0]
    return encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents


def test_encode_and_decode_as_diffusers_do_but_scaled(autoencoder: Autoencoder) -> None:
    image = torch.rand(2, 3, 16, 24) * 2 - 1
    expected = mode(autoencoder, image)
    latent = LatentEncoder(autoencoder)(image)
    assert latent.shape == (2, 4, 4, 6)
    torch.testing.assert_close(latent, expected * autoencoder.config["scaling_factor"])  # in another memory layout
    torch.testing.assert_close(LatentEncoder(autoencoder, scaled=False)(image), expected)
    torch.testing.assert_close(LatentDecoder(autoencoder)(latent), autoencoder.decode(expected).sample)


def test_latents_side_by_side_are_decoded_one_by_one(autoencoder: Autoencoder) -> None:
    latents = torch.randn(2, 3 * 4, 4, 6)
    decode = LatentDecoder(autoencoder)
    images = decode(latents)
    assert images.shape == (6, 3, 16, 24)
    for index in range(6):
        one = latents[index // 3 : index // 3 + 1, 4 * (index % 3) : 4 * (index % 3) + 4]
        torch.testing.assert_close(images[index : index + 1], decode(one), rtol=1e-5, atol=1e-5)


def test_copies_that_do_their_half(autoencoder: Autoencoder) -> None:
    image = torch.rand(1, 3, 16, 16)
    encode, decode = LatentEncoder(autoencoder), LatentDecoder(autoencoder, trainable=True)
    latent = encode(image)
    decoded = decode(latent)
    for parameter in autoencoder.parameters():
        torch.nn.init.zeros_(parameter)
    assert torch.equal(encode(image), latent)
    assert torch.equal(decode(latent), decoded)
    assert {name.split(".")[0] for name in encode.state_dict()} <= {"encoder", "quant_conv", "codebook"}
    assert {name.split(".")[0] for name in decode.state_dict()} <= {"decoder", "post_quant_conv"}


@pytest.mark.parametrize("half", [LatentEncoder, LatentDecoder])
@pytest.mark.parametrize("trainable", [True, False])
def test_a_frozen_half_has_no_gradient_and_stays_in_evaluation_mode(
    half: type, trainable: bool, autoencoder: Autoencoder
) -> None:
    part = half(autoencoder.requires_grad_(not trainable), trainable=trainable).train()
    assert all(module.training == trainable for module in part.modules())
    assert all(parameter.requires_grad == trainable for parameter in part.parameters())
    assert part.from_config(part.config).trainable == trainable


def test_config_builds_the_same(autoencoder: Autoencoder) -> None:
    encode, decode = LatentEncoder(autoencoder, scaled=False, dropout=0.2), LatentDecoder(autoencoder)
    image, latent = torch.rand(1, 3, 16, 16), torch.randn(1, 8, 4, 4)
    for part, value in ((encode, image), (decode, latent)):
        again = type(part).from_config(part.config)
        again.load_state_dict(part.state_dict())
        assert torch.equal(again.eval()(value), part.eval()(value))
        assert again.config == part.config


@pytest.mark.parametrize(("kind", "is_last"), [("tiny", True), ("kl", False)])
def test_plain_convolutions_have_channels_last_on_a_cpu(
    kind: str, is_last: bool, make_autoencoder: Callable[..., Autoencoder]
) -> None:
    """And nobody else notices."""
    autoencoder = make_autoencoder(kind)
    for half, size in ((LatentEncoder(autoencoder), (2, 3, 16, 16)), (LatentDecoder(autoencoder), (2, 4, 4, 4))):
        inner = half.encoder if isinstance(half, LatentEncoder) else half.decoder
        layouts: list[bool] = []
        inner.register_forward_pre_hook(
            lambda _, inputs, layouts=layouts: layouts.append(
                inputs[0].is_contiguous(memory_format=torch.channels_last)
            )
        )
        tensor = torch.rand(size)
        output = half(tensor)
        half._is_plain = False
        torch.testing.assert_close(output, half(tensor), rtol=1e-4, atol=1e-5)
        assert layouts == [is_last, False]
        assert output.is_contiguous() or not is_last


def test_only_what_trains_takes_memory_of_its_own(make_autoencoder: Callable[..., Autoencoder]) -> None:
    autoencoder = make_autoencoder()
    places = {parameter.data_ptr() for parameter in autoencoder.parameters()}

    def shared(part: torch.nn.Module) -> list[bool]:
        return [parameter.data_ptr() in places for parameter in part.parameters()]

    assert all(shared(LatentEncoder(autoencoder, trainable=False)) + shared(LatentDecoder(autoencoder)))
    assert not any(shared(LatentEncoder(autoencoder)) + shared(LatentDecoder(autoencoder, trainable=True)))
    assert all(parameter.requires_grad for parameter in autoencoder.parameters()), "the caller's stay as they were"
