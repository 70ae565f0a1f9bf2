from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from leaf_seg import Segmenter
from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.networks import LatentSegmenter
from leaf_seg.runtime.errors import InputError


@pytest.mark.parametrize("name", ["a.nii.gz", "a.png"])
def test_files_that_cannot_be_read(name: str, make_segmenter: Callable[..., LatentSegmenter], tmp_path: Path) -> None:
    (tmp_path / name).write_text("no image")
    segmenter = Segmenter(make_segmenter(), ModelSettings(["background", "a", "b"], (16, 16)), device="cpu")
    with pytest.raises(InputError, match=f"{name}: cannot be read"):
        segmenter(str(tmp_path / name))
    with pytest.raises(InputError, match=r"missing\.png: does not exist"):
        segmenter(str(tmp_path / "missing.png"))


def test_a_mirrored_image_gives_its_own_answer_in_the_grid_of_the_image(
    make_segmenter: Callable[..., LatentSegmenter],
) -> None:
    settings = ModelSettings(["background", "a", "b"], (16, 16), axis="coronal")
    segmenter = Segmenter(make_segmenter(), settings, device="cpu")
    volume = np.random.default_rng(0).normal(size=(20, 24, 9)).astype(np.float32)
    choices: list[tuple[int, ...]] = [(0,), (1,), (0, 2)]
    turned = np.diag([-1.0, -1.0, 1.5, 1.0])  # the array's first axis runs from right to left
    there = segmenter(volume, turned, mirrored=(0, 1)).probabilities
    flipped = segmenter(np.flip(volume, (0, 1)).copy(), turned).probabilities
    np.testing.assert_allclose(there, np.flip(flipped, (1, 2)), atol=1e-6)
    for axes in choices:
        found = segmenter(volume, np.eye(4), mirrored=axes)
        alone = segmenter(np.flip(volume, axes).copy(), np.eye(4))
        np.testing.assert_allclose(found.probabilities, np.flip(alone.probabilities, tuple(1 + axis for axis in axes)))
        assert found.expected_dice == alone.expected_dice
    assert not np.array_equal(found.label, segmenter(volume, np.eye(4)).label)
    with pytest.raises(InputError, match="a picture has the axes 0 and 1"):
        segmenter(np.zeros((9, 8), np.uint8), mirrored=[2])


@pytest.mark.parametrize("spacing", [None, (1.5, 1.5, 1.5)])
@pytest.mark.parametrize("num_samples", [1, 2])
def test_labels_are_the_same_without_probabilities(
    spacing: tuple[float, float, float] | None, num_samples: int, make_segmenter: Callable[..., LatentSegmenter]
) -> None:
    settings = ModelSettings(["background", "a", "b"], (16, 16), axis="coronal", spacing=spacing)
    segmenter = Segmenter(make_segmenter(), settings, device="cpu")
    turned = np.array([[0, 0, 2.5, 0], [-1, 0, 0, 0], [0, -1.2, 0, 0], [0, 0, 0, 1]])
    volume = np.random.default_rng(0).normal(size=(20, 24, 9)).astype(np.float32)
    with_probabilities = segmenter(volume, turned, num_samples)
    labels_alone = segmenter(volume, turned, num_samples, probabilities=False)
    assert labels_alone.label.dtype == np.uint8
    np.testing.assert_array_equal(labels_alone.label, with_probabilities.label)
    np.testing.assert_array_equal(with_probabilities.label, with_probabilities.probabilities.argmax(axis=0))
    assert len(np.unique(labels_alone.label)) > 1
    assert labels_alone.expected_dice == pytest.approx(with_probabilities.expected_dice, rel=1e-6)
    assert list(labels_alone.expected_dice) == ["a", "b"]
    assert all(0 < value < 1 for value in labels_alone.expected_dice.values())
    for name in ("variance", "entropy"):
        np.testing.assert_array_equal(getattr(labels_alone, name), getattr(with_probabilities, name))
    with pytest.raises(ValueError, match="probabilities=False"):
        _ = labels_alone.probabilities


def test_channels_of_a_volume(make_segmenter: Callable[..., LatentSegmenter], tmp_path: Path) -> None:
    """Of a file those that the model was trained on; an array holds them, and nothing else."""
    settings = ModelSettings(["background", "a", "b"], (16, 16), channels=[2, 0, 1], window=(-2, 2))
    segmenter = Segmenter(make_segmenter(), settings, device="cpu")
    volume = np.random.default_rng(0).normal(size=(20, 24, 5, 4)).astype(np.float32)
    nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / "a.nii")
    found = segmenter(str(tmp_path / "a.nii")).probabilities
    assert found.shape == (3, 20, 24, 5)
    np.testing.assert_array_equal(segmenter(volume[..., [2, 0, 1]], np.eye(4)).probabilities, found)
    assert not np.array_equal(segmenter(volume[..., [0, 2, 1]], np.eye(4)).probabilities, found)
    with pytest.raises(InputError, match="an image with 4 channels; expected 1"):
        segmenter(volume, np.eye(4))
