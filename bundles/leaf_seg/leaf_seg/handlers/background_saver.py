"""Writes what an evaluator segments, while it goes on with the next images."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ignite.engine import Engine

from leaf_seg.handlers.segmentation_saver import Cases, SegmentationSaver


class BackgroundSaver(SegmentationSaver):
    """A :class:`SegmentationSaver` that writes in a thread of its own, case after case.

    What goes wrong there is raised in the evaluator, at one of the next cases or at the end: :meth:`tell` waits until
    everything is written.

    Args:
        *args: as for :class:`SegmentationSaver`.
        max_waiting: cases that may wait to be written, and are held in memory meanwhile; at least 1.
        **kwargs: as for :class:`SegmentationSaver`.
    """

    def __init__(self, *args: Any, max_waiting: int = 2, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._max_waiting = max_waiting
        self._waiting: deque[Future[None]] = deque()
        self._thread: ThreadPoolExecutor | None = None

    def tell(self) -> None:
        """As in :class:`~leaf_seg.inference.SegmentationWriter`, of what was written until all had their turn.

        Raises:
            InputError: When a case or the table cannot be written.
        """
        self._wait_for_all_but(0)
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
        super().tell()

    def _begin(self, engine: Engine) -> None:
        super()._begin(engine)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer")

    def _complete(self) -> None:
        self._wait_for_all_but(0)  # before what has been written is counted
        super()._complete()

    def _save_cases(self, cases: Cases) -> None:
        assert self._thread is not None
        self._wait_for_all_but(self._max_waiting - 1)
        self._waiting.append(self._thread.submit(super()._save_cases, cases))

    def _wait_for_all_but(self, number: int) -> None:
        """Let so many cases wait, and raise what went wrong with one that is done."""
        while self._waiting and (len(self._waiting) > number or self._waiting[0].done()):
            try:
                self._waiting.popleft().result()
            except Exception:
                for case in self._waiting:
                    case.cancel()
                raise
