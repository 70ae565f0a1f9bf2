"""Masks of classes: of all of them by the codec, and of one that is drawn."""

from __future__ import annotations

import pytest
import torch

from leaf_seg.networks import ClassMasksCodec, DrawnClass, MaskCodec


def test_there_and_back() -> None:
    label = torch.randint(0, 4, (2, 1, 8, 8))
    codec = ClassMasksCodec(4)
    images = codec.encode(label)
    assert images.shape == (8, 3, 8, 8)
    for index in range(2):
        assert torch.equal(images[4 * index, 0] > 0, label[index, 0] != 0)  # the background's is all foreground
        for k in (1, 2, 3):
            assert torch.equal(images[4 * index + k, 2] > 0, label[index, 0] == k)
    probabilities = codec.decode(images.half())
    assert probabilities.dtype == torch.float32
    assert torch.equal(probabilities.argmax(dim=1, keepdim=True), label)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2, 8, 8))
    at_most = 1 / (1 + 3 * torch.tensor(-2.0).exp())
    torch.testing.assert_close(probabilities.amax(dim=1), at_most.expand(2, 8, 8))
    assert ClassMasksCodec.from_config(codec.config).config == codec.config


def test_images_are_averaged_over_their_channels_and_not_clamped() -> None:
    images = torch.randn(4, 3, 2, 2) * 3
    first, second = images.mean(dim=1).unflatten(0, (2, 2)).unbind(dim=1)
    expected = torch.stack([-first, second], dim=1).softmax(dim=1)
    torch.testing.assert_close(ClassMasksCodec(2).decode(images), expected)


def test_shares_of_raters() -> None:
    shares = torch.rand(1, 3, 4, 4).softmax(dim=1)
    images = ClassMasksCodec(3).encode(shares)
    torch.testing.assert_close(images[:, 0], torch.cat([1 - shares[:, :1], shares[:, 1:]], dim=1)[0] * 2 - 1)
    classes, mask = DrawnClass(3)(shares)
    torch.testing.assert_close(MaskCodec(2).encode(mask)[0], images[int(classes)])


def test_each_class_that_is_there_is_drawn_as_often_as_the_others() -> None:
    label = torch.zeros(3000, 1, 2, 2, dtype=torch.uint8)
    label[1000:, :, 0, 0] = 3  # background and class 3
    label[2000:, :] = 2  # one class alone
    classes, mask = DrawnClass(5)(label)
    assert classes[:1000].unique().tolist() == [0]  # empty slices
    assert not mask[:1000, 1].any()
    assert classes[2000:].unique().tolist() == [2]
    assert mask[2000:, 1].all()
    drawn = classes[1000:2000]
    assert drawn.unique().tolist() == [0, 3]
    assert (drawn == 3).float().mean().item() == pytest.approx(0.5, abs=0.08)
    inside = mask[1000:2000, 1]
    assert torch.equal(inside, (label[1000:2000, 0] == 3).float())  # the background's mask is all foreground, too
    assert torch.equal(mask.sum(dim=1), torch.ones(3000, 2, 2))


def test_is_drawn_by_the_seed() -> None:
    label = torch.randint(0, 3, (16, 1, 8, 8))
    draw = DrawnClass(3)
    torch.manual_seed(1)
    first, second = draw(label)[0], draw(label)[0]
    torch.manual_seed(1)
    images = draw.encode(label)
    assert not torch.equal(first, second)
    of_all = ClassMasksCodec(3).encode(label).unflatten(0, (16, 3))
    assert torch.equal(images, of_all[torch.arange(16), first])
