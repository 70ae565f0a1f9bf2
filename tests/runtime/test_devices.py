from __future__ import annotations

import os

import pytest
import torch

from leaf_seg.runtime.devices import select_device, set_deterministic
from leaf_seg.runtime.errors import InputError

HAS_CUDA = torch.cuda.is_available()
HAS_MPS = torch.backends.mps.is_available()


def test_cpu_is_always_there() -> None:
    assert select_device("cpu") == torch.device("cpu")


def test_auto_takes_the_fastest_device_present() -> None:
    expected = "cuda" if HAS_CUDA else "mps" if HAS_MPS else "cpu"
    device = select_device()
    assert device.type == expected
    assert torch.ones(2, device=device).sum().item() == 2


@pytest.mark.skipif(HAS_CUDA, reason="there is a CUDA device")
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_absent_cuda_is_an_error_with_a_remedy(name: str) -> None:
    with pytest.raises(InputError, match=r"(?s)'cuda.*no CUDA device.*choose auto or cpu"):
        select_device(name)


@pytest.mark.skipif(HAS_MPS, reason="there is an Apple GPU")
def test_absent_mps_is_an_error_with_a_remedy() -> None:
    with pytest.raises(InputError, match=r"'mps' was asked for.*choose auto or cpu"):
        select_device("mps")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "meta", "xpu:0"])
def test_other_names_are_errors_that_list_the_names(name: str) -> None:
    with pytest.raises(InputError, match="auto, cuda, cuda:N, mps, cpu"):
        select_device(name)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_local_rank_chooses_the_gpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    last = torch.cuda.device_count() - 1
    monkeypatch.setenv("LOCAL_RANK", str(last))
    assert select_device(name) == torch.device("cuda", last)

    monkeypatch.setenv("LOCAL_RANK", str(last + 1))
    with pytest.raises(InputError, match=f"number {last + 1} was wanted"):
        select_device(name)


@pytest.mark.gpu
def test_index_in_the_name_wins_over_local_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "7")
    assert select_device("cuda:0") == torch.device("cuda", 0)


@pytest.mark.parametrize("deterministic", [False, True])
def test_deterministic_algorithms_by_choice(deterministic: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    try:
        set_deterministic(deterministic)
        assert torch.are_deterministic_algorithms_enabled() == deterministic
        assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) == deterministic
    finally:
        torch.use_deterministic_algorithms(False)
        os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
