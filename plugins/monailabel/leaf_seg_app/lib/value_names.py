"""What the values of a label stand for, by the label_info that came with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leaf_seg.runtime.errors import InputError
from lib.names import brief


def names_of_values(values: Sequence[int], label_info: Any, class_names: Sequence[str]) -> dict[int, str]:
    """Names by value: by "idx", or by position, as 3D Slicer may mean it.

    Slicer numbers the segments that it saves 1, 2, ... in order, but counts those that it leaves out in "idx", too. So
    its "idx" rises from 1 or more, and a list of another kind has one reading only. Of two readings, one that leaves a
    value without a name is not meant.

    Args:
        values: those of the label, without 0.
        label_info: {"name", "idx"} of each structure, as a client sent it.
        class_names: K names, background first.

    Returns:
        Names of more values than those given, maybe; of those, some may have none.

    Raises:
        InputError: For a list of another form, and where both readings name all values and differ.
    """
    by_index = _by_index(label_info)
    if by_index.get(0) in class_names[1:]:
        raise InputError(
            f"label_info is {brief(label_info)}: {by_index[0]} has the idx 0, which is the background; expected "
            "structures from 1."
        )
    indices = list(by_index)
    by_position = dict(enumerate(by_index.values(), start=1))
    may_be_slicer = indices == sorted(indices) and min(indices) >= 1
    if not may_be_slicer or not set(values) <= set(by_position):
        return by_index
    if not set(values) <= set(by_index):
        return by_position
    if any(by_position[value] != by_index[value] for value in values):
        raise InputError(
            f"label_info is {label_info!r}, and the label holds {list(values)}: it is not clear which structure is "
            "meant. Remove the segments that are no structures (such as background), and submit again."
        )
    return by_index


def _by_index(label_info: Any) -> dict[int, str]:
    """Names by "idx", in the order given."""
    if not isinstance(label_info, list) or not label_info or not all(_is_entry(entry) for entry in label_info):
        raise InputError(
            f'label_info is {brief(label_info)}; expected a list of {{"name": ..., "idx": ...}}, idx whole from 0.'
        )
    by_index = {entry["idx"]: entry["name"] for entry in label_info}
    if len(by_index) < len(label_info):
        raise InputError(f"label_info is {label_info!r}; expected another idx for each structure.")
    return by_index


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    name, index = entry.get("name"), entry.get("idx")
    return isinstance(name, str) and bool(name) and type(index) is int and index >= 0  # bool is an int, too
