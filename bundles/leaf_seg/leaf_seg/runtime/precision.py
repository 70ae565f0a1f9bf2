"""Mixed precision by name, on every kind of device."""

from __future__ import annotations

import logging
import platform

import torch

from leaf_seg.runtime.errors import InputError

logger = logging.getLogger(__name__)

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
AUTO = "auto"  # in inference: the fastest that pays and agrees with fp32


def default_precision(device: torch.device | str) -> str:
    """What a training computes in unless told: "bf16", but "fp32" on x86 processors without AVX-512, which is logged.

    Those have no instructions for bf16: a training step of the shipped model took 75 s on one that has AVX2.

    Args:
        device: of the training.
    """
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    has_no_bf16 = is_x86 and not torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    if torch.device(device).type != "cpu" or not has_no_bf16:
        return "bf16"
    logger.info("precision is fp32: this processor has no instructions for bf16, which would be far slower.")
    return "fp32"


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
