"""Which arguments the parts that a config names take."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pydoc import ErrorDuringImport, locate
from typing import Any

from monai.bundle.config_item import ComponentLocator, ConfigComponent

from leaf_seg.runtime.references import Path, items, split_key

Arguments = Mapping[str, Any]  # annotations by the names of the arguments

# Arguments that are dictionaries of arguments themselves: of which classes, and what else may stand there.
_HANDED_ON: dict[tuple[str, str], tuple[tuple[str, ...], tuple[str, ...]]] = {
    ("leaf_seg.weights.initial_segmenter", "unet_config"): (
        ("diffusers.UNet2DModel",),
        ("num_attention_heads", "_class_name"),
    ),
    ("leaf_seg.networks.initial_autoencoder", "config"): (
        ("diffusers.AutoencoderKL", "diffusers.AutoencoderTiny", "diffusers.VQModel"),
        ("_class_name",),
    ),
}

# Modules whose classes hand on ``**kwargs`` to the base class's constructor, and to nothing else.
_WITH_HANDED_ON = ("leaf_seg.", "monai.data.dataloader")


def find_target(target: Any) -> Callable[..., Any] | None:
    """The class or function that a ``_target_`` names; None for an expression, and where there is none."""
    if not isinstance(target, str) or target.startswith(("$", "@", "%")):
        return None
    if "." not in target:
        target = ConfigComponent({"_target_": target}, locator=ComponentLocator()).resolve_module_name()
    try:
        found = locate(target)
    except ErrorDuringImport:
        return None
    return found if callable(found) else None


def arguments_of(target: Any) -> Arguments | None:
    """Arguments that a ``_target_`` takes by name; None where that cannot be known, as with another's ``**kwargs``."""
    function = find_target(target)
    return None if function is None else _arguments(function)


def handed_on(config: Any, path: Path) -> Arguments | None:
    """Arguments that the dictionary at a path stands for, where a part of the config hands it on as such."""
    for where, part in items(config):
        if not isinstance(part, Mapping) or not isinstance(part.get("_target_"), str):
            continue
        for (target, name), (classes, others) in _HANDED_ON.items():
            if part["_target_"] == target and name in part and path in (_referred(part[name]), (*where, name)):
                known = [arguments_of(kind) or {} for kind in classes]
                return {key: hint for arguments in known for key, hint in arguments.items()} | dict.fromkeys(others)
    return None


def _referred(value: Any) -> Path | None:
    return split_key(value[1:]) if isinstance(value, str) and value.startswith("@") else None


def _arguments(function: Callable[..., Any]) -> Arguments | None:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of C
        return None
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    own = {item.name: _evaluated(item.annotation, function) for item in parameters if item.kind in by_name}
    if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return own
    base = _base_of(function)
    inherited = None if base is None else _arguments(base)
    return None if inherited is None else {**inherited, **own}


def _evaluated(annotation: Any, function: Callable[..., Any]) -> Any:
    """What an annotation that is text stands for; itself where a name in it is known to type checkers only."""
    if not isinstance(annotation, str):
        return annotation
    code = inspect.unwrap(vars(function).get("__init__", function) if inspect.isclass(function) else function)
    try:
        return eval(annotation, dict(getattr(code, "__globals__", {})))
    except Exception:  # whatever the text, which is evaluated, may raise
        return annotation


def _base_of(function: Callable[..., Any]) -> type | None:
    """The class to whose constructor a class hands on ``**kwargs``; None for those that may do anything with theirs."""
    if not inspect.isclass(function) or not function.__module__.startswith(_WITH_HANDED_ON):
        return None
    with_constructor = [kind for kind in function.__mro__[:-1] if "__init__" in vars(kind)]
    return with_constructor[1] if len(with_constructor) > 1 else None
