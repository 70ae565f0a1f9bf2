"""Packages that import their names when they are first asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def names_from(package: str, modules: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """A package's ``__getattr__`` that imports a name from the module that has it.

    So a program that needs one module of a package does not wait for the libraries of the others. Type checkers do not
    see through it: a package also imports its names under ``if TYPE_CHECKING``.

    Args:
        package: full name of the package.
        modules: names that each of its modules gives to the package.
    """
    module_of = {name: module for module, names in modules.items() for name in names}

    def getattr_(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{module_of[name]}"), name)
        setattr(sys.modules[package], name, value)  # the next time Python finds it there
        return value

    return getattr_
