"""A function in two processes that work together, as torchrun would start them."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing import start_processes

from leaf_seg.runtime.processes import close_processes, open_processes


def in_two_processes(function: Callable[..., Any], folder: Path, *arguments: Any) -> list[Any]:
    """What ``function(*arguments)`` returns in each of two processes that have joined, tensors and plain values."""
    start_processes(_joined, (function, folder, free_port(), arguments), nprocs=2, start_method="fork")
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def set_environment(rank: int, port: int, set_variable: Callable[[str, str], None] = os.environ.__setitem__) -> None:
    """Tell this process what torchrun would."""
    variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    for name, value in (variables | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}).items():
        set_variable(name, str(value))


def said_by(name: str) -> list[str]:
    """What a logger says from now on, also in a process that is to log nothing; the list grows."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger(name).addHandler(handler)
    logging.getLogger(name).setLevel(logging.INFO)
    return messages


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def _joined(rank: int, function: Callable[..., Any], folder: Path, port: int, arguments: tuple[Any, ...]) -> None:
    set_environment(rank, port)
    open_processes(torch.device("cpu"))
    torch.save(function(*arguments), folder / f"{rank}.pt")
    close_processes()
