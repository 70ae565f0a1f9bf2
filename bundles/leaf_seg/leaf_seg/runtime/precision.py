"""Mixed precision by name, on every kind of device."""

from __future__ import annotations

import torch

from leaf_seg.runtime.errors import InputError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
AUTO = "auto"  # in inference: the fastest that pays and agrees with fp32


def check_precision(precision: str, device: torch.device) -> None:
    """Compare the name of a number format with what a device computes in.

    Raises:
        InputError: When the name is unknown, or fp16 is asked of another device than CUDA.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision is {precision!r}; expected one of {', '.join(PRECISIONS)}.")
    if precision == "fp16" and device.type != "cuda":
        raise InputError(f"precision fp16 needs a CUDA device, found {device.type}; use bf16 or fp32.")


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Autocast context for a device.

    Args:
        device: where the computation runs.
        precision: "fp32" (no autocast), "bf16", or "fp16" (CUDA only).

    Raises:
        InputError: When the name is unknown, or fp16 is asked of another device.
    """
    check_precision(precision, device)
    return torch.autocast(device.type, dtype=PRECISIONS[precision], enabled=precision != "fp32")
