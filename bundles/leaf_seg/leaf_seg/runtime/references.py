"""What the values of a config refer to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from monai.bundle import ConfigParser
from monai.bundle.reference_resolver import ReferenceResolver

Path = tuple[str, ...]


def split_key(key: str) -> Path:
    """Names on the way to an item: ``train#trainer`` and ``train::trainer`` -> ``("train", "trainer")``."""
    return tuple(ReferenceResolver.split_id(key))


def items(config: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Everything in a config that is not merged: its paths, and the values there."""
    yield path, config
    if isinstance(config, Mapping):
        for key, value in config.items():
            yield from items(value, path + split_key(key.removeprefix("+")))
    elif isinstance(config, (list, tuple)):
        for index, value in enumerate(config):
            yield from items(value, (*path, str(index)))


def references(config: Any) -> set[Path]:
    """What is referred to as ``@key``, in expressions too, or as ``%key``; other files are not looked into."""
    found: set[Path] = set()
    for path, value in items(config):
        if not isinstance(value, str) or not value.startswith(("@", "$", "%")):
            continue
        value = ConfigParser.resolve_relative_ids(ReferenceResolver.sep.join(path), value)
        if value.startswith("%"):
            file, key = ConfigParser.split_path_id(value[1:])
            found |= set() if file else {split_key(key)}
        else:
            found |= {split_key(key) for key in ReferenceResolver.match_refs_pattern(value)}
    return found
