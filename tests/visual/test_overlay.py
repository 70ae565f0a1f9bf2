"""Overlays show the right slices, the right way up, in the right colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from leaf_seg.runtime.errors import InputError
from leaf_seg.visual.overlay import CLASS_COLOURS, _views, save_overlay


def read(path: Path) -> np.ndarray:
    """The picture as float RGB [H, W, 3] in [0, 1]."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")) / 255


def centre_of(pixels: np.ndarray, colour: str) -> np.ndarray:
    """Mean (row, column) of the pixels of a colour, as fractions of the picture's size; nan where it is absent."""
    hits = np.argwhere(np.abs(pixels - to_rgb(colour)).max(axis=-1) < 0.02)
    return hits.mean(axis=0) / pixels.shape[:2] if len(hits) else np.full(2, np.nan)


@pytest.mark.parametrize("channels", [1, 3])
def test_picture(tmp_path: Path, channels: int):
    pred = np.zeros((40, 60), dtype=np.uint8)
    pred[5:15, 5:20] = 1
    pred[25:35, 40:55] = 2
    path = tmp_path / "cell.png"

    save_overlay(np.full((channels, 40, 60), 0.5), pred, path, ["background", "cytoplasm", "nucleus"])

    pixels = read(path)
    panels, legend = np.vsplit(pixels, [int(0.8 * len(pixels))])
    outlines = [centre_of(panels, colour) for colour in CLASS_COLOURS[:2]]
    assert outlines[0][0] < outlines[1][0], "class 1 is above class 2"
    assert 0.5 < outlines[0][1] < outlines[1][1], "both are in the right panel, class 1 left of class 2"
    assert not np.isnan([centre_of(legend, colour) for colour in CLASS_COLOURS[:2]]).any()
    assert np.isnan(centre_of(pixels, CLASS_COLOURS[2])).all()


def test_truth_and_entropy_add_panels(tmp_path: Path):
    image, pred = np.zeros((1, 32, 32)), np.ones((32, 32), dtype=np.uint8)
    classes = ["background", "lesion"]
    widths = []
    for name, extra in {"two": {}, "three": {"label": pred}, "four": {"label": pred, "entropy": image[0]}}.items():
        save_overlay(image, pred, tmp_path / f"{name}.png", classes, **extra)
        widths.append(read(tmp_path / f"{name}.png").shape[1])
    assert widths[0] < widths[1] < widths[2]


@pytest.mark.parametrize(
    ("axis", "bright", "spacing", "ratio"),
    [
        ("axial", np.s_[15:, 15:, :], (1, 1, 9), 1),  # right anterior: up and to the left
        ("coronal", np.s_[15:, :, 6:], (1, 9, 2), 0.8),  # right superior
        ("sagittal", np.s_[:, 15:, 6:], (9, 1, 2), 0.8),  # anterior superior
    ],
)
def test_slices_are_in_radiological_orientation(axis: str, bright: tuple, spacing: tuple, ratio: float):
    volume = np.zeros((20, 20, 8))
    volume[bright] = 1
    views = _views(np.ones((20, 20, 8)), None, spacing, axis)
    plane = views.planes(volume)[0]
    rows, columns = np.nonzero(plane)
    assert rows.max() < plane.shape[0] / 2, "anterior or superior must be up"
    assert columns.max() < plane.shape[1] / 2, "the patient's right, or anterior, must be on the left"
    assert plane.shape[0] * views.pixel_aspect / plane.shape[1] == pytest.approx(ratio)


def test_slices_are_quartiles_of_the_segmented_ones():
    pred, label = np.zeros((4, 4, 30), dtype=int), np.zeros((4, 4, 30), dtype=int)
    assert _views(pred, None, None, "axial").indices == [15]
    pred[1, 1, 10:15] = 1
    assert _views(pred, None, None, "axial").indices == [11, 12, 13]
    label[1, 1, 15:19] = 2  # what was missed is shown, too
    assert _views(pred, label, None, "axial").indices == [12, 14, 16]
    pred[:] = label[:] = 0
    pred[1, 1, 3] = 1
    assert _views(pred, label, None, "axial").captions == ["axial 4 / 30"]


def test_volume_with_many_classes(tmp_path: Path):
    pred = np.arange(12)[:, None, None].repeat(12, 1).repeat(6, 2)
    names = ["background", *(f"class_{i}" for i in range(1, 12))]
    save_overlay(np.zeros((1, 12, 12, 6)), pred, tmp_path / "a.png", names, label=pred, spacing=(1, 1, 3))
    assert read(tmp_path / "a.png").shape[0] > 400


def test_large_picture_is_thinned():
    assert _views(np.zeros((2, 2)), None, None, "axial").planes(np.zeros((3000, 100)))[0].shape == (1000, 34)


def test_unwritable_path(tmp_path: Path):
    with pytest.raises(InputError, match="Cannot write"):
        save_overlay(np.zeros((1, 8, 8)), np.zeros((8, 8)), tmp_path / "absent" / "a.png", ["background", "x"])


def test_confidence_and_hypotheses_add_panels(tmp_path: Path):
    """The map has the outlines of both, and each hypothesis is drawn as the prediction is."""
    image, pred, label = np.zeros((1, 32, 32)), np.zeros((32, 32), np.uint8), np.zeros((32, 32), np.uint8)
    pred[4:12, 4:12] = label[20:28, 20:28] = 1
    confidence = np.full((32, 32), 0.5)
    save_overlay(image, pred, tmp_path / "plain.png", ["background", "lesion"], label=label)
    plain = read(tmp_path / "plain.png").shape[1]
    extra: dict[str, Any] = {"confidence": confidence, "further": {"hypothesis 1": pred, "hypothesis 2": label}}
    save_overlay(image, pred, tmp_path / "a.png", ["background", "lesion"], label=label, **extra)
    pixels = read(tmp_path / "a.png")
    assert pixels.shape[1] > 1.8 * plain
    grey = np.abs(pixels - 128 / 255).max(axis=-1) < 0.02  # of the map
    left, right = np.flatnonzero(grey.sum(axis=0) > 100)[[0, -1]]
    outlines = np.abs(pixels[:, left:right] - to_rgb(CLASS_COLOURS[0])).max(axis=-1) < 0.1
    rows = np.flatnonzero(outlines[: int(0.85 * len(outlines))].any(axis=1)) / len(outlines)
    assert rows.min() < 0.45 < 0.55 < rows.max()
