"""Which of several processes this is, and the network inside of their wrapper."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel


def is_rank_zero() -> bool:
    """Whether this process writes files and talks to people: the only one, or the first of several."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0


def num_processes() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def bare(network: Any) -> Any:
    """The network, a module or any callable, without DistributedDataParallel around it."""
    return network.module if isinstance(network, DistributedDataParallel) else network
