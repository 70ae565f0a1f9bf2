"""The device to compute on."""

from __future__ import annotations

import os

import torch

from leaf_seg.runtime.errors import InputError


def select_device(name: str = "auto") -> torch.device:
    """Return the device of that name, or the fastest one present.

    Args:
        name: ``"auto"`` (cuda, else mps, else cpu), ``"cpu"``, ``"mps"``, ``"cuda"`` or ``"cuda:N"``. ``"cuda"`` and
            ``"auto"`` take the GPU of the process's ``LOCAL_RANK`` where torchrun has set one.

    Raises:
        InputError: For an unknown name, and for a device that this machine or this PyTorch lacks.
    """
    if name == "auto":
        name = _fastest_present()
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"{name!r} is no device: give one of auto, cuda, cuda:N, mps, cpu.") from error

    if device.type == "cuda":
        return _cuda_device(device)
    if device.type == "mps":
        if not torch.backends.mps.is_available():
            raise _absent(name, "no Apple GPU that this PyTorch can use")
        return device
    if device.type == "cpu":
        return device
    raise InputError(f"{name!r} is not supported: give one of auto, cuda, cuda:N, mps, cpu.")


def set_deterministic(deterministic: bool) -> None:
    """Let CUDA compute the same bits in every run, at a price in speed; a CPU does so anyway.

    PyTorch raises an error at an operation that has no deterministic algorithm.

    Args:
        deterministic: False leaves PyTorch as it is.
    """
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
        torch.use_deterministic_algorithms(True)


def _fastest_present() -> str:
    """Name of the fastest kind of device that is present."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _cuda_device(device: torch.device) -> torch.device:
    """The CUDA device with its index filled in and checked."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = int(os.environ.get("LOCAL_RANK", "0")) if device.index is None else device.index
    if index >= count:
        found = f"{count} CUDA device(s), and number {index} was wanted" if count else "no CUDA device"
        raise _absent(str(device), found)
    return torch.device("cuda", index)


def _absent(name: str, found: str) -> InputError:
    """The error for a device that was asked for and is not there."""
    return InputError(
        f"The device {name!r} was asked for, but PyTorch {torch.__version__} finds {found}: choose auto or cpu "
        "(--device_name of the configs, --device of python -m leaf_seg), or install a PyTorch built for the device and "
        "its driver."
    )
