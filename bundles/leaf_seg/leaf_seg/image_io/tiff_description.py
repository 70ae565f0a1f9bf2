"""What a TIFF of several pages says of them: which are slices, which are channels, and how large a voxel is."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leaf_seg.runtime.errors import InputError

_DESCRIPTION, _X_RESOLUTION, _Y_RESOLUTION = 270, 282, 283  # numbers of tags
_MILLIMETRES = {
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre"), 1.0),
    **dict.fromkeys(("um", "\u00b5m", "\u03bcm", "micron", "microns", "micrometer", "micrometers"), 1e-3),
    **dict.fromkeys(("nm", "nanometer", "nanometers"), 1e-6),
    **dict.fromkeys(("cm", "centimeter"), 10.0),
    **dict.fromkeys(("m", "meter"), 1e3),
    **dict.fromkeys(("inch", "in"), 25.4),
}
_OME_PIXELS = re.compile(r"<(?:\w+:)?Pixels\b([^>]*)>")
_ATTRIBUTE = re.compile(r"([\w:]+)\s*=\s*[\"']([^\"']*)[\"']")


@dataclass(frozen=True)
class StackLayout:
    """How pages make a volume.

    Attributes:
        channels: pages of each slice, one for each channel.
        slices: number of slices.
        channels_first: whether pages run through the channels of a slice, then through the slices; else the reverse.
        size: of a voxel along x, y and z in mm; None where the file does not say it.
    """

    channels: int
    slices: int
    channels_first: bool = True
    size: tuple[float, float, float] | None = None

    def place(self, page: int) -> tuple[int, int]:
        """Slice and channel of a page, by their numbers from 0."""
        if self.channels_first:
            return page // self.channels, page % self.channels
        return page % self.slices, page // self.slices


def stack_layout(tags: Mapping[int, Any], num_pages: int) -> StackLayout:
    """The layout that the tags of the first page say, by ImageJ's or OME's description; else each page is a slice.

    Args:
        tags: of the first page.
        num_pages: of the file.

    Raises:
        InputError: When they say of time points, of several images, or of another number of pages.
    """
    text = _text(tags.get(_DESCRIPTION, ""))
    if text.startswith("ImageJ="):
        layout, times = _of_imagej(text, tags, num_pages)
    elif pixels := _OME_PIXELS.findall(text):
        if len(pixels) > 1:
            raise InputError(f"a TIFF of {len(pixels)} images; expected one. Save each as a file of its own.")
        layout, times = _of_ome(dict(_ATTRIBUTE.findall(pixels[0])), num_pages)
    else:
        layout, times = StackLayout(_shaped_channels(text), num_pages), 1
    if times > 1:
        raise InputError(f"a TIFF of {times} time points; expected a volume. Save each as a file of its own.")
    if layout.channels * layout.slices != num_pages:
        raise InputError(
            f"a TIFF of {num_pages} pages, and its description speaks of {layout.channels} channels and "
            f"{layout.slices} slices; expected as many pages. Save the stack again, as one file and not as BigTIFF of "
            "ImageJ."
        )
    return layout


def described(size: tuple[float, ...], channels: int, slices: int) -> tuple[str, tuple[float, float]]:
    """ImageJ's description of a stack, and the resolutions along x and y, in pixels by micrometre, to write with it."""
    x, y, z = (1000 * length for length in size)
    lines = ["ImageJ=1.53t", f"images={channels * slices}", f"channels={channels}", f"slices={slices}"]
    lines += ["hyperstack=true", "mode=grayscale"] if channels > 1 else []
    return "\n".join([*lines, "unit=micron", f"spacing={z!r}", ""]), (1 / x, 1 / y)


def _of_imagej(text: str, tags: Mapping[int, Any], num_pages: int) -> tuple[StackLayout, int]:
    lines = (line.partition("=") for line in text.splitlines())
    said = {name.strip(): value.strip() for name, _, value in lines}
    channels, times = int(said.get("channels", 1)), int(said.get("frames", 1))
    slices = int(said.get("slices", int(said.get("images", num_pages)) // max(channels * times, 1)))
    scale = _MILLIMETRES.get(said.get("unit", "").casefold().replace(r"\u00b5", "\u00b5"))
    resolutions = [float(tags.get(tag, 0)) for tag in (_X_RESOLUTION, _Y_RESOLUTION)]
    size = None
    if scale is not None and all(value > 0 for value in resolutions):
        size = _checked([scale / value for value in resolutions] + [scale * abs(float(said.get("spacing", 1)))])
    return StackLayout(channels, slices, size=size), times


def _of_ome(said: Mapping[str, str], num_pages: int) -> tuple[StackLayout, int]:
    channels, times = int(said.get("SizeC", 1)), int(said.get("SizeT", 1))
    order = said.get("DimensionOrder", "XYCZT")
    lengths = []
    for axis in "XYZ":
        unit = html.unescape(said.get(f"PhysicalSize{axis}Unit", "um")).casefold()
        lengths.append(float(said.get(f"PhysicalSize{axis}", 0)) * _MILLIMETRES.get(unit, 0))
    layout = StackLayout(
        channels, int(said.get("SizeZ", num_pages)), order.find("C") < order.find("Z"), _checked(lengths)
    )
    return layout, times


def _checked(lengths: list[float]) -> tuple[float, float, float] | None:
    """Sizes of a voxel; None unless all are there."""
    x, y, z = lengths
    return (x, y, z) if all(length > 0 and math.isfinite(length) for length in lengths) else None


def _shaped_channels(text: str) -> int:
    """1, unless tifffile's description of a shape has more axes than a stack."""
    if not text.startswith('{"shape":'):
        return 1
    try:
        shape = [int(length) for length in json.loads(text)["shape"]]
    except (KeyError, TypeError, ValueError):
        return 1
    leading = [length for length in shape[: -3 if shape[-1] in (3, 4) else -2] if length != 1]
    if len(leading) > 1:
        raise InputError(
            f"a TIFF whose description says that it has the shape {shape}; expected a stack of slices. Save channels "
            "and time points as files of their own, or in the way of ImageJ."
        )
    return 1


def _text(description: Any) -> str:
    """A description in UTF-8, which Pillow reads as Latin-1."""
    if not isinstance(description, str):
        return ""
    try:
        return description.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return description
