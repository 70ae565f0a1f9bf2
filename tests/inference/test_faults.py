"""Which errors are an image's fault; the errors are real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.transforms import Compose

from leaf_seg.inference.faults import fault_of, memory_fault_of
from leaf_seg.runtime.errors import InputError


def error_of(function: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        Compose([lambda _: function()])(0)  # which wraps it
    return caught.value


def refuse() -> None:
    raise InputError("a.png: found\none thing")


@pytest.mark.parametrize("allocate", [lambda: np.ones(10**15), lambda: torch.ones(10**15)], ids=["numpy", "torch"])
def test_memory(allocate: Callable[[], object]) -> None:
    for fault in (fault_of, memory_fault_of):
        reason = fault(error_of(allocate), "a.png")
        assert reason is not None
        assert reason.startswith("a.png: there is not enough memory")
        assert "\n" not in reason


def test_input_and_reading(tmp_path: Path) -> None:
    assert fault_of(error_of(refuse), "a.png") == "a.png: found one thing"
    reading = error_of((tmp_path / "a.png").read_bytes)
    assert str(fault_of(reading, "a.png")).startswith("a.png: cannot be read (No such file or directory)")
    assert memory_fault_of(error_of(refuse), "a.png") is None
    assert memory_fault_of(reading, "a.png") is None


def test_faults_of_the_program_are_none_of_the_image() -> None:
    assert fault_of(error_of(lambda: [][0]), "a.png") is None
    assert fault_of(error_of(lambda: torch.ones(2) @ torch.ones(3)), "a.png") is None
