"""Small data sets of real files, sound and not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Write = Callable[..., Path]
SHAPE = (40, 48)


def picture(number: int, shift: int = 0) -> np.ndarray:
    """A smooth colour picture [H, W, 3] that looks like no other number's, shifted by some pixels."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 7, 3), dtype=np.uint8))
    return np.roll(np.asarray(coarse.resize(SHAPE[::-1], Image.Resampling.BICUBIC)), shift, axis=1)


def disc(value: int = 1, radius: int = 8, column: int = 24) -> np.ndarray:
    """A label map with a disc."""
    rows, columns = np.indices(SHAPE)
    return (value * ((rows - 20) ** 2 + (columns - column) ** 2 <= radius**2)).astype(np.uint8)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a data set: ``write({"a": (image, label), ...}, split={"training": ["a"], ...})`` gives its folder."""

    def written(
        cases: Mapping[str, tuple[np.ndarray, np.ndarray]],
        split: Mapping[str, list[str]] | None = None,
        folder: str = "set",
    ) -> Path:
        root = tmp_path / folder
        for place, part in enumerate(("images", "labels")):
            (root / part).mkdir(parents=True, exist_ok=True)
            for name, pair in cases.items():
                Image.fromarray(pair[place]).save(root / part / f"{name}.png")
        if split is not None:
            content = {key: [f"{name}.png" for name in names] for key, names in split.items()}
            (root / "split.json").write_text(json.dumps(content))
        return root

    return written


@pytest.fixture
def sound(write: Write) -> Path:
    """Six cases in three splits, of two patients each."""
    names = [f"p{patient}_{frame}" for patient in range(3) for frame in range(2)]
    cases = {name: (picture(number), disc()) for number, name in enumerate(names)}
    return write(cases, {"training": names[:2], "validation": names[2:4], "testing": names[4:]})
