"""What a calibration has found of how far a model's answers can be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leaf_seg.runtime.bounds import Bounds, check_bounds
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.setting_bounds import ACCEPTABLE_DICE, LOOK_AT, SIZE_MARGINS
from leaf_seg.runtime.text import one_line

_BOUNDS: Bounds = {"size_margins": SIZE_MARGINS, "look_at": LOOK_AT, "acceptable_dice": ACCEPTABLE_DICE}


@dataclass(frozen=True)
class ConfidenceSettings:
    """Numbers that ``python -m leaf_seg calibrate`` takes from the validation split; saved with a model's settings.

    Attributes:
        look_at: expected Dice, mean over the structures, 0 to 1: somebody should look at a case that has no more.
        acceptable_dice: Dice below which a case of the validation split was a bad one, 0 to 1.
        size_margins: of each structure in the order of the classes the margin of its size, on the scale of
            :func:`~leaf_seg.metrics.conformal.size_error`; None where the split had too few cases.

    Raises:
        InputError: For values that are nothing of the kind.
    """

    look_at: float
    acceptable_dice: float
    size_margins: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        values = {"size_margins": self.size_margins, "look_at": self.look_at, "acceptable_dice": self.acceptable_dice}
        check_bounds(values, _BOUNDS, "confidence: ")
        if self.size_margins is not None:
            object.__setattr__(self, "size_margins", tuple(self.size_margins))

    def is_low(self, expected_dice: Sequence[float]) -> bool:
        """Whether somebody should look at a case of which that is expected, structure by structure; so also of nan."""
        mean = sum(expected_dice) / len(expected_dice)
        return math.isnan(mean) or mean <= self.look_at


def confidence_settings(values: Any, num_structures: int) -> ConfidenceSettings | None:
    """The settings from what ``config.json`` holds of them.

    Args:
        values: by name; or such settings; or None, of a model that is not calibrated.
        num_structures: of the model, without background.

    Raises:
        InputError: When they are not whole, or have another number of structures.
    """
    if values is None:
        return None
    if isinstance(values, Mapping):
        if not {"look_at", "acceptable_dice"} <= values.keys() <= _BOUNDS.keys():
            raise InputError(
                f"confidence has {one_line(list(values), 80)}; expected {', '.join(_BOUNDS)}: run calibrate again."
            )
        values = ConfidenceSettings(**values)
    if not isinstance(values, ConfidenceSettings):
        raise InputError(f"confidence is {one_line(repr(values), 80)}; expected what calibrate keeps, or null.")
    if values.size_margins is not None and len(values.size_margins) != num_structures:
        raise InputError(
            f"confidence: size_margins has {len(values.size_margins)} numbers; expected {num_structures}, one for each "
            "structure: run calibrate again."
        )
    return values
