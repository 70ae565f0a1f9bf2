"""Of which type the value of an override has to be, where that can be known."""

from __future__ import annotations

import inspect
import types
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Union, get_args, get_origin

from leaf_seg.runtime.values import is_built_later

Kinds = frozenset[str]

_SWITCH, _WHOLE, _NUMBER, _TEXT = "True or False", "a whole number", "a number", "text"
_NULL, _LIST, _DICTIONARY = "null", "a list", "a dictionary"
_OF_TYPE: dict[Any, str] = {
    **{bool: _SWITCH, int: _WHOLE, float: _NUMBER, str: _TEXT, type(None): _NULL},
    **dict.fromkeys((list, tuple, Sequence), _LIST),
    **dict.fromkeys((dict, Mapping), _DICTIONARY),
}


def kinds_of_annotation(annotation: Any) -> Kinds | None:
    """Kinds of values that a parameter's annotation allows; None where it allows or may allow others."""
    if annotation is inspect.Parameter.empty:
        return None
    is_union = get_origin(annotation) in (Union, types.UnionType)
    members = get_args(annotation) if is_union else (annotation,)
    kinds = [_OF_TYPE.get(kind) if isinstance(kind, Hashable) else None for kind in map(_class_of, members)]
    known = frozenset(kind for kind in kinds if kind is not None)
    return known if len(known) == len(set(kinds)) else None


def kinds_like(value: Any) -> Kinds | None:
    """Kinds of values that can replace a config's value; None where it does not tell. Null can, it often means none."""
    if isinstance(value, Mapping):
        kinds = {_DICTIONARY, _LIST} if "_target_" in value else {_DICTIONARY}
    elif isinstance(value, (list, tuple)):  # MONAI often takes one instead of several
        alone = {_TEXT: any(isinstance(item, str) for item in value), _NUMBER: any(map(_is_number, value))}
        kinds = {_LIST, *(kind for kind, is_there in alone.items() if is_there)}
    elif isinstance(value, bool):
        kinds = {_SWITCH}
    elif _is_number(value):
        kinds = {_NUMBER, _LIST}
    else:
        return None
    return frozenset({*kinds, _NULL})


def is_of(value: Any, kinds: Kinds) -> bool:
    """Whether a value is of one of some kinds, or one that is known only later."""
    if is_built_later(value):
        return True
    found = next((kind for type_, kind in _OF_TYPE.items() if isinstance(value, type_)), None)
    return found in kinds or (found == _WHOLE and _NUMBER in kinds)


def with_fractions(kinds: Kinds | None) -> Kinds | None:
    """With any number where there are whole ones, for who says ``int`` and takes others."""
    return kinds | {_NUMBER} if kinds is not None and _WHOLE in kinds else kinds


def described(kinds: Kinds) -> str:
    """Kinds in words: ``a number or null``."""
    order = [kind for kind in dict.fromkeys(_OF_TYPE.values()) if kind in kinds and kind != _NULL]
    order = [kind for kind in order if kind != _WHOLE or _NUMBER not in kinds]
    return " or ".join([*order, *({_NULL} & kinds)])


def _class_of(annotation: Any) -> Any:
    return get_origin(annotation) or annotation


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
