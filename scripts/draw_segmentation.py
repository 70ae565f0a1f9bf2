"""Draws the picture of the README: one slice of a hippocampus, segmented by the shipped model, and how sure it is."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before PyTorch is imported; see docs/training.md

import numpy as np
from PIL import Image

import leaf_seg
from leaf_seg.runtime.errors import InputError
from leaf_seg.visual import CaseOverlay

MODEL = Path(__file__).resolve().parents[1] / "bundles" / "leaf_seg" / "models"
HYPOTHESES = 5


def main() -> int:
    """Segment and draw; the exit code is 0, or 2 for bad input."""
    options = _parser().parse_args()
    try:
        draw(options.volume, options.picture)
    except InputError as error:
        sys.stderr.write(f"draw_segmentation: {error}\n")
        return 2
    return 0


def draw(volume: str, picture: Path) -> None:
    """Draw the sagittal slice of which the structures take most.

    Args:
        volume: NIfTI file whose first axis is left-right, as those of Task04 Hippocampus.
        picture: PNG to write.

    Raises:
        InputError: When the volume cannot be read, or the picture not be written.
    """
    segmentation = leaf_seg.load(MODEL)(volume, num_samples=HYPOTHESES)
    assert segmentation.entropy is not None
    label = segmentation.label  # [X, Y, Z]
    fullest = int((label > 0).sum(axis=(1, 2)).argmax())
    shown = np.zeros_like(label)  # The figure has a row for each of some segmented slices: this leaves it one.
    shown[fullest] = label[fullest]
    item = {"pred": shown[None], "entropy": segmentation.entropy[None]}
    CaseOverlay(segmentation.class_names, axis="sagittal")(volume, item, picture)
    Image.open(picture).convert("RGB").save(picture, optimize=True)  # the same colours in a smaller file


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("volume", help="NIfTI file, cropped around one hippocampus")
    parser.add_argument("picture", type=Path, help="PNG to write")
    return parser


if __name__ == "__main__":
    sys.exit(main())
