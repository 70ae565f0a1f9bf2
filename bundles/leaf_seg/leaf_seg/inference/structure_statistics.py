"""Size and brightness of each structure of a segmented image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from leaf_seg.data.confidence_settings import ConfidenceSettings
from leaf_seg.image_io.reading import read_grid, read_image
from leaf_seg.image_io.reading_options import DEFAULT_READING, ReadingOptions
from leaf_seg.metrics import size_interval

_ML = 1e-3  # of a cubic millimetre


@dataclass(frozen=True)
class StructureStatistics:
    """What is measured of a structure in the grid of its image's file.

    Attributes:
        structure: name of the class.
        count: voxels, or of a picture pixels.
        volume_ml: millilitres; None of a picture, whose file does not say how large a pixel is.
        mean_intensity: in the units of the file, of several channels their mean; None where it is not there.
        count_low: voxels or pixels from which on the true count is in 90 % of such cases; None where the model's
            calibration does not say.
        count_high: the number up to which it is.
        volume_ml_low: millilitres of the first; None of a picture.
        volume_ml_high: of the second.
    """

    structure: str
    count: int
    volume_ml: float | None
    mean_intensity: float | None
    count_low: float | None = None
    count_high: float | None = None
    volume_ml_low: float | None = None
    volume_ml_high: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def measure(
    source: str,
    label: np.ndarray,
    class_names: Sequence[str],
    reading: ReadingOptions = DEFAULT_READING,
    confidence: ConfidenceSettings | None = None,
) -> list[StructureStatistics]:
    """Measure the structures of an image.

    Args:
        source: image file, which is read again for its intensities.
        label: class indices [*spatial] in the grid of the file.
        class_names: K names, background first.
        reading: how the file is read.
        confidence: of the model, by whose margins sizes have intervals.

    Raises:
        InputError: When the file cannot be read.
    """
    grid, image = read_grid(source, reading), read_image(source, memory_limit_gb=None, options=reading)
    intensity = np.asarray(image.as_tensor()).mean(axis=0, dtype=np.float64)
    voxel = abs(float(np.linalg.det(np.asarray(grid.affine)[:3, :3]))) * _ML if grid.affine is not None else None
    counts = np.bincount(label.ravel(), minlength=len(class_names))
    sums = np.bincount(label.ravel(), weights=intensity.ravel(), minlength=len(class_names))
    intervals = size_intervals(label, class_names, confidence) or {}
    found = []
    for number, name in enumerate(class_names[1:], start=1):
        count, ends = int(counts[number]), intervals.get(name, (None, None))
        volumes = [None if voxel is None or size is None else size * voxel for size in (count, *ends)]
        brightness = float(sums[number] / count) if count else None
        found.append(StructureStatistics(name, count, volumes[0], brightness, *ends, *volumes[1:]))
    return found


def size_intervals(
    label: np.ndarray, class_names: Sequence[str], confidence: ConfidenceSettings | None
) -> dict[str, tuple[float, float]] | None:
    """Voxels or pixels that each structure has in 90 % of such cases, from and to, by name.

    Args:
        label: class indices [*spatial], as the model has answered.
        class_names: K names, background first.
        confidence: of the model; without margins there are no intervals, None.
    """
    if confidence is None or confidence.size_margins is None:
        return None
    counts = np.bincount(label.ravel(), minlength=len(class_names))[1:].tolist()
    pairs = zip(class_names[1:], counts, confidence.size_margins, strict=True)
    return {name: size_interval(count, margin, label.size) for name, count, margin in pairs}
