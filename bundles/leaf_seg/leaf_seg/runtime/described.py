"""Objects that a saved model describes by the name of their class and plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self, TypeVar

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import one_line

CLASS_KEY = "_class_name"  # diffusers' key


class Described(Protocol):
    """What can be built again from plain values."""

    @property
    def config(self) -> dict[str, Any]:
        """Plain values from which :meth:`from_config` builds the same."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build from :attr:`config`."""


T = TypeVar("T", bound=Described)


def describe(thing: Described) -> dict[str, Any]:
    """Class name and plain values."""
    return {CLASS_KEY: type(thing).__name__, **thing.config}


def build(description: Mapping[str, Any], kinds: Mapping[str, type[T]]) -> T:
    """Build what :func:`describe` has described.

    Args:
        description: class name and plain values.
        kinds: classes by their names.

    Raises:
        InputError: When the class is not one of them.
    """
    name = described_class(description, kinds)
    return kinds[name].from_config({key: value for key, value in description.items() if key != CLASS_KEY})


def described_class(description: Mapping[str, Any], kinds: Mapping[str, Any]) -> str:
    """The name of the class that a description gives.

    Raises:
        InputError: When it is none of the kinds.
    """
    name = as_mapping(description).get(CLASS_KEY)
    if not isinstance(name, str) or name not in kinds:
        raise InputError(
            f"The class {one_line(repr(name), 80)} is not known; this version of leaf_seg has {', '.join(kinds)}. Use "
            "the version that trained the model; a class of your own has to stand in networks/parts.py or "
            "networks/registry.py."
        )
    return name


def as_mapping(description: Any) -> Mapping[str, Any]:
    """A description, if it is one.

    Raises:
        InputError: When it is something else.
    """
    if not isinstance(description, Mapping):
        raise InputError(f"Found {one_line(repr(description), 80)}; expected a part by {CLASS_KEY} and its arguments.")
    return description
