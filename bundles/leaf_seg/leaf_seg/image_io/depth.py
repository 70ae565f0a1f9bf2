"""Pixels that use fewer bits than they are stored or decoded with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def as_indices(array: np.ndarray, bits: int) -> np.ndarray:
    """Grey values as they are stored: of 2 or 4 bits libraries make shades from 0 to 255."""
    return array // (255 // (2**bits - 1)) if bits in (2, 4) else array


def declared_maximum(array: np.ndarray, bits: int) -> float:
    """The greatest value of 16-bit pixels of which a file says that fewer bits are significant.

    PNG asks that writers spread such values over all 16 bits, which many do not: they store 12 bits as 0 to 4095. A
    file is taken as spread where its values fit that.

    Args:
        array: uint16 [H, W].
        bits: significant ones.

    Returns:
        65535 for values that are spread, 4095 for 12 bits that are not.
    """
    import numpy as np

    most = 2**bits - 1
    if bits >= 16 or (values := np.unique(array)).size == 0 or values[-1] > most:
        return 65535.0
    significant = values >> (16 - bits)
    left = significant << (16 - bits)
    filled = left | (significant >> max(2 * bits - 16, 0))
    nearest = np.rint(np.rint(values * (most / 65535)) * (65535 / most))
    return 65535.0 if any((values == spread).all() for spread in (left, filled, nearest)) else float(most)
