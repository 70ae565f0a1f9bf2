from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from leaf_seg.losses.denoising import mask_loss
from leaf_seg.networks import LatentSegmenter, MaskCodec, OneHotCodec
from leaf_seg.runtime.errors import InputError
from tests.conftest import denoising_loss

Make = Callable[..., LatentSegmenter]


def make_targets(num_latents: int = 1) -> dict[str, torch.Tensor]:
    return {
        "target": torch.randn(2, 4 * num_latents, 4, 4),
        "noisy": torch.randn(2, 4 * num_latents, 4, 4),
        "timesteps": torch.tensor([300, 999]),
        "label": torch.randint(0, 3, (2, 1, 16, 16), dtype=torch.uint8),
    }


def test_l1_of_the_output_and_its_target(make_segmenter: Make) -> None:
    output, targets = torch.randn(2, 4, 4, 4), make_targets()
    loss = denoising_loss(make_segmenter())(output, targets)
    torch.testing.assert_close(loss, (output - targets["target"]).abs().mean())


def test_loss_is_fp32_under_mixed_precision(make_segmenter: Make) -> None:
    output, targets = torch.randn(2, 4, 4, 4).bfloat16(), make_targets()
    loss = denoising_loss(make_segmenter())(output, targets)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, (output.float() - targets["target"]).abs().mean())


@pytest.mark.parametrize("parameterization", ["x0", "v", "eps"])
def test_image_loss_is_that_of_the_decoded_estimate(parameterization: str, make_segmenter: Make) -> None:
    network = make_segmenter(parameterization=parameterization)
    output, targets = torch.randn(2, 4, 4, 4), make_targets()
    prediction = denoising_loss(network)(output, targets)
    loss = denoising_loss(network, image_loss_weight=0.3)(output, targets)
    alpha, sigma = network.schedule.at(targets["timesteps"])
    clean = {
        "x0": output,
        "v": alpha * targets["noisy"] - sigma * output,
        "eps": (targets["noisy"] - sigma * output) / alpha,
    }[parameterization]
    decoded = network.mask_decoder(clean)
    torch.testing.assert_close(loss, prediction + 0.3 * mask_loss(decoded, targets["label"], network.codec))


def test_gradient_of_the_image_loss_reaches_the_output_and_not_the_decoder(make_segmenter: Make) -> None:
    network = make_segmenter(6).train()
    targets = make_targets(num_latents=2)
    output = torch.randn(2, 8, 4, 4, requires_grad=True)
    targets["target"] = output.detach() + 1  # its gradient is -1 / size everywhere
    denoising_loss(network, image_loss_weight=10.0)(output, targets).backward()
    assert output.grad is not None
    from_image = output.grad + 1 / output.numel()
    assert (from_image.flatten(2).abs().amax(dim=2)[:, :7] > 0).all()  # 5 foreground classes: both latents count
    assert all(parameter.grad is None for parameter in network.parameters())


def test_gradient_of_the_image_loss_reaches_a_decoder_that_is_trained(make_segmenter: Make) -> None:
    network = make_segmenter(train_decoder=True).train()
    output, targets = torch.randn(2, 4, 4, 4, requires_grad=True), make_targets()
    denoising_loss(network, image_loss_weight=1.0)(output, targets).backward()
    assert all(parameter.grad is not None for parameter in network.mask_decoder.parameters())


def test_a_decoder_cannot_be_trained_in_latent_space(make_segmenter: Make) -> None:
    with pytest.raises(InputError, match="set image_loss_weight above 0"):
        denoising_loss(make_segmenter(train_decoder=True))


@pytest.mark.parametrize("num_classes", [2, 4, 6])
def test_mask_loss_is_zero_for_a_perfect_answer(num_classes: int) -> None:
    label, codec = torch.randint(0, num_classes, (2, 1, 16, 16)), MaskCodec(num_classes)
    assert mask_loss(codec.encode(label), label, codec).item() == pytest.approx(0, abs=1e-6)


def test_mask_loss_of_an_empty_label() -> None:
    label, codec = torch.zeros(2, 1, 16, 16, dtype=torch.uint8), MaskCodec(3)
    assert mask_loss(codec.encode(label), label, codec).item() == pytest.approx(0, abs=1e-6)


def test_mask_loss_grows_with_the_error() -> None:
    label, codec = torch.randint(0, 3, (2, 1, 16, 16)), MaskCodec(3)
    perfect, wrong = codec.encode(label), codec.encode((label + 1) % 3)
    losses = [mask_loss(torch.lerp(perfect, wrong, share), label, codec).item() for share in torch.linspace(0, 1, 6)]
    assert losses == sorted(losses)
    assert len(set(losses)) == 6
    assert losses[-1] > 2


def test_mask_loss_by_hand() -> None:
    images = torch.tensor([[0.5, -1.0, 3.0], [-0.5, 1.0, -1.0], [-1.0, -1.0, -0.8]]).view(1, 3, 1, 3)
    label = torch.tensor([[[[1, 2, 0]]]])
    squared_error = (0.5**2 + 0 + 4**2 + 0.5**2 + 0 + 0 + 0 + 0 + 0.2**2) / 9
    # Probabilities of the structures, pixel by pixel: (0.75, 0.25) / 1.1875, (0, 1), (1, 0).
    first, second = 0.75 / 1.1875, 0.25 / 1.1875
    dice = ((2 * first + 1) / (first + 1 + 1 + 1) + (2 * 1 + 1) / (second + 1 + 1 + 1)) / 2
    torch.testing.assert_close(mask_loss(images, label, MaskCodec(3)), torch.tensor(1 - dice + squared_error))


def test_mask_loss_of_shares_by_hand() -> None:
    images = torch.tensor([0.5, -1.0]).view(1, 1, 1, 2).expand(1, 3, 1, 2)  # 0.75, 0
    shares = torch.tensor([[0.5, 0.75], [0.5, 0.25]]).view(1, 2, 1, 2)  # channels 0, -0.5
    dice = (2 * 0.75 * 0.5 + 1) / (0.75 + 0.5 + 0.25 + 1)
    expected = torch.tensor(1 - dice + (0.5**2 + 0.5**2) / 2)
    torch.testing.assert_close(mask_loss(images, shares, MaskCodec(2)), expected)
    one_hot = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).view(1, 2, 1, 2)
    label = torch.tensor([[[[1, 0]]]])
    assert mask_loss(images, one_hot, MaskCodec(2)) == mask_loss(images, label, MaskCodec(2))


def test_a_pixel_that_is_wrong_beyond_doubt_has_a_gradient() -> None:
    label, codec = torch.randint(0, 3, (1, 1, 8, 8)), MaskCodec(3)
    images = (-2 * codec.encode(label)).requires_grad_()
    mask_loss(images, label, codec).backward()
    assert images.grad is not None
    assert (images.grad * codec.encode(label) < 0).all()  # descent goes towards the truth


def test_squared_error(make_segmenter: Make) -> None:
    network = make_segmenter()
    output, target = torch.randn(2, 4, 4, 4), torch.randn(2, 4, 4, 4)
    loss = denoising_loss(network, norm="l2")(output, {"target": target})
    torch.testing.assert_close(loss, (output - target).square().mean())
    with pytest.raises(InputError, match="norm is 'l3'; expected one of l1, l2"):
        denoising_loss(network, norm="l3")
    network.codec = OneHotCodec(3)
    with pytest.raises(InputError, match=r"image_loss_weight is 1\.0; expected 0 with a OneHotCodec"):
        denoising_loss(network, image_loss_weight=1.0)
