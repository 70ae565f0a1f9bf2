"""Says what the cache of features has brought."""

from __future__ import annotations

import logging

from ignite.engine import Engine, Events

from leaf_seg.networks import FeatureCache
from leaf_seg.runtime.distributed import is_rank_zero

logger = logging.getLogger(__name__)


class FeatureCacheReport:
    """Logs the entries of a cache, their size and the look-ups, after the first epoch and at the end.

    Of several processes the first one counts its own look-ups.

    Args:
        cache: that the training uses.
    """

    def __init__(self, cache: FeatureCache) -> None:
        self.cache = cache
        self._first_epoch: int | None = None

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        if is_rank_zero():
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._report_first)
            engine.add_event_handler(Events.COMPLETED, self._report)

    def _report_first(self, engine: Engine) -> None:
        if self._first_epoch is None:  # of this session: a resumed training begins with a later one
            self._first_epoch = engine.state.epoch
            self._report(engine)

    def _report(self, engine: Engine) -> None:
        if self.cache.num_items:  # no step was left to do
            logger.info(self.cache.summary())
