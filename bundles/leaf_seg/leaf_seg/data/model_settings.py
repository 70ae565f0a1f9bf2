"""What a trained model has to be told about its input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from leaf_seg.data.confidence_settings import ConfidenceSettings, confidence_settings
from leaf_seg.data.label_coding import INDEX, Colour, check_label_colors, check_label_encoding
from leaf_seg.data.slicing import check_mirror_axes, slice_directions
from leaf_seg.image_io.reading_options import ReadingOptions
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.setting_bounds import CLASSES, IMAGE_SIZE, NUM_SLICES, SPACING, TEMPERATURE, TILE_OVERLAP, WINDOW
from leaf_seg.runtime.text import one_line

CALIBRATED = ("temperature", "confidence")  # settings that a calibration fits to the model's own answers


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
        tile_overlap: None resizes images to image_size; a share in [0, 1) leaves them as they are, seen tile by tile of
            that size, which overlap by this share of their sides.
        label_encoding: what label files hold: "index", the numbers of the classes; "one_hot", a channel or a file for
            each class; or "probability", the same with the probabilities.
        label_colors: the colours of the classes in label files, background first; None where these hold numbers.
        channels: numbers, from 0, of the channels of image files that the network sees, one (grey) or three (as those
            of a colour picture); None: the only one of a volume, and what a picture has.
        tiff_stack: whether the pages of a TIFF are the slices of a volume.
        temperature: of the class probabilities, as ``python -m leaf_seg calibrate`` has fitted it; 1 leaves them.
        confidence: what the same command has found of how far answers can be trusted; None without.

    Raises:
        InputError: For values that are nothing of the kind; names the key.
    """

    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    axis: str | tuple[str, ...] = "axial"
    num_slices: int = 1
    window: tuple[float, float] | None = None
    spacing: tuple[float, float, float] | None = None
    mirror_axes: tuple[int, ...] = ()
    tile_overlap: float | None = None
    label_encoding: str = INDEX
    label_colors: tuple[Colour, ...] | None = None
    channels: tuple[int, ...] | None = None
    tiff_stack: bool = False
    temperature: float = 1.0
    confidence: ConfidenceSettings | None = None

    def __init__(
        self,
        class_names: Sequence[str],
        image_size: Sequence[int],
        axis: str | Sequence[str] = "axial",
        num_slices: int = 1,
        window: Sequence[float] | None = None,
        spacing: Sequence[float] | None = None,
        mirror_axes: Sequence[int] = (),
        tile_overlap: float | None = None,
        label_encoding: str = INDEX,
        label_colors: Any = None,
        channels: int | Sequence[int] | None = None,
        tiff_stack: bool | str = False,
        temperature: float = 1.0,
        confidence: Any = None,
    ) -> None:
        TEMPERATURE.check(temperature, "temperature")
        IMAGE_SIZE.check(image_size, "image_size")
        NUM_SLICES.check(num_slices, "num_slices")
        SPACING.check(spacing, "spacing")
        TILE_OVERLAP.check(tile_overlap, "tile_overlap")
        directions = slice_directions(axis)
        reading = ReadingOptions(channels, tiff_stack)
        _check_depth(num_slices, reading.channels)
        values: dict[str, Any] = {
            "class_names": check_class_names(class_names),
            "image_size": tuple(image_size),
            "axis": axis if isinstance(axis, str) else directions,
            "num_slices": num_slices,
            "window": check_window(window),
            "spacing": None if spacing is None else tuple(spacing),
            "mirror_axes": check_mirror_axes(mirror_axes),
            "tile_overlap": tile_overlap,
            "label_encoding": check_label_encoding(label_encoding),
            "label_colors": check_label_colors(label_colors),
            "channels": reading.channels,
            "tiff_stack": reading.tiff_stack,
            "temperature": temperature,
        }
        values["confidence"] = confidence_settings(confidence, len(values["class_names"]) - 1)
        _check_labels(values["class_names"], values["label_encoding"], values["label_colors"])
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def num_classes(self) -> int:
        """K, background included."""
        return len(self.class_names)

    @property
    def reading(self) -> ReadingOptions:
        """How image files are read."""
        return ReadingOptions(self.channels, self.tiff_stack)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; how files are read, labels coded, and a calibration only where not as usual."""
        values = asdict(self)
        if self.channels is None:
            del values["channels"]
        if not self.tiff_stack:
            del values["tiff_stack"]
        if self.temperature == 1:
            del values["temperature"]
        if self.confidence is None:
            del values["confidence"]
        if self.label_encoding == INDEX:
            del values["label_encoding"]
        if self.label_colors is None:
            del values["label_colors"]
        return values


def _check_depth(num_slices: int, channels: Sequence[int] | None) -> None:
    """Raise when the three channels of the network's input would be of the file and of neighbouring slices at once."""
    if num_slices == 3 and channels is not None and len(channels) == 3:
        raise InputError(
            f"num_slices is 3, and channels is {list(channels)}; expected one of them, as the network sees three "
            "channels: set num_slices to 1, or choose one channel."
        )


def _check_labels(class_names: Sequence[str], encoding: str, colors: Sequence[Colour] | None) -> None:
    """Raise when the colours are not as many as the classes, or labels are said to be of colours and of channels."""
    if colors is not None and len(colors) != len(class_names):
        raise InputError(
            f"label_colors has {len(colors)} colours, and there are {len(class_names)} classes "
            f"({one_line(', '.join(class_names), 80)}); expected one for each, background first."
        )
    if colors is not None and encoding != INDEX:
        raise InputError(
            f"label_colors is given, and label_encoding is {encoding}; expected one of them: leave the other out."
        )


def check_class_names(names: Any, key: str = "class_names") -> tuple[str, ...]:
    """Names of classes, if they can stand in tables, in legends and, changed, in names of files.

    Args:
        names: background first.
        key: where they are from, for the message.

    Raises:
        InputError: When they are not 2 to 256, each a text of its own without line breaks and the like.
    """
    fit = isinstance(names, Sequence) and not isinstance(names, str) and CLASSES.low <= len(names) <= CLASSES.high
    if not fit or not all(isinstance(name, str) and name.strip() and name.isprintable() for name in names):
        raise InputError(
            f"{key} is {one_line(repr(names))}; expected 2 to 256 names, background first, none empty and none with "
            "line breaks or other control characters."
        )
    if len(set(names)) < len(names):
        raise InputError(f"{key} is {one_line(list(names))}; expected another name for each class.")
    return tuple(names)


def check_window(window: Any) -> tuple[float, float] | None:
    """Lower and upper end of an intensity window.

    Raises:
        InputError: When it is neither null nor two numbers, the lower one first.
    """
    WINDOW.check(window, "window")
    if window is None:
        return None
    if window[0] >= window[1]:
        raise InputError(f"window is {list(window)}; expected the intensity window, lower end first, or null.")
    return cast(tuple[float, float], tuple(window))
