"""Several processes that torchrun has started: how they join, and how they end."""

from __future__ import annotations

import logging
import os
import shlex
import sys
import warnings
from datetime import timedelta

import torch
import torch.distributed as dist
from ignite import distributed as idist

from leaf_seg.runtime.distributed import is_rank_zero, num_processes
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.told_once import TORCHRUN_VARIABLES, num_started

_TIMEOUT = timedelta(days=1)  # for what others wait: the preparation of the slices, the end of larger images


def open_processes(device: torch.device) -> None:
    """Join the processes that torchrun has started, by NCCL on GPUs and by gloo on CPUs.

    Only the first one logs then; of the others errors are shown. Does nothing in a process that has joined already.

    Args:
        device: of this process.

    Raises:
        InputError: When torchrun has not started this process, or processes would share a GPU.
    """
    if dist.is_initialized():
        return
    if not all(name in os.environ for name in TORCHRUN_VARIABLES):
        words = " ".join(map(_quoted, sys.argv[1:]))
        raise InputError(
            "These config files are for several processes (multi_gpu_*.json), and torchrun has not started this one. "
            f"Give the command as: torchrun --standalone --nproc_per_node=2 -m monai.bundle {words}"
        )
    device = torch.device(device)
    _check_device(device)
    # Ignite's way, for it would make a group of its own when metrics are gathered first.
    idist.initialize("nccl" if device.type == "cuda" else "gloo", timeout=_TIMEOUT)
    if not is_rank_zero():
        logging.disable(logging.WARNING)  # what all do alike, the first one tells
        warnings.simplefilter("ignore")


def close_processes() -> None:
    """Leave the other processes, when all is done."""
    if dist.is_initialized():
        idist.finalize()


def refuse_time_limits(**minutes: float | None) -> None:
    """Refuse limits of time where several processes are to train, each of which would measure times of its own.

    Args:
        **minutes: limits by their keys; None: there is none.

    Raises:
        InputError: Names the key.
    """
    for key, limit in minutes.items():
        if limit is not None and num_started() > 1:
            raise InputError(
                f"{key} is {limit}, and {num_started()} processes are to train; expected no limit of time. Leave it "
                "out, and give --max_epochs."
            )


def check_joined() -> None:
    """Refuse to run what is for one process in each of several, which would write the same files.

    Raises:
        InputError: Names the overlays for several processes.
    """
    started = num_started()
    if started > num_processes():
        raise InputError(
            f"torchrun has started {started} processes, and these config files are for one; each would write the same "
            "files. Add the overlay for several to --config_file (configs/multi_gpu_train.json; behind evaluate.json "
            "configs/multi_gpu_evaluate.json; behind inference.json configs/multi_gpu_inference.json), or start with "
            "python instead of torchrun."
        )


def _quoted(word: str) -> str:
    """A word for the shell; of a list of files as the documents write it."""
    return f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word)


def _check_device(device: torch.device) -> None:
    number = os.environ["LOCAL_RANK"]
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and device.index != int(number)):
        raise InputError(
            f"device_name gives {device} to process {number} of this machine; expected a device for each: auto, cuda "
            "or cpu."
        )
