from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from ignite.engine import Engine

from leaf_seg.handlers import FeatureCacheReport
from leaf_seg.networks import FeatureCache


@pytest.mark.parametrize(("first_epoch", "look_ups"), [(0, 3), (2, 3), (0, 0)])
def test_tells_after_the_first_epoch_of_a_session_and_at_the_end(
    first_epoch: int, look_ups: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = FeatureCache(tmp_path, 1)

    def step(engine: Any, batch: int) -> None:
        cache.num_items += look_ups

    engine: Any = Engine(step)
    FeatureCacheReport(cache).attach(engine)
    if first_epoch:
        engine.load_state_dict({"epoch": first_epoch, "epoch_length": 2, "max_epochs": 5})
    with caplog.at_level(logging.INFO):
        engine.run([0, 1], max_epochs=5)
    told = [record.message for record in caplog.records if "look-ups" in record.message]
    expected = (2 * look_ups, 2 * look_ups * (5 - first_epoch)) if look_ups else ()
    assert len(told) == len(expected)
    assert all(f"0 of {number} look-ups" in line for number, line in zip(expected, told, strict=True))
