from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from leaf_seg.losses import DenoisingLoss
from leaf_seg.losses.denoising import mask_loss
from leaf_seg.networks import LatentSegmenter
from leaf_seg.networks.autoencoder import decode_latent

Make = Callable[..., LatentSegmenter]


def make_targets(num_latents: int = 1) -> dict[str, torch.Tensor]:
    return {
        "target": torch.randn(2, 4 * num_latents, 4, 4),
        "noisy": torch.randn(2, 4 * num_latents, 4, 4),
        "timesteps": torch.tensor([300, 999]),
        "label": torch.randint(0, 3, (2, 1, 16, 16), dtype=torch.uint8),
    }


def one_hot(label: torch.Tensor, num_classes: int) -> torch.Tensor:
    return F.one_hot(label[:, 0].long(), num_classes).movedim(-1, 1).float()


def test_l1_of_the_output_and_its_target(make_segmenter: Make) -> None:
    output, targets = torch.randn(2, 4, 4, 4), make_targets()
    loss = DenoisingLoss(make_segmenter())(output, targets)
    torch.testing.assert_close(loss, (output - targets["target"]).abs().mean())


def test_loss_is_fp32_under_mixed_precision(make_segmenter: Make) -> None:
    output, targets = torch.randn(2, 4, 4, 4).bfloat16(), make_targets()
    loss = DenoisingLoss(make_segmenter())(output, targets)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, (output.float() - targets["target"]).abs().mean())


@pytest.mark.parametrize("parameterization", ["x0", "v", "eps"])
def test_image_loss_is_that_of_the_decoded_estimate(parameterization: str, make_segmenter: Make) -> None:
    network = make_segmenter(parameterization=parameterization)
    output, targets = torch.randn(2, 4, 4, 4), make_targets()
    prediction = DenoisingLoss(network)(output, targets)
    loss = DenoisingLoss(network, image_loss_weight=0.3)(output, targets)
    alpha, sigma = network.schedule.at(targets["timesteps"])
    clean = {
        "x0": output,
        "v": alpha * targets["noisy"] - sigma * output,
        "eps": (targets["noisy"] - sigma * output) / alpha,
    }[parameterization]
    decoded = network.codec.decode(decode_latent(network.mask_decoder, clean))
    torch.testing.assert_close(loss, prediction + 0.3 * mask_loss(decoded, targets["label"]))


def test_gradient_of_the_image_loss_reaches_the_output_and_not_the_decoder(make_segmenter: Make) -> None:
    network = make_segmenter(6).train()
    targets = make_targets(num_latents=2)
    output = torch.randn(2, 8, 4, 4, requires_grad=True)
    targets["target"] = output.detach() + 1  # its gradient is -1 / size everywhere
    DenoisingLoss(network, image_loss_weight=10.0)(output, targets).backward()
    assert output.grad is not None
    from_image = output.grad + 1 / output.numel()
    assert (from_image.flatten(2).abs().amax(dim=2)[:, :7] > 0).all()  # 5 foreground classes: both latents count
    assert all(parameter.grad is None for parameter in network.parameters())


def test_loss_owns_no_parameters(make_segmenter: Make) -> None:
    loss = DenoisingLoss(make_segmenter(), image_loss_weight=1.0)
    assert not list(loss.parameters())
    assert not loss.state_dict()


@pytest.mark.parametrize("num_classes", [2, 4])
def test_mask_loss_is_zero_for_a_perfect_answer(num_classes: int) -> None:
    label = torch.randint(0, num_classes, (2, 1, 16, 16))
    assert mask_loss(one_hot(label, num_classes), label).item() == pytest.approx(0, abs=1e-6)


def test_mask_loss_of_an_empty_label() -> None:
    label = torch.zeros(2, 1, 16, 16, dtype=torch.uint8)
    assert mask_loss(one_hot(label, 3), label).item() == pytest.approx(0, abs=1e-6)


def test_mask_loss_grows_with_the_error() -> None:
    label = torch.randint(0, 3, (2, 1, 16, 16))
    perfect, wrong = one_hot(label, 3), one_hot((label + 1) % 3, 3)
    losses = [mask_loss((1 - share) * perfect + share * wrong, label).item() for share in torch.linspace(0, 1, 6)]
    assert losses == sorted(losses)
    assert len(set(losses)) == 6
    assert losses[-1] > 5


def test_mask_loss_by_hand() -> None:
    p = torch.tensor([[0.7, 0.1, 0.5], [0.3, 0.9, 0.5]])  # [K, 3]
    label = torch.tensor([[[[0, 1, 1]]]])
    cross_entropy = -(p[0, 0].log() + p[1, 1].log() + p[1, 2].log()) / 3
    dice = (2 * (p[1, 1] + p[1, 2]) + 1) / (p[1].sum() + 2 + 1)
    torch.testing.assert_close(mask_loss(p.view(1, 2, 1, 3), label), cross_entropy + 1 - dice)


def test_mask_loss_is_finite_at_exact_zeros() -> None:
    label = torch.randint(0, 3, (1, 1, 8, 8))
    probabilities = one_hot((label + 1) % 3, 3).requires_grad_()
    loss = mask_loss(probabilities, label)
    loss.backward()
    assert loss.isfinite()
    assert probabilities.grad is not None
    assert probabilities.grad.isfinite().all()
