"""Builds the state of a module from the tensors of another layout, and leaves nothing over."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.tensors import not_finite
from leaf_seg.runtime.text import shortened

State = dict[str, torch.Tensor]

_LISTED = 8  # keys of each kind that a message names


class SourceKey(NamedTuple):
    """Where a tensor comes from.

    Attributes:
        name: key in the source.
        pick: takes the tensor out of what stands there, where that holds more than it.
    """

    name: str
    pick: Callable[[torch.Tensor], torch.Tensor] | None = None


def assemble(
    source: Mapping[str, torch.Tensor],
    shapes: Mapping[str, torch.Size],
    source_of: Callable[[str], SourceKey],
    what: str,
    ignored: Collection[str] = (),
) -> State:
    """Take every tensor of a module from a state dictionary of another layout, strictly.

    A 1x1 convolution may become a linear layer: trailing dimensions of 1 are dropped or added.

    Args:
        source: tensors by their names in the source.
        shapes: shapes that the module needs, by its own names.
        source_of: from a name of the module to where its tensor is in the source.
        what: what the source was recognised as, for the message.
        ignored: beginnings of names in the source that the module has no use for.

    Returns:
        Tensors by the module's names; where possible they share memory with the source.

    Raises:
        InputError: When keys are missing, left over, of another shape or not finite; lists them all.
    """
    state: State = {}
    missing: list[str] = []
    wrong: list[str] = []
    strange: list[str] = []
    used: set[str] = set()
    for name, shape in shapes.items():
        key = source_of(name)
        if key.name not in source:
            missing.append(key.name)
            continue
        used.add(key.name)
        tensor = source[key.name] if key.pick is None else _picked(source[key.name], key)
        if tensor is None or _without_ones(tensor.shape) != _without_ones(shape):
            found, expected = tuple(source[key.name].shape), tuple(shape)
            wrong.append(f"{key.name} (found {found}, expected {'to hold ' if key.pick else ''}{expected})")
            continue
        if not tensor.is_floating_point() or not_finite(tensor):
            strange.append(key.name)
        state[name] = tensor.reshape(shape)
    unexpected = [key for key in source if key not in used and not key.startswith(tuple(ignored))]
    if missing or unexpected or wrong or strange:
        listings = (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", wrong),
            ("with values that are not finite floating-point numbers", strange),
        )
        raise InputError(_misfit(what, "".join(_listing(kind, keys) for kind, keys in listings)))
    return state


def _misfit(what: str, fault: str) -> str:
    return (
        f"The weights were recognised as {what}, but they do not fit it.{fault} Use the complete, unchanged file of "
        "the authors."
    )


def shape_of(source: Mapping[str, torch.Tensor], key: str, what: str, rank: int) -> torch.Size:
    """Shape of a tensor that must be there, with so many dimensions.

    Raises:
        InputError: When it is not.
    """
    if key in source and source[key].ndim == rank:
        return source[key].shape
    fault = (
        _listing("of another shape", [f"{key} (found {tuple(source[key].shape)}, expected {rank} dimensions)"])
        if key in source
        else _listing("missing", [key])
    )
    raise InputError(_misfit(what, fault))


@contextmanager
def building(what: str) -> Iterator[None]:
    """Turn it into an InputError when a network of the shapes that were found cannot be."""
    try:
        with torch.device("meta"):
            yield
    except (ValueError, IndexError, TypeError, ZeroDivisionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(_misfit(what, f" No such network can be built ({error}).")) from error


def last_number_after(keys: Collection[str], prefix: str) -> int:
    """The largest number that follows a prefix in the keys; -1 where none does.

    Raises:
        InputError: When it is one that no network has, of which so many parts would be built.
    """
    pattern = re.compile(re.escape(prefix) + r"(\d+)\.")
    numbers = [match[1] for match in map(pattern.match, keys) if match]
    largest = max(numbers, key=lambda number: (len(number), number), default="-1")
    if len(largest) > 2:
        raise InputError(f"The weights name {prefix}{largest[:20]}; expected the names of a network of fewer parts.")
    return int(largest)


def _picked(tensor: torch.Tensor, key: SourceKey) -> torch.Tensor | None:
    """What is picked out of a tensor; None where it is too unlike what is expected for that."""
    assert key.pick is not None
    try:
        return key.pick(tensor)
    except (RuntimeError, IndexError):
        return None


def _without_ones(shape: torch.Size) -> tuple[int, ...]:
    """The shape without dimensions of 1 at its end."""
    sizes = list(shape)
    while len(sizes) > 1 and sizes[-1] == 1:
        sizes.pop()
    return tuple(sizes)


def _listing(kind: str, keys: Collection[str]) -> str:
    if not keys:
        return ""
    distinct = dict.fromkeys(keys)
    return f" {len(distinct)} {kind}: {shortened(distinct, _LISTED)}."
