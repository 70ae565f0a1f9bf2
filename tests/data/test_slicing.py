from __future__ import annotations

import pytest
import torch

from leaf_seg.data.slicing import (
    from_slices,
    resize_image,
    resize_label,
    slice_axis,
    slice_channels,
    slice_directions,
    to_slices,
)
from leaf_seg.runtime.errors import InputError


@pytest.mark.parametrize(("axis", "dimension"), [("sagittal", 0), ("coronal", 1), ("axial", 2)])
def test_slices_of_a_volume_and_back(axis: str, dimension: int) -> None:
    volume = torch.rand(2, 3, 4, 5)
    slices = to_slices(volume, axis)
    assert slice_axis(axis) == dimension
    assert len(slices) == volume.shape[dimension + 1]
    for index, one in enumerate(slices):
        assert torch.equal(one, volume.select(dimension + 1, index))
    assert torch.equal(from_slices(slices, axis, is_volume=True), volume)


def test_a_picture_is_one_slice() -> None:
    picture = torch.rand(3, 4, 5)
    slices = to_slices(picture, "axial")
    assert slices.shape == (1, 3, 4, 5)
    assert torch.equal(from_slices(slices, "axial", is_volume=False), picture)


def test_a_volume_of_one_slice_stays_a_volume() -> None:
    volume = torch.rand(1, 4, 5, 1)
    assert torch.equal(from_slices(to_slices(volume, "axial"), "axial", is_volume=True), volume)


def test_neighbours() -> None:
    slices = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 1, 2, 2)
    channels = slice_channels(slices, [0, 2, 4], num_slices=3)
    assert channels.shape == (3, 3, 2, 2)
    assert channels[:, :, 0, 0].tolist() == [[0, 0, 1], [1, 2, 3], [3, 4, 4]]
    assert slice_channels(slices[:1], [0], num_slices=3)[0, :, 0, 0].tolist() == [0, 0, 0]


def test_grey_is_repeated_and_colour_stays() -> None:
    grey, colour = torch.rand(4, 1, 2, 2), torch.rand(4, 3, 2, 2)
    assert torch.equal(slice_channels(grey, [3, 1], 1), grey[[3, 1]].repeat(1, 3, 1, 1))
    assert torch.equal(slice_channels(colour, [3, 1], 1), colour[[3, 1]])


@pytest.mark.parametrize(("channels", "num_slices"), [(2, 1), (4, 1), (1, 2), (1, 5), (3, 2), (1, 0)])
def test_unfit_channels(channels: int, num_slices: int) -> None:
    with pytest.raises(InputError, match="expected 1"):
        slice_channels(torch.rand(2, channels, 4, 4), [0], num_slices)


@pytest.mark.parametrize("axis", ["Axial", "z", ""])
def test_unknown_axis(axis: str) -> None:
    with pytest.raises(InputError, match="expected one of sagittal, coronal, axial"):
        to_slices(torch.rand(1, 2, 2, 2), axis)


def test_shrinking_averages() -> None:
    image = torch.zeros(1, 1, 64, 64)
    image[..., ::2] = 1  # stripes that plain sampling would see as constant
    small = resize_image(image, (16, 16))
    assert small.shape == (1, 1, 16, 16)
    torch.testing.assert_close(small[..., 2:-2], torch.full((1, 1, 16, 12), 0.5), rtol=0, atol=0.05)


def test_pixel_centres_stay_in_place() -> None:
    ramp = ((torch.arange(12.0) + 0.5) / 12).expand(1, 1, 12, 12)
    expected = ((torch.arange(48.0) + 0.5) / 48).expand(1, 1, 48, 48)
    torch.testing.assert_close(resize_image(ramp, (48, 48))[..., 4:-4], expected[..., 4:-4])
    label = torch.arange(12, dtype=torch.uint8).expand(1, 1, 12, 12)
    assert torch.equal(resize_label(label, (36, 36))[0, 0, 0], torch.arange(12, dtype=torch.uint8).repeat_interleave(3))
    assert torch.equal(resize_label(label, (4, 4))[0, 0, 0], torch.tensor([1, 4, 7, 10], dtype=torch.uint8))


def test_same_size_is_not_touched() -> None:
    image, label = torch.rand(2, 3, 5, 7), torch.randint(0, 5, (2, 1, 5, 7), dtype=torch.uint8)
    assert resize_image(image, (5, 7)) is image
    assert resize_label(label, (5, 7)) is label


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_labels_are_not_mixed(dtype: torch.dtype) -> None:
    label = torch.randint(0, 2, (2, 1, 33, 21)).mul(3).to(dtype)
    resized = resize_label(label, (17, 40))
    assert resized.dtype == dtype
    assert resized.unique().tolist() == [0, 3]


def test_one_or_several_directions() -> None:
    assert slice_directions("coronal") == ("coronal",)
    assert slice_directions(["axial", "coronal"]) == ("axial", "coronal")


@pytest.mark.parametrize("axis", ["z", 2, [], ["axial", "axial"], ["axial", "z"]])
def test_unfit_directions(axis: str | list[str]) -> None:
    with pytest.raises(InputError, match="axis is"):
        slice_directions(axis)
