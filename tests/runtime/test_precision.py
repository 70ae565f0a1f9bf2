from __future__ import annotations

import warnings

import pytest
import torch

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.precision import autocast, default_precision

CPU = torch.device("cpu")


def product(precision: str) -> torch.Tensor:
    matrix = torch.randn(4, 4)
    with autocast(CPU, precision):
        return matrix @ matrix


def test_bf16_computes_in_bf16() -> None:
    assert product("bf16").dtype == torch.bfloat16


def test_fp32_switches_autocast_off_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert product("fp32").dtype == torch.float32
        with autocast(CPU, "bf16"):
            assert product("fp32").dtype == torch.float32


def test_fp16_needs_cuda() -> None:
    for device in ("cpu", "mps"):
        with pytest.raises(InputError, match=f"needs a CUDA device, found {device}; use bf16 or fp32"):
            autocast(torch.device(device), "fp16")


def test_unknown_name() -> None:
    with pytest.raises(InputError, match="'half'; expected one of fp32, bf16, fp16"):
        autocast(CPU, "half")


@pytest.mark.parametrize(
    ("device", "machine", "capability", "expected"),
    [
        ("cpu", "x86_64", "AVX2", "fp32"),
        ("cpu", "x86_64", "AVX512", "bf16"),
        ("cpu", "arm64", "DEFAULT", "bf16"),
        ("cuda", "x86_64", "AVX2", "bf16"),
    ],
)
def test_what_is_computed_in_unless_told(
    device: str, machine: str, capability: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: capability)
    assert default_precision(device) == expected
