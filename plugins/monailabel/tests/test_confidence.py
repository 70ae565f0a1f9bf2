"""What an answer says of each structure's confidence and size."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leaf_seg import Segmentation
from lib.segmentation import _structures


@pytest.fixture
def source(tmp_path: Path) -> str:
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / "a.png")
    return str(tmp_path / "a.png")


def answer(intervals: dict[str, tuple[float, float]] | None) -> Segmentation:
    label = np.zeros((4, 5), np.uint8)
    label[0] = 1
    probabilities = np.stack([1 - 0.8 * label, 0.8 * label]).astype(np.float32)
    return Segmentation(label, ("background", "cell"), {"cell": 0.75}, True, intervals, _probabilities=probabilities)


def test_structures_have_expected_dice_and_intervals(source: str) -> None:
    found = answer({"cell": (2.5, 11.0)})
    cell = _structures(found.label, found, source)["cell"]
    assert (cell["area_px"], cell["area_px_low"], cell["area_px_high"]) == (5, 2.5, 11)
    assert cell["expected_dice"] == 0.75
    assert cell["confidence"] == pytest.approx(0.8)
    assert math.isfinite(cell["entropy"] or math.nan)


def test_another_answer_than_the_models_has_neither(source: str) -> None:
    found = answer({"cell": (2.5, 11.0)})
    cell = _structures(np.zeros_like(found.label), found, source)["cell"]
    assert (cell["area_px"], cell["area_px_low"], cell["area_px_high"], cell["expected_dice"]) == (0, None, None, None)


def test_a_model_that_is_not_calibrated_has_no_intervals(source: str) -> None:
    found = answer(None)
    assert "area_px_low" not in _structures(found.label, found, source)["cell"]
