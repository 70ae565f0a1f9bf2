"""The overlay of one evaluated case."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data.utils import affine_to_spacing
from monai.utils import convert_to_numpy
from nibabel.orientations import apply_orientation, io_orientation

from leaf_seg.data.slicing import slice_directions
from leaf_seg.image_io.reading_options import DEFAULT_READING, ReadingOptions
from leaf_seg.runtime.files import ensure_writable_folder
from leaf_seg.transforms.load_case import LoadCase
from leaf_seg.transforms.scale_image import ScaleImage
from leaf_seg.visual.overlay import MAX_PIXELS, save_overlay


class CaseOverlay:
    """Draws what an evaluator says of a case over the image, read again from its file at native size.

    Args:
        class_names: K names, background first.
        axis: slicing direction of volumes: "sagittal", "coronal" or "axial"; of several the first.
        window: lowest and highest value shown; None as in :class:`~leaf_seg.transforms.ScaleImage`.
        reading: how images are read; three channels are drawn as red, green and blue.

    Raises:
        InputError: When the axis is unknown or the window is not ascending.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        axis: str | Sequence[str] = "axial",
        window: Sequence[float] | None = None,
        reading: ReadingOptions = DEFAULT_READING,
    ) -> None:
        self.class_names = list(class_names)
        self.axis = slice_directions(axis)[0]
        self._load = LoadCase("image", memory_limit_gb=None, reading=reading)
        self._scale = ScaleImage("image", window=window)

    def __call__(self, source: str, item: Mapping[str, Any], path: Path) -> None:
        """Draw a case.

        Args:
            source: image file.
            item: "pred", and where they are to be shown "label", "entropy" and "confidence" [1, *spatial], and "drawn",
                class indices of some hypotheses [N, *spatial]; all in the grid of the file.
            path: PNG to write.
        """
        image = self._load({"image": source})["image"]
        names = ("pred", "label", "entropy", "confidence")
        arrays = {name: convert_to_numpy(item[name]) for name in names if item.get(name) is not None}
        further = {f"hypothesis {n}": convert_to_numpy(each)[None] for n, each in enumerate(item.get("drawn", ()), 1)}
        arrays |= further
        affine, is_volume = image.affine, image.ndim == 4
        if not is_volume:  # what would not be drawn need not be scaled
            step = math.ceil(max(image.shape[1:]) / MAX_PIXELS)
            image = image[:, ::step, ::step]
            arrays = {name: array[:, ::step, ::step] for name, array in arrays.items()}
        arrays["image"] = convert_to_numpy(self._scale({"image": image})["image"])
        del image
        spacing = None
        if is_volume:
            to_ras = io_orientation(affine.numpy())
            spacing = affine_to_spacing(affine).numpy()[np.argsort(to_ras[:, 0])].tolist()
            arrays = {name: apply_orientation(array[0], to_ras)[None] for name, array in arrays.items()}  # views
        ensure_writable_folder(path.parent)
        save_overlay(
            arrays.pop("image"),
            path=path,
            class_names=self.class_names,
            spacing=spacing,
            axis=self.axis,
            further={title: arrays.pop(title)[0] for title in further},
            **{name: array[0] for name, array in arrays.items()},
        )
