"""From what a label file holds to the numbers of the classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from leaf_seg.data.label_coding import INDEX, PROBABILITY, Colour
from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.image_io.label_channels import PALETTE
from leaf_seg.image_io.meta_tensor import MAXIMUM
from leaf_seg.image_io.remarks import remark
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import printable
from leaf_seg.transforms.mask_value import FULL_SCALES, MaskValue

_ROUNDING = 1e-3  # of a whole number, as scale factors in headers and float32 leave
_SUM_TOLERANCE = 0.02  # of probabilities that were stored with 8 bits each
_PART = 2**22  # values that are looked at a time


class LabelValues(MapTransform):
    """Make class numbers of what label files hold, as the settings say that they are coded.

    - Numbers of classes, rounded where they are within 0.001 of one. A colour picture whose channels are the same is
      grey. Of two classes, masks of 0 and 255 or 65535 become 0 and 1, all of a data set in the same way.
    - Colours, by the table of the settings.
    - A channel or a file for each class, with or without one for the background: "one_hot" masks, each pixel in
      one at most, or "probability", of which the greatest counts.

    What means nothing here is left for :class:`~leaf_seg.transforms.check_pair.CheckPair` to refuse.

    Args:
        keys: keys of the labels, MetaTensors [C, *spatial]; they become [1, *spatial].
        settings: classes and their coding.
        mask_value: of the data set; without one this transform has its own.

    Raises:
        InputError: For labels whose channels, colours or values do not fit; names the file, what and where.
    """

    def __init__(self, keys: KeysCollection, settings: ModelSettings, mask_value: MaskValue | None = None) -> None:
        super().__init__(keys)
        self.settings = settings
        self.mask_value = mask_value or MaskValue()

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """Make class numbers of the labels of ``data``."""
        result = dict(data)
        for key in self.key_iterator(result):
            label = result[key]
            file = printable(label.meta.get("filename_or_obj", "in memory"))
            try:
                result[key] = self._numbers(label, file)
            except InputError as error:
                raise InputError(str(error) if file in str(error) else f"Label {file}: {error}") from None
        return result

    def _numbers(self, label: MetaTensor, file: str) -> MetaTensor:
        """Class numbers [1, *spatial] of a label [C, *spatial]."""
        values = label.as_tensor()
        if self.settings.label_colors is not None:
            values = _of_colours(_colours(values, label.meta), self.settings.label_colors)
        elif self.settings.label_encoding == PROBABILITY:
            values = self._most_probable(values, label.meta)
        elif self.settings.label_encoding != INDEX:
            values = self._of_masks(values, file)
        else:
            _tell_palette(label.meta, file)
            values = self._of_numbers(values, file)
        return MetaTensor(values, meta=label.meta)

    def _of_numbers(self, values: torch.Tensor, file: str) -> torch.Tensor:
        if len(values) > 1 and all(torch.equal(channel, values[0]) for channel in values[1:]):
            values = values[:1]  # a grey picture saved as a colour one
        if len(values) > 1:
            raise InputError(
                f"{len(values)} channels with different values; expected class numbers in one. Give the colours of the "
                "classes (label_colors), or say that each channel is a class (label_encoding one_hot); else save it "
                "as an 8-bit grey PNG."
            )
        values = _rounded(values)
        return self._of_mask(values, file) if self.settings.num_classes == 2 else values

    def _of_mask(self, values: torch.Tensor, file: str) -> torch.Tensor:
        """Numbers 0 and 1 of the mask of a single class."""
        low, greatest = (float(value) for value in values.aminmax())
        if low < 0 or greatest not in (1.0, *FULL_SCALES) or not _are_only(values, (0.0, greatest)):
            return values
        self.mask_value.hold(greatest, file)
        return values if greatest == 1 else values / greatest

    def _of_masks(self, values: torch.Tensor, file: str) -> torch.Tensor:
        """The number of the one mask in which a pixel is; 0 in none, where the background has no mask."""
        first = self._first_class(values)
        values = _rounded(values)
        low, greatest = (float(value) for value in values.aminmax())
        if low < 0 or greatest not in (0.0, 1.0, *FULL_SCALES) or not _are_only(values, (0.0, greatest)):
            listed = ", ".join(f"{value:g}" for value in torch.unique(values)[:8].tolist())
            raise InputError(
                f"its masks hold the values {listed}; expected 0 and 1 (or 255, or 65535). Save masks of 0 and 1, or "
                "say label_encoding probability."
            )
        if greatest > 0:
            self.mask_value.hold(greatest, file)
        inside = values > 0
        count = inside.sum(dim=0)
        self._check_once(inside, count, first)
        numbers = inside.to(torch.uint8).argmax(dim=0).float() + first
        return torch.where(count > 0, numbers, 0.0)[None]

    def _check_once(self, inside: torch.Tensor, count: torch.Tensor, first: int) -> None:
        """Raise when pixels are in two masks, or in none although the background has one."""
        if bool((count > 1).any()):
            place = _first_place(count > 1)
            both = [self.settings.class_names[i + first] for i in range(len(inside)) if inside[(i, *place)]]
            raise InputError(
                f"{int((count > 1).sum())} pixels are in several masks, at {place} in those of {' and '.join(both)}; "
                "expected one class for each. Take one of the structures out of the other."
            )
        if first == 0 and bool((count == 0).any()):
            raise InputError(
                f"{int((count == 0).sum())} pixels are in no mask, not in that of {self.settings.class_names[0]}, "
                f"either (the first at {_first_place(count == 0)}); expected one class for each. Correct the masks, "
                "or leave that of the background out."
            )

    def _most_probable(self, values: torch.Tensor, meta: Mapping[str, Any]) -> torch.Tensor:
        """The most probable class; the background has what is left over, where it has no channel."""
        first = self._first_class(values)
        values = values / float(meta.get(MAXIMUM, 1.0))  # of a picture, the greatest that its file can hold
        total = values.sum(dim=0)
        low, high = float(values.min()), float(total.max())
        least = float(total.min()) if first == 0 else 1.0
        if low < -_SUM_TOLERANCE or high > 1 + _SUM_TOLERANCE or least < 1 - _SUM_TOLERANCE:
            sums = f"from {float(total.min()):.4g} to {high:.4g}" if low >= 0 else f"with values down to {low:.4g}"
            raise InputError(
                f"probabilities whose sums over the classes go {sums}; expected {'1' if first == 0 else '0 to 1'} "
                "everywhere (255 is 1 in 8-bit pictures). Correct them, or say label_encoding one_hot for masks."
            )
        if first == 1:
            values = torch.cat([1 - total[None], values])
        return values.argmax(dim=0, keepdim=True).float()

    def _first_class(self, values: torch.Tensor) -> int:
        """0 where the background has a channel of its own, else 1."""
        num_classes = self.settings.num_classes
        if len(values) not in (num_classes, num_classes - 1):
            raise InputError(
                f"{len(values)} channels or files, and label_encoding is {self.settings.label_encoding}; expected "
                f"{num_classes - 1} (one for each of {', '.join(self.settings.class_names[1:])}) or {num_classes}, the "
                "background first. Correct the label, or num_classes."
            )
        return num_classes - len(values)


def _tell_palette(meta: Mapping[str, Any], file: str) -> None:
    """Name a palette whose colours say the opposite of its numbers."""
    if meta.get(PALETTE, [])[:2] == [[255, 255, 255], [0, 0, 0]]:
        remark(
            "palette",
            file,
            "is a palette picture that shows 0 in white and 1 in black; its numbers are used: white is background. If "
            "white is the structure, save it as a grey PNG of 0 and 255.",
        )


def _colours(values: torch.Tensor, meta: Mapping[str, Any]) -> torch.Tensor:
    """Colours [3, *spatial], those of a palette or of grey values where the file holds such."""
    if len(values) == 3:
        return values
    if len(values) != 1:
        raise InputError(f"{len(values)} channels, and label_colors is given; expected red, green and blue.")
    if PALETTE not in meta:
        if float(values.max()) <= 1:  # black and white in one bit
            values = values * 255
        return values.expand(3, *values.shape[1:])
    palette = torch.zeros(256, 3)
    known = torch.tensor(meta[PALETTE], dtype=torch.float32)
    palette[: len(known)] = known
    return palette[values[0].long()].movedim(-1, 0)


def _of_colours(colours: torch.Tensor, table: tuple[Colour, ...]) -> torch.Tensor:
    """Class numbers [1, *spatial] of colours [3, *spatial]."""
    codes = _code(colours[0], colours[1], colours[2])
    numbers = torch.full(codes.shape, -1.0)
    for number, (red, green, blue) in enumerate(table):
        numbers[codes == _code(red, green, blue)] = number
    unknown = numbers < 0
    if bool(unknown.any()):
        place = _first_place(unknown)
        colour = [int(channel[place]) for channel in colours]
        count = int((codes == codes[place]).sum())
        others = len(torch.unique(codes[unknown])) - 1
        more = f", and {others} more colours are unknown (smoothed edges?)" if others else ""
        raise InputError(
            f"the colour {colour} of {count} pixels, the first at row {place[0]}, column {place[1]}, is not in "
            f"label_colors{more}; expected {', '.join(map(str, map(list, table)))}. Add it, or correct the label."
        )
    return numbers[None]


def _code(red: Any, green: Any, blue: Any) -> Any:
    """One number for a colour; whole in float32 up to 2**24."""
    return (red * 256 + green) * 256 + blue


def _first_place(mask: torch.Tensor) -> tuple[int, ...]:
    """Where a mask is true for the first time."""
    return tuple(int(index) for index in np.unravel_index(int(mask.flatten().to(torch.uint8).argmax()), mask.shape))


def _rounded(values: torch.Tensor) -> torch.Tensor:
    """Whole numbers, where all values are nearly so; else the values."""
    off = max(float((part - part.round()).abs().max()) for part in _parts(values))
    return values.round() if 0 < off <= _ROUNDING else values


def _are_only(values: torch.Tensor, allowed: tuple[float, float]) -> bool:
    return all(bool(((part == allowed[0]) | (part == allowed[1])).all()) for part in _parts(values))


def _parts(values: torch.Tensor) -> Iterator[torch.Tensor]:
    """The values some at a time, since what is made of them are copies."""
    yield from values.flatten().split(_PART)
