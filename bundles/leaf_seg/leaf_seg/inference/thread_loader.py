"""Loads the next images in a thread, while the network is at work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from monai.data import ThreadDataLoader
from monai.data.thread_buffer import buffer_iterator


class ThreadLoader(ThreadDataLoader):
    """MONAI's ThreadDataLoader, of which no error is lost: one in the thread would end the images without a word."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # as MONAI's
        source = _Watched(super(ThreadDataLoader, self).__iter__())
        yield from buffer_iterator(source, self.buffer_size, self.buffer_timeout, self.repeats)
        if source.error is not None:
            raise source.error


class _Watched:
    """What it iterates over, up to an error, which it keeps."""

    def __init__(self, source: Iterable[Any]) -> None:
        self.source = source
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self.source
        except BaseException as error:
            self.error = error
