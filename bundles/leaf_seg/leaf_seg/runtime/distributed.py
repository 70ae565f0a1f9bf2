"""Which of several processes this is, what it does of their common work, and the network inside of their wrapper."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.nn.functional import all_reduce
from torch.nn.parallel import DistributedDataParallel

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.plain import plain_message
from leaf_seg.runtime.text import first_line

Item = TypeVar("Item")
Batch = TypeVar("Batch", torch.Tensor, list[Any])


def is_rank_zero() -> bool:
    """Whether this process writes files and talks to people: the only one, or the first of several."""
    return rank() == 0


def rank() -> int:
    """Number of this process among those that work together, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def num_processes() -> int:
    """Number of processes that work together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def bare(network: Any) -> Any:
    """The network, a module or any callable, without DistributedDataParallel around it."""
    return network.module if isinstance(network, DistributedDataParallel) else network


def own_share(batch: Batch) -> Batch:
    """This process's part of a batch of all processes: its items rank, rank + processes, rank + 2 processes, ..."""
    return batch[rank() :: num_processes()]


def summed(values: torch.Tensor) -> torch.Tensor:
    """The sum over all processes, in each; its gradient is that of the sum of their losses. All have to call this."""
    return values if num_processes() == 1 else all_reduce(values)


def gathered(items: Iterable[Item]) -> list[Item]:
    """The items of all processes, those of rank 0 first; in each of them. All have to call this."""
    own = list(items)
    if num_processes() == 1:
        return own
    of_all: list[list[Item]] = [[] for _ in range(num_processes())]
    dist.all_gather_object(of_all, own)
    return [item for part in of_all for item in part]


def wait_for_all() -> None:
    """Go on when every process has come here."""
    gathered(())


def once(function: Callable[[], Item]) -> Item:
    """Let rank 0 alone call a function, and give its result to all. All have to call this.

    Raises:
        InputError: In every process, when the function raises it; in the others also for any other error of it.
    """
    return _by_leader(function, 0)


def once_per_node(function: Callable[[], Item]) -> Item:
    """As :func:`once`, with one process on each machine, for files that only it may see."""
    return _by_leader(function, rank() - int(os.environ.get("LOCAL_RANK", "0")))


def _by_leader(function: Callable[[], Item], leader: int) -> Item:
    if num_processes() == 1:
        return function()
    result, error = None, None
    if rank() == leader:
        try:
            result = function()
        except Exception as found:
            error = found
    outcomes = gathered([(result, None if error is None else _said(error))])
    if error is not None:
        raise error
    messages = [message for _, message in outcomes if message is not None]
    if messages:
        raise InputError(messages[0])
    return outcomes[leader][0]  # type: ignore[return-value]  # the leader has called the function


def _said(error: Exception) -> str:
    """What the others end with: the same line, where the leader ends with one."""
    plain = plain_message(error)
    return f"Process {rank()} has failed ({type(error).__name__}: {first_line(error)})." if plain is None else plain
