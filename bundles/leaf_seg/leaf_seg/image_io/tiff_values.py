"""What the tags of a TIFF say of its values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from leaf_seg.image_io.depth import as_indices
from leaf_seg.image_io.remarks import remark
from leaf_seg.runtime.files import PathLike

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

# Numbers of tags, see the TIFF 6.0 specification.
_BITS, _PHOTOMETRIC, _DESCRIPTION, _SAMPLE_FORMAT = 258, 262, 270, 339
_GREATEST = (341, 281)  # SMaxSampleValue, MaxSampleValue
_MIN_IS_WHITE = 0
_UNSIGNED, _SIGNED = 1, 2
_SIGNIFICANT = re.compile(r"<Pixels\b[^>]*\bSignificantBits=[\"'](\d{1,2})[\"']")


def meant_values(
    array: np.ndarray, maximum: float | None, picture: Image, path: PathLike, is_label: bool
) -> tuple[np.ndarray, float | None]:
    """Values as the file means them: with their sign, and of images bright where there is much.

    Args:
        array: pixels [H, W] or [H, W, 3], as Pillow gives them.
        maximum: greatest possible value of Pillow's mode; None where there is none.
        picture: of Pillow, with its tags.
        path: for the log.
        is_label: class numbers are taken as they are stored, whatever is white.

    Returns:
        The values, and the greatest possible one by the file's tags.
    """
    tags = picture.tag_v2  # type: ignore[attr-defined]
    bits, sign = _first(tags, _BITS, 1), _first(tags, _SAMPLE_FORMAT, _UNSIGNED)
    inverted = tags.get(_PHOTOMETRIC) == _MIN_IS_WHITE
    if array.ndim == 3:
        if bits == 16:
            remark("16-bit colours", path, "its colours have 16 bits, of which the upper 8 are read.")
        return array, maximum
    if sign == _SIGNED and bits <= 16:
        return (array.view("int8") if bits == 8 else array), 2.0 ** (bits - 1) - 1
    if bits > 16:
        if inverted and not is_label:
            what = f"its least value is white by its tags, but of {bits} bits nothing says which is black"
            remark("white", path, f"{what}; values are taken as they are.")
        return array, None
    if is_label:
        return _stored(array, bits, inverted), maximum
    if bits > 8:
        declared = _declared_bits(tags, bits)
        maximum = 2.0 ** (declared if array.max() < 2**declared else bits) - 1
        if inverted:
            array = maximum - array.astype("float32")
    return array, maximum


def _stored(array: np.ndarray, bits: int, inverted: bool) -> np.ndarray:
    """Class numbers of up to 8 bits, which Pillow inverts where the least is white, and spreads to shades."""
    if not inverted or bits > 8:
        return as_indices(array, bits)
    return ~array if bits == 1 else as_indices(255 - array, bits)


def _declared_bits(tags: Any, bits: int) -> int:
    """Significant bits by the greatest possible value, where that is one of whole bits, or by OME's metadata."""
    for tag in _GREATEST:
        greatest = _first(tags, tag, 0)
        if 255 < greatest < (1 << bits) and (int(greatest) + 1).bit_count() == 1:
            return int(greatest).bit_length()
    description = tags.get(_DESCRIPTION, "")
    found = _SIGNIFICANT.search(description) if isinstance(description, str) else None
    return int(found[1]) if found and 8 <= int(found[1]) < bits else bits


def _first(tags: Any, tag: int, default: float) -> Any:
    """The value of a tag, or its first one."""
    value = tags.get(tag, default)
    return (value[0] if value else default) if isinstance(value, tuple) else value
