from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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
    assert labels_alone.expected_dice == with_probabilities.expected_dice
    assert list(labels_alone.expected_dice) == ["a", "b"]
    assert all(0 < value < 1 for value in labels_alone.expected_dice.values())
    for name in ("variance", "entropy"):
        np.testing.assert_array_equal(getattr(labels_alone, name), getattr(with_probabilities, name))
    with pytest.raises(ValueError, match="probabilities=False"):
        _ = labels_alone.probabilities
