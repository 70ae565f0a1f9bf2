from __future__ import annotations

from typing import Any

import pytest
import torch

from leaf_seg.data.slicing import slice_channels, to_slices
from leaf_seg.runtime.errors import InputError
from leaf_seg.transforms.mirror import RandMirror

AXES = ("sagittal", "coronal", "axial")


def sample_of(volume: torch.Tensor, axis: str, index: int) -> dict[str, Any]:
    """The 2.5D slice of a volume [1, X, Y, Z], as training gets it."""
    slices = to_slices(volume, axis)
    return {
        "image": slice_channels(slices, [index], 3)[0],
        "label": (slices[index] > 0.5).byte(),
        "slice_axis": AXES.index(axis),
    }


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("direction", [0, 1, 2])
def test_slice_of_the_mirrored_volume(axis: str, direction: int) -> None:
    volume = torch.rand(1, 5, 6, 7)
    probability = [float(i == direction) for i in range(3)]
    mirror = RandMirror(["image", "label"], probability, num_slices=3)
    across = AXES.index(axis)
    last = volume.shape[1 + across] - 1
    expected = sample_of(volume.flip(1 + direction), axis, last - 2 if direction == across else 2)
    found = mirror(sample_of(volume, axis, 2))
    assert torch.equal(found["image"], expected["image"])
    assert torch.equal(found["label"], expected["label"])
    assert found["slice_axis"] == across


def test_picture_along_its_own_axes() -> None:
    picture = {"image": torch.rand(3, 4, 5), "label": torch.randint(0, 2, (1, 4, 5))}
    both = RandMirror(["image", "label"], [1, 1])(picture)
    rows = RandMirror(["image", "label"], [1, 0])(picture)
    for key, value in picture.items():
        assert torch.equal(both[key], value.flip(1, 2))
        assert torch.equal(rows[key], value.flip(1))


def test_colours_are_not_neighbours() -> None:
    sample = sample_of(torch.rand(1, 5, 6, 7), "sagittal", 2)
    assert torch.equal(RandMirror("image", [1, 0, 0])(sample)["image"], sample["image"])


def test_drawn_with_the_probability_and_from_the_seed() -> None:
    mirror = RandMirror("image", [0.25, 0.75])
    image = torch.arange(4.0).reshape(1, 2, 2)
    mirror.set_random_state(seed=1)
    first = [mirror({"image": image})["image"] for _ in range(400)]
    rows = sum(bool(found[0, 0, 0] in (2, 3)) for found in first) / 400
    columns = sum(bool(found[0, 0, 0] in (1, 3)) for found in first) / 400
    assert rows == pytest.approx(0.25, abs=0.07)
    assert columns == pytest.approx(0.75, abs=0.07)
    mirror.set_random_state(seed=1)
    assert all(torch.equal(mirror({"image": image})["image"], found) for found in first)


@pytest.mark.parametrize("probability", [0.5, [0.5], [0.5] * 4, [0.5, 1.5], [-0.1, 0.5, 0.5]])
def test_unfit_probabilities(probability: Any) -> None:
    with pytest.raises(InputError, match="flip_probability"):
        RandMirror("image", probability)


def test_three_probabilities_for_a_picture() -> None:
    with pytest.raises(InputError, match="pictures; give two"):
        RandMirror("image", [0.5, 0.5, 0.5])({"image": torch.rand(3, 4, 4)})
