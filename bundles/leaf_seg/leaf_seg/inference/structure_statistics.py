"""Size and brightness of each structure of a segmented image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from leaf_seg.image_io.reading import read_grid, read_image
from leaf_seg.image_io.reading_options import DEFAULT_READING, ReadingOptions

_ML = 1e-3  # of a cubic millimetre


@dataclass(frozen=True)
class StructureStatistics:
    """What is measured of a structure in the grid of its image's file.

    Attributes:
        structure: name of the class.
        count: voxels, or of a picture pixels.
        volume_ml: millilitres; None of a picture, whose file does not say how large a pixel is.
        mean_intensity: in the units of the file, of several channels their mean; None where it is not there.
    """

    structure: str
    count: int
    volume_ml: float | None
    mean_intensity: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def measure(
    source: str, label: np.ndarray, class_names: Sequence[str], reading: ReadingOptions = DEFAULT_READING
) -> list[StructureStatistics]:
    """Measure the structures of an image.

    Args:
        source: image file, which is read again for its intensities.
        label: class indices [*spatial] in the grid of the file.
        class_names: K names, background first.
        reading: how the file is read.

    Raises:
        InputError: When the file cannot be read.
    """
    grid, image = read_grid(source, reading), read_image(source, memory_limit_gb=None, options=reading)
    intensity = np.asarray(image.as_tensor()).mean(axis=0, dtype=np.float64)
    voxel = abs(float(np.linalg.det(np.asarray(grid.affine)[:3, :3]))) * _ML if grid.affine is not None else None
    counts = np.bincount(label.ravel(), minlength=len(class_names))
    sums = np.bincount(label.ravel(), weights=intensity.ravel(), minlength=len(class_names))
    return [
        StructureStatistics(
            name,
            int(counts[number]),
            None if voxel is None else int(counts[number]) * voxel,
            float(sums[number] / counts[number]) if counts[number] else None,
        )
        for number, name in enumerate(class_names)
        if number
    ]
