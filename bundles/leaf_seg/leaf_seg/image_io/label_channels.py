"""The channels of a picture that is a label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from leaf_seg.runtime.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

# Key of the metadata with the colours of a palette, [[red, green, blue], ...] by index.
PALETTE = "palette"

_ONE_CHANNEL = ("1", "L", "P", "I", "F", "I;16", "I;16L", "I;16B")


def label_channels(picture: Image) -> Image:
    """One channel of numbers, or the three of colours, whose meaning is for who reads labels to say.

    Transparency is dropped where the channels beside it hold something.

    Raises:
        InputError: When only the transparency holds something, or tells of the pixels below it what the colours do not.
    """
    if picture.mode in ("LA", "PA", "RGBA"):
        _check_alpha(picture)
    if picture.mode in ("LA", "PA"):
        return picture.getchannel(0)
    return picture if picture.mode in _ONE_CHANNEL else picture.convert("RGB")


def palette_of(picture: Image) -> dict[str, Any]:
    """Metadata with the palette of a picture; empty without one."""
    if picture.mode not in ("P", "PA") or picture.palette is None:
        return {}
    values = picture.getpalette("RGB") or []
    return {PALETTE: [values[start : start + 3] for start in range(0, len(values) - 2, 3)]}


def _check_alpha(picture: Image) -> None:
    *channels, alpha = picture.split()
    levels = [level for level, count in enumerate(alpha.histogram()) if count]
    if len(levels) == 1:
        return
    if all(len(set(_extrema(channel))) == 1 for channel in channels):
        raise InputError(
            "the label is in the picture's transparency alone, its colours are all the same; expected class numbers or "
            "colours in the picture itself. Save the transparency as a grey PNG."
        )
    if len(levels) > 2 or levels[0] > 0:
        raise InputError(
            f"the label has soft transparency ({levels[0]} to {levels[-1]}), which mixes classes; expected none. Save "
            "it without transparency and without smoothed (anti-aliased) edges."
        )
    unseen = alpha.point([255] + [0] * 255)
    if any(len(set(_extrema(channel, unseen))) > 1 for channel in channels):
        raise InputError(
            "the label has several values below transparent pixels, which no viewer shows; expected one. Save it "
            "without transparency."
        )


def _extrema(channel: Image, mask: Image | None = None) -> tuple[int, int]:
    """Least and greatest value, where a mask is not 0."""
    found = [value for value, count in enumerate(channel.histogram(mask)) if count]
    return found[0], found[-1]
