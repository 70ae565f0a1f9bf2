"""The overlay of one evaluated case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from monai.data import MetaTensor
from monai.transforms import Compose, Orientation
from monai.utils import convert_to_numpy

from leaf_seg.data.slicing import slice_directions
from leaf_seg.runtime.files import ensure_writable_folder
from leaf_seg.transforms.load_case import LoadCase
from leaf_seg.transforms.scale_image import ScaleImage
from leaf_seg.visual.overlay import save_overlay


class CaseOverlay:
    """Draws what an evaluator says of a case over the image, read again from its file at native size.

    Args:
        class_names: K names, background first.
        axis: slicing direction of volumes: "sagittal", "coronal" or "axial"; of several the first.
        window: lowest and highest value shown; None as in :class:`~leaf_seg.transforms.ScaleImage`.

    Raises:
        InputError: When the axis is unknown or the window is not ascending.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        axis: str | Sequence[str] = "axial",
        window: Sequence[float] | None = None,
    ) -> None:
        self.class_names = list(class_names)
        self.axis = slice_directions(axis)[0]
        self._load = Compose([LoadCase("image", memory_limit_gb=None), ScaleImage("image", window=window)])

    def __call__(self, source: str, item: Mapping[str, Any], path: Path) -> None:
        """Draw a case.

        Args:
            source: image file.
            item: "pred", and where they are to be shown "label" and "entropy", [1, *spatial] in the grid of the file.
            path: PNG to write.
        """
        image = self._load({"image": source})["image"]
        arrays = {name: item[name] for name in ("pred", "label", "entropy") if item.get(name) is not None}
        spacing = None
        if image.ndim == 4:  # a volume
            orient = Orientation("RAS", labels=None)
            arrays = {n: orient(MetaTensor(convert_to_numpy(a), affine=image.affine)) for n, a in arrays.items()}
            image = orient(image)
            spacing = cast(MetaTensor, image).pixdim.tolist()
        ensure_writable_folder(path.parent)
        save_overlay(
            convert_to_numpy(image),
            path=path,
            class_names=self.class_names,
            spacing=spacing,
            axis=self.axis,
            **{name: convert_to_numpy(array)[0] for name, array in arrays.items()},
        )
