"""An interruption that is lost in a step ends the run before the next one."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from ignite.engine import Engine, Events

from leaf_seg.networks import LatentSegmenter
from leaf_seg.runtime import termination
from tests.engines.test_evaluator import make_evaluator
from tests.engines.test_trainer import make_trainer

Make = Callable[..., LatentSegmenter]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    gc.collect()
    former = {kind: signal.getsignal(kind) for kind in (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    termination.interrupt_on_signals()
    yield
    for kind, handler in former.items():
        signal.signal(kind, handler)
    termination._interruption.clear()


def lose_one() -> None:
    """As a destructor does, or a library's ``except BaseException``."""
    with suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("make", [make_trainer, make_evaluator])
def test_lost_in_a_step(make: Callable[[LatentSegmenter], Engine], make_segmenter: Make) -> None:
    engine = make(make_segmenter())
    steps: list[int] = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: steps.append(engine.state.iteration))
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), lose_one)
    with pytest.raises(KeyboardInterrupt):
        engine.run()
    assert steps == [1]
    termination.raise_if_interrupted()  # it is done with


@pytest.mark.slow
@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize("make", [make_trainer, make_evaluator])
def test_in_the_last_step(make: Callable[[LatentSegmenter], Engine], make_segmenter: Make, lost: bool) -> None:
    engine = make(make_segmenter())
    stop = lose_one if lost else lambda: os.kill(os.getpid(), signal.SIGINT)
    engine.add_event_handler(Events.COMPLETED, stop)
    with pytest.raises(KeyboardInterrupt):
        engine.run()
    termination.raise_if_interrupted()
