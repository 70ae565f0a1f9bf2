"""Scales images to [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.transforms.utils_pytorch_numpy_unification import percentile

from leaf_seg.data.model_settings import check_window
from leaf_seg.image_io.meta_tensor import MAXIMUM
from leaf_seg.image_io.remarks import remark
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import printable

_DTYPE_MAXIMA = {torch.uint8: 255, torch.uint16: 65535}

_PERCENTILES = (0.5, 99.5)
_FEW_BITS = 14  # that a picture of 15 or 16 bits may fill without having been made with fewer


class ScaleImage(MapTransform):
    """Scale images to float32 in [0, 1].

    With a window, linearly from its lower end to its upper end, all channels alike. Without one, pictures by the
    greatest value that their file says it can hold (255, 65535 for 16 bits, 4095 for 12), so that pictures stay
    comparable; volumes from the 0.5th to the 99.5th percentile, each channel of each volume by its own, as their units
    differ from scanner to scanner. What lies outside is clipped; a constant channel becomes 0.

    Args:
        keys: keys of the images, MetaTensors [C, H, W] (pictures) or [C, X, Y, Z] (volumes).
        window: (lower, upper) in the file's units, Hounsfield units for CT; None as said above.
        allow_missing_keys: whether a case may lack one of the keys.

    Raises:
        InputError: For a window that is not ascending; without one, for a picture that has negative values, or leaves
            [0, 1] while nothing says how great its values can be.
    """

    def __init__(
        self,
        keys: KeysCollection = ("image",),
        window: Sequence[float] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.window = check_window(window)

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """Scale the images of ``data``."""
        scaled = dict(data)
        for key in self.key_iterator(scaled):
            low, high = self._limits(scaled[key])
            image = scaled[key].to(torch.float32) - low
            scaled[key] = image.div_(high - low).clamp_(0, 1)  # in place: a large image need not be there four times
        return scaled

    def _limits(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Values of ``image`` that become 0 and 1, each [C or 1, 1, ...]."""
        if self.window is not None:
            limits = [self.window]
        elif image.ndim == 3:
            limits = [(0.0, _picture_maximum(image))]
        else:
            limits = [_volume_limits(channel) for channel in image]
        low, high = torch.tensor(limits, device=image.device).reshape(-1, 2, *[1] * (image.ndim - 1)).unbind(1)
        return low, high


def _picture_maximum(image: torch.Tensor) -> float:
    """Greatest value that the picture's file, or its dtype in memory, can hold."""
    file = image.meta.get("filename_or_obj") if isinstance(image, MetaTensor) else None
    maximum = _DTYPE_MAXIMA.get(image.dtype)
    if isinstance(image, MetaTensor):
        maximum = image.meta.get(MAXIMUM, maximum)
    low, high = (float(value) for value in torch.as_tensor(image).float().aminmax())
    if low < 0 or (maximum is None and high > 1):
        known = "" if maximum is None else ", some of them negative"
        raise InputError(
            f"A picture ({printable(file) if file else 'in memory'}) has values from {low:.4g} to {high:.4g}{known}, "
            "and nothing says what the least and the greatest can be; expected 0 to 1, or values without sign of 8 or "
            "16 bits. Scale it, or give an intensity window (train with --window '[LOWEST,HIGHEST]')."
        )
    if maximum is None:
        return 1.0
    if file is not None and maximum >= 2**15 - 1 and 0 < high < 2**_FEW_BITS:
        _remark_few_bits(str(file), float(maximum), high)
    return float(maximum)


def _remark_few_bits(file: str, maximum: float, high: float) -> None:
    """Say that a picture may have been made with fewer bits than it is stored with."""
    bits = next(bits for bits in (8, 10, 12, _FEW_BITS) if high < 2**bits)
    remark(
        "few bits",
        file,
        f"its values end at {high:g} of the {maximum:g} that its file can hold, so that they are scaled to 0 ... "
        f"{high / maximum:.2g}. If all pictures have {bits} bits, train with --window '[0,{2**bits - 1}]', which the "
        "model keeps.",
    )


def _volume_limits(image: torch.Tensor) -> tuple[float, float]:
    """Robust minimum and maximum of a volume; never equal."""
    values = torch.as_tensor(image).float()
    low, high = (float(percentile(values, q)) for q in _PERCENTILES)
    if low == high:  # a few voxels in a constant background
        low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else (low, max(low + 1.0, math.nextafter(low, math.inf)))
