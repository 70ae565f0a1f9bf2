"""Packages whose names are imported when they are asked for."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

PACKAGES = ["leaf_seg.image_io", "leaf_seg.metrics"]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_is_there(package: str) -> None:
    module = import_module(package)
    for name in module.__all__:
        first = getattr(module, name)
        assert vars(module)[name] is first, "found without __getattr__ the next time"
        assert getattr(first, "__module__", package).startswith(package)


@pytest.mark.parametrize("package", PACKAGES)
def test_other_names_are_not(package: str) -> None:
    with pytest.raises(AttributeError, match=rf"module '{package}' has no attribute 'nonsense'"):
        import_module(package).nonsense  # noqa: B018


def test_a_name_brings_no_other_module() -> None:
    program = "import sys; from leaf_seg.image_io import case_name; print('leaf_seg.image_io.writing' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
