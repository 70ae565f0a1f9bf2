"""What each of several processes gets of the training slices, and of the cases of a split."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any, cast

from torch.utils.data import Dataset, Sampler

from leaf_seg.data.slice_dataset import SliceSampler
from leaf_seg.runtime.distributed import num_processes, own_share, rank


class SliceShard(Sampler[tuple[int, int]]):
    """This process's share of the slices that a sampler draws: of every batch of all processes, its part.

    So several processes train on the batches that one would have, of ``batch_size`` times as many slices as there are
    processes. Where an epoch cannot be divided its last slice is used again, by up to all but one of them.

    Args:
        sampler: draws the same slices in every process.
    """

    def __init__(self, sampler: SliceSampler) -> None:
        self._sampler = sampler

    def __len__(self) -> int:
        return -(-len(self._sampler) // num_processes())

    def start_at(self, epoch: int, position: int) -> None:
        """Let the next pass be that of ``epoch`` (from 0), without this process's first ``position`` slices."""
        self._sampler.start_at(epoch, position * num_processes())

    def __iter__(self) -> Iterator[tuple[int, int]]:
        drawn = list(self._sampler)
        drawn += drawn[-1:] * (-len(drawn) % num_processes())
        yield from own_share(drawn)


class CaseShard(Sampler[int]):
    """This process's share of the cases of a split, in order: first those of rank 0. None is used twice.

    Where there are fewer cases than processes some have none; rank 0 has one.

    Args:
        dataset: of the cases.

    Attributes:
        start: number of the first case.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        num_cases = len(cast(Sized, dataset))
        self.start, self._stop = (-(-num_cases * number // num_processes()) for number in (rank(), rank() + 1))

    def __len__(self) -> int:
        return self._stop - self.start

    def __iter__(self) -> Iterator[int]:
        yield from range(self.start, self._stop)
