"""What a program or a saved config of version 0.1 names ends with an error that says where it is now."""

from __future__ import annotations

import importlib
import re

import pytest

from leaf_seg import moved

NAMES = [(module, name) for module, names in moved.NAMES.items() for name in names]


@pytest.mark.parametrize("old", moved.MODULES)
def test_module(old: str) -> None:
    with pytest.raises(ImportError, match=re.escape(f"{old} is {moved.MODULES[old]} since version 0.2")):
        importlib.import_module(old)


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_name(module: str, name: str) -> None:
    with pytest.raises(ImportError, match=re.escape(f"{module}.{name} is {moved.NAMES[module][name]} since")):
        getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("new", [*moved.MODULES.values(), *(moved.NAMES[module][name] for module, name in NAMES)])
def test_the_new_one_is_there(new: str) -> None:
    for path in re.findall(r"leaf_seg(?:\.\w+)*", new):
        room, _, name = path.rpartition(".")
        if name[:1].isupper():
            assert hasattr(importlib.import_module(room), name)
        elif room:
            assert importlib.import_module(room if name == "list_images" else path)


def test_other_names_fail_as_ever() -> None:
    with pytest.raises(AttributeError, match=r"module 'leaf_seg\.engines' has no attribute 'Nonsense'"):
        _ = importlib.import_module("leaf_seg.engines").Nonsense
    with pytest.raises(ModuleNotFoundError, match=r"leaf_seg\.nonsense"):
        importlib.import_module("leaf_seg.nonsense")
