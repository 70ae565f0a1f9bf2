"""Checks that an image and its label belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import convert_to_tensor

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import printable
from leaf_seg.transforms.mask_value import FULL_SCALES
from leaf_seg.transforms.same_grid import distance, in_order_of, tolerance

_MOST_LISTED = 8  # values in a message
_PART = 2**22  # values that are compared at a time


class CheckPair(MapTransform):
    """Check that an image and its label belong together and that the label holds classes only.

    A label of the image's own voxels in another order, as LPS beside RAS, is brought into the image's order; nothing
    else is changed.

    Args:
        keys: the image's key and the label's.
        num_classes: K, background included; labels are 0 .. K - 1.
        class_names: names of the classes for messages, background first.

    Raises:
        InputError: When spatial shapes differ, when volumes lie apart by more than headers are rounded (see
            :mod:`leaf_seg.transforms.same_grid`), or when label values are not whole or not in 0 .. K - 1.
    """

    def __init__(
        self,
        keys: KeysCollection = ("image", "label"),
        *,
        num_classes: int,
        class_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__(keys)
        if len(self.keys) != 2:
            raise ValueError(f"CheckPair takes two keys, the image's and the label's, not {self.keys}.")
        self.num_classes = num_classes
        self.class_names = class_names

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """Check the MetaTensors image [C, *spatial] and label [1, *spatial] of ``data``."""
        image = data[self.keys[0]]
        label = in_order_of(image, data[self.keys[1]])
        pair = f"Image {_file_name(image)} and label {_file_name(label)}"
        if image.shape[1:] != label.shape[1:]:
            raise InputError(
                f"{pair}: sizes {_size(image)} and {_size(label)}; expected the same size. Check that the two belong "
                "together, and resample the label onto the image with nearest neighbours."
            )
        if len(label) != 1:
            raise InputError(f"{pair}: the label has {len(label)} channels; expected class numbers in one.")
        if image.ndim == 4:
            _check_affines(image, label, pair)
        self._check_values(label, pair)
        return {**data, self.keys[1]: label}

    def _check_values(self, label: torch.Tensor, pair: str) -> None:
        """Raise unless every value of the label is the number of a class."""
        label = convert_to_tensor(label, track_meta=False)
        low, high = label.aminmax()
        if low < 0 or high >= self.num_classes or not _are_whole(label):
            values = torch.unique(label)
            more = f", ... ({len(values)} in all)" if len(values) > _MOST_LISTED else ""
            listed = ", ".join(f"{value:g}" for value in values[:_MOST_LISTED].tolist()) + more
            raise InputError(
                f"{pair}: the label holds the values {listed}; expected {self._expected_values()}. "
                f"{_label_remedy(values, self.num_classes)}"
            )

    def _expected_values(self) -> str:
        """The classes by number, with their names where known."""
        if self.class_names is None:
            return f"whole numbers 0 to {self.num_classes - 1} ({self.num_classes} classes with the background)"
        return ", ".join(f"{number} ({name})" for number, name in enumerate(self.class_names))


def _check_affines(image: torch.Tensor, label: torch.Tensor, pair: str) -> None:
    """Raise when two volumes lie differently in space."""
    apart, allowed = distance(image, label), tolerance(image)
    if not apart <= allowed:
        raise InputError(
            f"{pair}: affine matrices that place their corners up to {apart:.4g} mm apart; expected the same within "
            f"{allowed:.2g} mm. Resample the label onto the image, or copy the image's header to the label if only the "
            "header is wrong."
        )


def _are_whole(label: torch.Tensor) -> bool:
    """Whether all values are whole numbers; part by part, since each comparison is a copy."""
    return all(bool((part == part.round()).all()) for part in label.flatten().split(_PART))


def _label_remedy(values: torch.Tensor, num_classes: int) -> str:
    """What to do about label values, in ascending order, that are not classes."""
    if not _are_whole(values):
        return "Fractions come from resampling with interpolation: use nearest neighbours."
    if values[0] < 0:
        return "Negative values are often an 'ignore' mark: set them to 0, the background, or to a class."
    if len(values) == 2 and values[0] == 0:
        store = f"A mask stored as 0 and {values[1]:.0f}: store it as 0 and 1 (or train with more --num_classes)."
        return store if num_classes == 2 else f"{store} Masks of 0 and 255 are read where there are two classes."
    if values[0] == 0 and values[-1] in FULL_SCALES and len(values) > num_classes + 1:
        return "Grey edges come from resampling or smoothing: resample with nearest neighbours, or set a threshold."
    if values[-1] == 255 and values[-2] < num_classes:
        return "255 is often an 'ignore' mark: set it to 0, the background, or to a class."
    if len(values) <= values[-1] / 2:
        return "Renumber the classes 0, 1, 2, ...; if the label was saved as JPEG, save it as PNG, JPEG changes values."
    return f"Train with --num_classes {int(values[-1]) + 1}, or correct the label."


def _file_name(image: torch.Tensor) -> str:
    """Path of the file that the image was read from."""
    return printable(image.meta.get("filename_or_obj", "in memory")) if isinstance(image, MetaTensor) else "in memory"


def _size(image: torch.Tensor) -> str:
    """Spatial size as text: ``120 x 118``."""
    return " x ".join(map(str, image.shape[1:]))
