"""What several processes would all say, said by one of them."""

from __future__ import annotations

import hashlib
import os
from datetime import timedelta

TORCHRUN_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # that it sets
_ANSWER = timedelta(seconds=5)


def num_started() -> int:
    """Number of processes that torchrun has started with this one."""
    if not all(name in os.environ for name in TORCHRUN_VARIABLES):
        return 1
    size = os.environ["WORLD_SIZE"]
    return int(size) if size.isdecimal() else 1


def is_first_to_say(message: str) -> bool:
    """Whether no other process of this torchrun has ended with the same message; also where it cannot be asked."""
    if num_started() == 1:
        return True
    from torch.distributed import TCPStore  # who is alone does not wait for PyTorch

    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    key = f"leaf_seg/{attempt}/{hashlib.sha256(message.encode()).hexdigest()}"
    try:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        return TCPStore(address, port, is_master=False, timeout=_ANSWER).add(key, 1) == 1
    except (KeyError, ValueError, RuntimeError):
        return True
