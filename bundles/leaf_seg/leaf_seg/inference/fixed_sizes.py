"""Calls of a few sizes only, which can be compiled, or captured as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable

import torch

Call = Callable[..., torch.Tensor]  # from tensors [N, ...] to a tensor [N, ...]

_DOUBLED_UP_TO = 16  # above it the sizes are multiples of half of it
_WARM_UPS = 3  # calls before a capture, in which libraries choose their algorithms


class FixedSizes:
    """A call whose batches are filled up to one of a few sizes: 1, 2, 4, 8, 16, 24, 32, ...

    What is added repeats the last item, and is cut off from the answer.

    Args:
        call: from tensors [N, ...] to a tensor [N, ...], item by item.
    """

    def __init__(self, call: Call) -> None:
        self.call = call

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The answer [N, ...] to inputs [N, ...]."""
        number = len(inputs[0])
        return self.call(*(_filled(tensor, fixed_size(number)) for tensor in inputs))[:number]


class CapturedCall:
    """A call on CUDA that is captured once for every size of its inputs, and then replayed as one launch.

    Args:
        call: from tensors to a tensor, on the device alone: it may not wait for it, nor copy to it or from it.
    """

    def __init__(self, call: Call) -> None:
        self.call = call
        self._pool = torch.cuda.graph_pool_handle()  # the graphs run one after the other, and share their memory
        self._graphs: dict[tuple[torch.Size, ...], tuple[torch.cuda.CUDAGraph, list[torch.Tensor], torch.Tensor]] = {}

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The answer, in memory of its own."""
        sizes = tuple(tensor.shape for tensor in inputs)
        if sizes not in self._graphs:
            self._graphs[sizes] = self._capture(inputs)
        graph, own_inputs, output = self._graphs[sizes]
        for own, given in zip(own_inputs, inputs, strict=True):
            own.copy_(given)
        graph.replay()
        return output.clone()

    def _capture(
        self, inputs: tuple[torch.Tensor, ...]
    ) -> tuple[torch.cuda.CUDAGraph, list[torch.Tensor], torch.Tensor]:
        own_inputs = [tensor.clone() for tensor in inputs]
        device = own_inputs[0].device
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                self.call(*own_inputs)
        torch.cuda.current_stream(device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Other threads may go on to pin memory for images to come.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            output = self.call(*own_inputs)
        return graph, own_inputs, output


def fixed_size(number: int) -> int:
    """The size that a batch is filled up to."""
    if number <= _DOUBLED_UP_TO:
        return 1 << (number - 1).bit_length()
    step = _DOUBLED_UP_TO // 2
    return -(-number // step) * step


def _filled(tensor: torch.Tensor, size: int) -> torch.Tensor:
    missing = size - len(tensor)
    return torch.cat([tensor, tensor[-1:].expand(missing, *tensor.shape[1:])]) if missing else tensor
