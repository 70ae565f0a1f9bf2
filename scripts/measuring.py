"""What the benchmarks share: how one runs, sizes of the paper's networks, how time, memory and rates are measured."""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from leaf_seg.runtime.errors import InputError

CONFIGS = Path(__file__).resolve().parents[1] / "bundles" / "leaf_seg" / "configs"
AUTOENCODER = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "scaling_factor": 0.18215,
}
SMALL_AUTOENCODER = {"block_out_channels": (32, 32, 32, 32), "layers_per_block": 1}  # of a rehearsal
SMALL_UNET = {"block_out_channels": (32, 32, 32, 64, 64), "layers_per_block": 1, "attention_head_dim": 16}
SCHEDULE = {"beta_start": 0.0015, "beta_end": 0.0155, "beta_schedule": "linear", "clip_sample": False}

_MATRIX, _SMALL_MATRIX = 2048, 256  # side of the products that measure the device's rate
_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # Linux alone has them


def run_benchmark(
    work: Callable[[argparse.Namespace], None], options: argparse.Namespace, logger: logging.Logger
) -> int:
    """Do the work of a benchmark, on as many threads as its options say; the exit code, 2 for bad input."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    logger.setLevel(logging.INFO)
    torch.set_num_threads(options.threads)
    try:
        work(options)
    except InputError as error:
        logger.error("benchmark: %s", error)
        return 2
    return 0


def autoencoder_config(small: bool) -> dict[str, Any]:
    """Arguments of AutoencoderKL: kl-f8, or of a rehearsal."""
    return AUTOENCODER | (SMALL_AUTOENCODER if small else {})


def unet_config(small: bool, dropout: float = 0.0) -> dict[str, Any]:
    """Arguments for ``build_conditional_unet``: of the profile, or of a rehearsal."""
    profile = json.loads((CONFIGS / "profiles" / "ldm_kl8.json").read_text())["unet_config"]
    return profile | {"dropout": dropout} | (SMALL_UNET if small else {})


def now(device: torch.device) -> float:
    """Seconds of this process's CPU time, or of wall time on a GPU that has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() if device.type != "cpu" else time.process_time()


def held_memory(device: torch.device) -> int | None:
    """Bytes of the GPU, or of the machine, that this process has; on a CPU only where Linux tells."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else _of_process("VmRSS")


def peak_memory(device: torch.device) -> int | None:
    """The most of these since :func:`forget_peak`."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _of_process("VmHWM")


def forget_peak(device: torch.device) -> None:
    """Let the peak be that from now on."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _FORGET.exists():
        _FORGET.write_text("5")


def _of_process(name: str) -> int | None:
    if not _STATUS.exists() or not _FORGET.exists():
        return None
    found = re.search(rf"{name}:\s+(\d+) kB", _STATUS.read_text())
    return 1024 * int(found[1]) if found else None


def rate(device: torch.device, precision: str, small: bool) -> float:
    """GFLOP/s of the device in products of large square matrices, the best of five."""
    side = _SMALL_MATRIX if small else _MATRIX if device.type == "cpu" else 4 * _MATRIX
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    one, other = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(5):
        start = now(device)
        one @ other
        seconds.append(now(device) - start)
    return 2 * side**3 / 1e9 / min(seconds)


def machine(device: torch.device, threads: int) -> str:
    """Name of what computes."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type}, {threads} thread(s)"


def mebibytes(number: int | None) -> str:
    """For a table."""
    return "-" if number is None else f"{number / 2**20:.0f}"
