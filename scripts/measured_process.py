"""A candidate of ``benchmark_training.py`` in a process of its own, which trains when it is told to."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.termination import RESTING_THREADS
from measuring import forget_peak, now, peak_memory
from training_candidates import CANDIDATES, Job, Training

COUNT, END = "count", "end"  # what may be asked, besides a number of steps


@dataclass(frozen=True)
class Turn:
    """What a process says of some steps.

    Attributes:
        seconds: of a step.
        peak: bytes that the process had at most; None where that cannot be told.
        num_features: files in its cache of features by now.
    """

    seconds: float
    peak: int | None
    num_features: int


class MeasuredProcess:
    """Starts a process that builds a candidate.

    Args:
        name: of the candidate.
        job: what all have in common.
    """

    def __init__(self, name: str, job: Job) -> None:
        self.name, self.num_trained = name, 0
        context = get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, name, job))
        os.environ.update(RESTING_THREADS | os.environ)  # which the process gets
        self._process.start()
        other.close()

    def wait_until_built(self) -> None:
        """Wait.

        Raises:
            InputError: That of the building, or when the process ended.
        """
        self.num_trained = self._answer()

    def train(self, steps: int) -> Turn:
        """Let it train, and wait for it.

        Raises:
            InputError: As above.
        """
        self._connection.send(steps)
        return self._answer()

    def count_gflop(self) -> float:
        """Multiplications and additions of one more step.

        Raises:
            InputError: As above.
        """
        self._connection.send(COUNT)
        return self._answer()

    def end(self) -> None:
        """End it; it has ended afterwards."""
        with suppress(OSError):  # it has ended already
            self._connection.send(END)
        self._process.join()

    def _answer(self) -> Any:
        try:
            answer = self._connection.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            raise InputError(
                f"The process of {CANDIDATES[self.name].title} ended with exit code {self._process.exitcode}; expected "
                "it to train. Where the system has killed it for want of memory (-9), give fewer --candidates or a "
                "smaller --batch_size."
            ) from None
        if isinstance(answer, InputError):
            raise answer
        return answer


def _serve(connection: Connection, name: str, job: Job) -> None:
    """What the process does: build, and train as it is told."""
    torch.set_num_threads(job.threads)
    with suppress(KeyboardInterrupt, EOFError, BrokenPipeError):  # the process that asks has ended
        try:
            with redirect_stderr(io.StringIO()):  # of progress bars
                training = CANDIDATES[name].build(name, job)
                connection.send(training.num_trained)
                for request in iter(connection.recv, END):
                    is_count = request == COUNT
                    connection.send(_gflop(training) if is_count else _turn(training, request, name, job))
                training.close()
        except InputError as error:
            connection.send(error)


def _turn(training: Training, steps: int, name: str, job: Job) -> Turn:
    forget_peak(job.device)
    start = now(job.device)
    training.train(steps)
    seconds = (now(job.device) - start) / steps
    features = job.output(name) / "features"
    return Turn(seconds, peak_memory(job.device), sum(file.is_file() for file in features.rglob("*")))


def _gflop(training: Training) -> float:
    aten: Any = torch.ops.aten
    attention = {  # on a CPU, which PyTorch's counter leaves out
        aten._scaled_dot_product_flash_attention_for_cpu: _attention_flop,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_flop,
    }
    with FlopCounterMode(display=False, custom_mapping=attention) as counter:
        training.train(1)
    return counter.get_total_flops() / 1e9


def _attention_flop(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward_flop(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)
