from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leaf_seg.image_io import read_image
from leaf_seg.image_io.label_channels import PALETTE
from leaf_seg.runtime.errors import InputError

MASK = np.zeros((4, 5), np.uint8)
MASK[1:3, 2:4] = 255


def read(file: Path, values: np.ndarray) -> np.ndarray:
    Image.fromarray(values).save(file)
    return np.array(read_image(file, is_label=True))


def test_colours_stay_colours(tmp_path: Path) -> None:
    colours = np.dstack([MASK, MASK // 2, MASK * 0])
    assert np.array_equal(read(tmp_path / "a.png", colours), np.moveaxis(colours, -1, 0))


def test_alpha_of_transparent_background_is_dropped(tmp_path: Path) -> None:
    values = np.dstack([MASK, MASK, MASK * 0, MASK])
    assert np.array_equal(read(tmp_path / "a.png", values), np.moveaxis(values[..., :3], -1, 0))


def test_a_palette_is_kept_beside_its_numbers(tmp_path: Path) -> None:
    picture = Image.fromarray(MASK // 255)
    picture.putpalette([1, 2, 3, 4, 5, 6])
    picture.save(tmp_path / "a.png")
    label = read_image(tmp_path / "a.png", is_label=True)
    assert np.array_equal(label[0], MASK // 255)
    assert label.meta[PALETTE][:2] == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("channels", "words"),
    [
        ([MASK * 0, MASK * 0, MASK * 0, MASK], "in the picture's transparency alone"),
        ([MASK * 0 + 255, MASK], "in the picture's transparency alone"),
        ([MASK, MASK, MASK, MASK // 2 + 100], r"soft transparency \(100 to 227\)"),
        ([MASK, MASK, MASK, np.roll(MASK, 1)], "several values below transparent pixels"),
    ],
)
def test_transparency_that_says_something_of_its_own(tmp_path: Path, channels: list[np.ndarray], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(tmp_path / "a.png", np.dstack(channels))
