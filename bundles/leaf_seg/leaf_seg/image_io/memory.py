"""How much memory reading an image may take, judged by its header."""

from __future__ import annotations

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.values import check_number

GIGABYTE = 10**9
# Lets a colour picture of 200 megapixels and a volume of 900 million voxels pass.
DEFAULT_MEMORY_LIMIT_GB = 8.0
FLOAT_BYTES = 8  # of a value: as float32, and once more scaled


def memory_limit_bytes(limit_gb: float | None) -> float:
    """Bytes of the key ``memory_limit_gb``; None is no limit, for files that have been judged before.

    Raises:
        InputError: Unless it is a number above 0.
    """
    if limit_gb is None:
        return float("inf")
    check_number(limit_gb, "memory_limit_gb", "a number of gigabytes above 0", lambda value: 0 < value < float("inf"))
    return limit_gb * GIGABYTE


def check_memory(needed: int, what: str, limit: float) -> None:
    """Refuse what would take more memory than is allowed.

    Args:
        needed: bytes.
        what: takes them, for the message.
        limit: bytes.

    Raises:
        InputError: Says how much it would be, and the key.
    """
    if needed > limit:
        raise InputError(
            f"{what} would take about {needed / GIGABYTE:.3g} GB of memory, and memory_limit_gb is "
            f"{limit / GIGABYTE:.3g}. Make the image smaller, correct its header, or set memory_limit_gb higher."
        )
