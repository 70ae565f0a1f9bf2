from __future__ import annotations

import pytest
import torch

from leaf_seg.data import AutoencoderImages, PhantomSlices
from leaf_seg.networks import MaskCodec, OneHotCodec


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("num_classes", [2, 4])
def test_phantom_slices(channels: int, num_classes: int) -> None:
    slices = PhantomSlices(5, (32, 40), num_classes, channels)
    samples = [slices[index] for index in range(len(slices))]
    assert len(samples) == 5
    for sample in samples:
        assert sample["image"].shape == (3, 32, 40)
        assert sample["image"].dtype == torch.float32
        assert sample["image"].min() >= 0
        assert sample["image"].max() <= 1
        assert torch.equal(sample["image"][0], sample["image"][2]) == (channels == 1)
        assert sample["label"].shape == (1, 32, 40)
        assert sample["label"].unique().tolist() == list(range(num_classes))


def test_an_item_is_always_the_same_and_no_other() -> None:
    slices = PhantomSlices(3, (32, 32), seed=4)
    assert torch.equal(slices[1]["image"], PhantomSlices(9, (32, 32), seed=4)[1]["image"])
    assert not torch.equal(slices[1]["image"], slices[2]["image"])
    for other in (PhantomSlices(3, (32, 32), seed=5), PhantomSlices(3, (32, 32), channels=1, seed=4)):
        assert not torch.equal(other[1]["label"], slices[1]["label"])


@pytest.mark.parametrize("item", [3, 100, -1])
def test_beyond_the_end(item: int) -> None:
    with pytest.raises(IndexError):
        PhantomSlices(3, (32, 32))[item]


@pytest.mark.parametrize("num_classes", [2, 4])
def test_images_and_mask_images_in_turn(num_classes: int) -> None:
    slices = PhantomSlices(3, (32, 32), num_classes)
    images = AutoencoderImages(slices, MaskCodec(num_classes))
    assert len(images) == 6
    for index in range(3):
        sample = slices[index]
        image, mask = images[2 * index]["image"], images[2 * index + 1]["image"]
        torch.testing.assert_close((image + 1) / 2, sample["image"])
        assert mask.shape == (3, 32, 32)
        assert mask.unique().tolist() == [-1, 1]
        label = MaskCodec(num_classes).decode(mask[None]).argmax(dim=1)
        assert torch.equal(label, sample["label"].long())


def test_more_classes_than_one_mask_image_holds() -> None:
    images = AutoencoderImages(PhantomSlices(3, (32, 32), num_classes=4), MaskCodec(6))
    assert len(images) == 9
    masks = torch.stack([images[4]["image"], images[5]["image"]])  # of slice 1
    label = MaskCodec(6).decode(masks).argmax(dim=1)
    assert torch.equal(label, PhantomSlices(3, (32, 32), num_classes=4)[1]["label"].long())


def test_masks_only() -> None:
    slices = PhantomSlices(3, (32, 32), num_classes=4)
    images = AutoencoderImages(slices, OneHotCodec(4), masks_only=True)
    assert len(images) == 3
    for index in range(3):
        assert torch.equal(images[index]["image"].argmax(dim=0), slices[index]["label"][0].long())
    assert len(AutoencoderImages(slices, MaskCodec(6), masks_only=True)) == 6
