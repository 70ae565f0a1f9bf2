"""What a trained model has to be told about its input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from leaf_seg.data.slicing import check_mirror_axes, slice_directions
from leaf_seg.runtime.bounds import Bound

CLASSES = Bound(2, 256)  # number of them, background included: label maps are of bytes
IMAGE_SIZE = Bound(1, 8192, lengths=(2, 2))


@dataclass(frozen=True)
class ModelSettings:
    """How images were prepared for a model and what its classes mean; saved beside its weights.

    Attributes:
        class_names: names of the K classes, background first.
        image_size: (H, W) that the network works at, in pixels.
        axis: slicing direction of volumes: "sagittal", "coronal" or "axial"; or several, whose answers are averaged.
        num_slices: 1, or 3 for neighbouring slices as channels (2.5D).
        window: intensities mapped to 0 and 1 (for CT, Hounsfield units); None scales pictures by their data type and
            volumes by their 0.5 and 99.5 percentiles.
        spacing: voxel size in mm that volumes are resampled to; None keeps theirs.
        mirror_axes: spatial axes (RAS) along which an image is mirrored and segmented once more, the answers averaged.

    Raises:
        InputError: When image_size is no size, or mirror_axes or several directions are unfit.
    """

    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    axis: str | tuple[str, ...] = "axial"
    num_slices: int = 1
    window: tuple[float, float] | None = None
    spacing: tuple[float, float, float] | None = None
    mirror_axes: tuple[int, ...] = ()

    def __init__(
        self,
        class_names: Sequence[str],
        image_size: Sequence[int],
        axis: str | Sequence[str] = "axial",
        num_slices: int = 1,
        window: Sequence[float] | None = None,
        spacing: Sequence[float] | None = None,
        mirror_axes: Sequence[int] = (),
    ) -> None:
        IMAGE_SIZE.check(image_size, "image_size")
        values = {
            "class_names": tuple(class_names),
            "image_size": tuple(image_size),
            "axis": axis if isinstance(axis, str) else slice_directions(axis),
            "num_slices": num_slices,
            "window": None if window is None else tuple(window),
            "spacing": None if spacing is None else tuple(spacing),
            "mirror_axes": check_mirror_axes(mirror_axes),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def num_classes(self) -> int:
        """K, background included."""
        return len(self.class_names)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
