"""Whether an override, of the command line or of an overlay, fits the config that it changes."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from monai.bundle.config_item import ConfigComponent

from leaf_seg.runtime.arguments import Arguments, arguments_of, find_target, handed_on
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.references import Path, items, references, split_key
from leaf_seg.runtime.setting_bounds import SETTINGS
from leaf_seg.runtime.text import one_line, shortened
from leaf_seg.runtime.value_kinds import described, is_of, kinds_like, kinds_of_annotation, with_fractions
from leaf_seg.runtime.values import is_built_later


def check_item(
    config: Mapping[str, Any], key: str, value: Any, where: str, referred: Collection[Path] | None = None
) -> None:
    """Refuse an override of something that is not there, or whose value is of another type.

    A key that is not there may be an argument that the part takes: of the class or function that ``_target_`` names.
    What cannot be known passes, and so does an expression as the value.

    Args:
        config: that is changed, its expressions unevaluated.
        key: such as ``train#trainer#max_epochs``.
        value: for it.
        where: what has the config's keys, for the message.
        referred: paths that something refers to, of the config when all has been merged; its own unless given.

    Raises:
        InputError: Names the key and the nearest that is there, or what was found and what is expected.
    """
    path = split_key(key)
    parent = _parent(config, path, where)
    if len(path) > 1 and not isinstance(parent, list) and path[-1] not in parent:
        _check_addition(config, path, parent, where, references(config) if referred is None else referred)
    _check_kind(config, path, parent, value)
    if isinstance(value, Mapping):
        known = arguments_of(value["_target_"]) if "_target_" in value else handed_on(config, path)
        for name in value:
            if known is not None and name not in known and name not in ConfigComponent.non_arg_keys:
                raise InputError(f"no key {f'{key}#{name}'!r}{_nearest(name, (key,), known)} Correct it.")


def _parent(config: Mapping[str, Any], path: Path, where: str) -> Any:
    """What the last name of a path belongs to: a dictionary, or a list that is long enough."""
    item: Any = config
    for depth, name in enumerate(path):
        before = "#".join(path[:depth])
        if isinstance(item, list):
            if not name.lstrip("-").isdigit() or not -len(item) <= int(name) < len(item):
                there = f"0 to {len(item) - 1}" if item else "nothing"
                raise InputError(f"no key {'#'.join(path)!r} in {where}: {before} is a list with {there}. Correct it.")
        elif not isinstance(item, Mapping):
            found = one_line(repr(item), 80)
            raise InputError(f"no key {'#'.join(path)!r} in {where}: {before} is {found}, without parts. Correct it.")
        elif name not in item and depth < len(path) - 1:
            raise InputError(f"no key {'#'.join(path)!r} in {where}{_nearest(name, path[:depth], item)} Correct it.")
        if depth == len(path) - 1:
            return item
        item = item[int(name) if isinstance(item, list) else name]
    return item


def _check_addition(
    config: Mapping[str, Any], path: Path, parent: Mapping[str, Any], where: str, referred: Collection[Path]
) -> None:
    """Whether a part or a dictionary can make something of a key that it does not have."""
    name, known = path[-1], _arguments_at(config, path[:-1], parent)
    if name == "_target_" or ("_target_" in parent and name in ConfigComponent.non_arg_keys):
        return
    if known is None and ("_target_" in parent or _is_handed_over(config, path, referred)):
        return
    if name in (known or ()) or path in referred:
        return
    there = {*parent, *(known or ())}
    raise InputError(f"no key {'#'.join(path)!r} in {where}{_nearest(name, path[:-1], there)} Correct it.")


def _arguments_at(config: Mapping[str, Any], path: Path, parent: Any) -> Arguments | None:
    if not isinstance(parent, Mapping):
        return None
    return arguments_of(parent["_target_"]) if "_target_" in parent else handed_on(config, path)


def _is_handed_over(config: Mapping[str, Any], path: Path, referred: Collection[Path]) -> bool:
    """Whether something gets the dictionary around an item as a whole: its keys are free."""
    parts = {where for where, part in items(config) if isinstance(part, Mapping) and "_target_" in part}
    return any(path[:depth] in parts or path[:depth] in referred for depth in range(1, len(path)))


def _check_kind(config: Mapping[str, Any], path: Path, parent: Any, value: Any) -> None:
    key = "#".join(path)
    if path[-1] == "_target_" and find_target(value) is None and not is_built_later(value):
        raise InputError(f"{key} is {one_line(repr(value), 80)}; expected the path of a class or function. Correct it.")
    if path[-1].startswith("_") or key in SETTINGS:  # of which the table tells more
        return
    now = parent[int(path[-1])] if isinstance(parent, list) else parent.get(path[-1])
    arguments = _arguments_at(config, path[:-1], parent) or {}
    target = parent.get("_target_") if isinstance(parent, Mapping) else None
    if str(target).startswith("leaf_seg.") and isinstance(now, str) and now.removeprefix("@") in SETTINGS:
        if not is_built_later(value):
            SETTINGS[now.removeprefix("@")].check(value, key)
        return
    kinds = kinds_of_annotation(arguments[path[-1]]) if path[-1] in arguments else None
    kinds = (kinds if target else with_fractions(kinds)) or kinds_like(_followed(config, now))
    if kinds is not None and not is_of(value, kinds):
        found = one_line(repr(value), 80)
        raise InputError(f"{key} is {found}; expected {described(kinds)}. Correct it, or write an expression, '$...'.")


def _followed(config: Mapping[str, Any], value: Any) -> Any:
    """What a reference names, itself not a reference; expressions and unknown ones as they are."""
    seen: set[str] = set()
    while isinstance(value, str) and value.startswith("@") and value not in seen:
        seen.add(value)
        item: Any = config
        for name in split_key(value[1:]):
            item = item.get(name) if isinstance(item, Mapping) else None
        value = value if item is None else item
    if seen and isinstance(value, Mapping) and "_target_" in value and "default" in value:
        return value["default"]  # a part that chooses a value, of the kind of the one that it has without a choice
    return value


def _nearest(name: str, path: Path, there: Collection[str]) -> str:
    """The key most like a name, or all that there are."""
    found = difflib.get_close_matches(name, there, n=1)
    if found:
        return f"; did you mean {'#'.join((*path, found[0]))!r}?"
    return f"; {'#'.join(path)} has {shortened(sorted(key for key in there if not key.startswith('_')))}."
