"""Label maps of pictures in colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from leaf_seg.runtime.files import PathLike, replacing
from leaf_seg.visual.overlay import class_colours


def save_class_picture(
    label: np.ndarray, path: PathLike, num_classes: int, colours: Sequence[Sequence[int]] | None = None
) -> None:
    """Write a PNG with a palette: the index of a pixel is its class, and viewers show the colour of that.

    Args:
        label: class indices 0 to K - 1, [H, W].
        path: file to write.
        num_classes: K.
        colours: red, green and blue, 0 to 255, of each class; None for those of overlays, on black.

    Raises:
        InputError: When the file cannot be written.
    """
    if colours is None:
        colours = np.rint(class_colours(num_classes)[:, :3] * 255).astype(int).tolist()
    picture = Image.fromarray(label.astype(np.uint8))
    picture.putpalette([value for colour in colours for value in colour])
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG")
