"""Keeps Ignite from telling of resumptions that are none."""

from __future__ import annotations

import logging

from ignite.engine import Engine


def hide_resumption(engine: Engine) -> None:
    """Leave out the line in which Ignite says that an engine is resuming.

    It says so of each run, since MONAI has made the engine's state before; of a training that is indeed resumed
    :mod:`~leaf_seg.engines.training_state` tells.
    """
    engine.logger.addFilter(_is_something_else)


def _is_something_else(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Engine run resuming from iteration")
