from __future__ import annotations

import pytest
import torch

from leaf_seg.networks import MaskCodec
from leaf_seg.runtime.errors import InputError


def every_label(num_classes: int, batch: int = 2) -> torch.Tensor:
    """Label maps [batch, 1, 5, 7] that hold every class."""
    label = torch.randint(0, num_classes, (batch, 1, 5, 7), dtype=torch.uint8)
    label[..., 0, :num_classes] = torch.arange(min(num_classes, 7), dtype=torch.uint8)
    if num_classes > 7:
        label[..., 1, 0] = 7
    return label


@pytest.mark.parametrize("num_classes", range(2, 9))
def test_round_trip_is_exact(num_classes: int) -> None:
    codec = MaskCodec(num_classes)
    label = every_label(num_classes)
    assert label.unique().tolist() == list(range(num_classes))
    images = codec.encode(label)
    assert images.shape == (2 * codec.num_images, 3, 5, 7)
    assert images.unique().tolist() == [-1, 1]
    probabilities = codec.decode(images)
    assert probabilities.shape == (2, num_classes, 5, 7)
    assert probabilities.unique().tolist() == [0, 1]
    assert torch.equal(probabilities.argmax(dim=1, keepdim=True), label)


@pytest.mark.parametrize(("num_classes", "num_images"), [(2, 1), (3, 1), (4, 1), (5, 2), (7, 2), (8, 3), (10, 3)])
def test_number_of_images(num_classes: int, num_images: int) -> None:
    assert MaskCodec(num_classes).num_images == num_images


def test_two_classes_fill_all_channels() -> None:
    images = MaskCodec(2).encode(every_label(2))
    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], images[:, 2])


def test_two_classes_are_decoded_by_the_published_rule() -> None:
    images = 0.6 * torch.randn(3, 3, 16, 16)
    label = MaskCodec(2).decode(images).argmax(dim=1)
    published = ((images.clamp(-1, 1) + 1) / 2).mean(dim=1) > 0.5
    assert torch.equal(label, published.long())


def test_one_channel_per_class_and_unused_ones_outside() -> None:
    label = torch.tensor([[[[0, 1, 2, 3, 4]]]])
    images = MaskCodec(5).encode(label)  # 4 foreground classes in 2 images
    inside = ((images + 1) / 2).reshape(6, 5)
    assert torch.equal(inside[:4], torch.eye(5)[1:])
    assert (inside[4:] == 0).all()


def test_images_of_one_label_map_follow_each_other() -> None:
    codec = MaskCodec(6)
    label = every_label(6, batch=3)
    assert torch.equal(codec.encode(label)[2:4], codec.encode(label[1:2]))
    images = torch.randn(6, 3, 4, 4)
    assert torch.equal(codec.decode(images)[1:2], codec.decode(images[2:4]))


@pytest.mark.parametrize("num_classes", [2, 3, 6])
def test_shares_of_raters_lie_between_the_label_maps(num_classes: int) -> None:
    codec = MaskCodec(num_classes)
    labels = [every_label(num_classes) for _ in range(4)]
    shares = torch.stack([(label == torch.arange(num_classes).view(1, -1, 1, 1)).float() for label in labels])
    images = codec.encode(shares.mean(dim=0))  # of [B, K, H, W]
    torch.testing.assert_close(images, torch.stack([codec.encode(label) for label in labels]).mean(dim=0))
    assert torch.equal(codec.encode(shares[0]), codec.encode(labels[0]))
    if num_classes == 2:
        torch.testing.assert_close(codec.decode(images), shares.mean(dim=0))


@pytest.mark.parametrize("num_classes", range(2, 9))
def test_probabilities_sum_to_one_whatever_is_decoded(num_classes: int) -> None:
    codec = MaskCodec(num_classes)
    images = 3 * torch.randn(4 * codec.num_images, 3, 8, 8).to(torch.bfloat16)
    images[0] = 1  # every class at once
    images[1] = -1
    probabilities = codec.decode(images)
    assert probabilities.dtype == torch.float32
    assert probabilities.min() >= 0
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(4, 8, 8))


def test_probabilities_by_hand() -> None:
    images = torch.tensor([0.6, -0.2, -1.0]).view(1, 3, 1, 1)  # 0.8, 0.4, 0 inside
    probabilities = MaskCodec(4).decode(images).flatten()
    background = 0.2 * 0.6
    torch.testing.assert_close(probabilities, torch.tensor([background, 0.8, 0.4, 0.0]) / (background + 1.2))


def test_too_few_classes() -> None:
    with pytest.raises(InputError, match="num_classes is 1; expected a whole number, 2 to 256"):
        MaskCodec(1)
