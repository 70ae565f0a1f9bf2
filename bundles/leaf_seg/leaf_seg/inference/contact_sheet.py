"""A sheet of all overlays, to look at at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from leaf_seg.runtime.files import replacing

PREVIEW_NAME = "preview.png"
_SIDE = 320  # pixels of the longer side of an overlay
_GAP = 8
_MOST = 100  # overlays on a sheet


def save_contact_sheet(overlays: Sequence[Path], path: Path) -> int:
    """Write overlays, made small, in rows on one white sheet.

    Args:
        overlays: image files; at most 100 are shown, evenly of all.
        path: PNG file to write.

    Returns:
        How many are shown.

    Raises:
        InputError: When the file cannot be written.
    """
    step = max(1, math.ceil(len(overlays) / _MOST))
    shown = list(overlays)[::step]
    columns = max(1, math.ceil(math.sqrt(len(shown))))
    small = [_made_small(overlay) for overlay in shown]
    rows = [small[start : start + columns] for start in range(0, len(small), columns)]
    heights = [max(image.height for image in row) for row in rows]
    width = max(sum(image.width + _GAP for image in row) for row in rows) + _GAP
    sheet = Image.new("RGB", (width, sum(heights) + _GAP * (len(rows) + 1)), "white")
    top = _GAP
    for row, height in zip(rows, heights, strict=True):
        left = _GAP
        for image in row:
            sheet.paste(image, (left, top))
            left += image.width + _GAP
        top += height + _GAP
    with replacing(path) as temporary:
        sheet.save(temporary)
    return len(shown)


def _made_small(overlay: Path) -> Image.Image:
    with Image.open(overlay) as image:
        image.thumbnail((_SIDE, _SIDE))
        return image.convert("RGB")
