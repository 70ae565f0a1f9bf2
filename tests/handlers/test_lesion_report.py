"""Separate structures of the cases of an engine."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine

from leaf_seg.handlers import SUMMARY_NAME, LesionReport

NAMES = ["background", "cell", "core"]


def test_added_to_the_summary(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / SUMMARY_NAME).write_text('{"n": 2}')
    pred, label = torch.zeros(2, 2, 1, 5, 9)  # of two cases each
    label[0, 0, 0, :4] = pred[0, 0, 0, :4] = 1
    label[0, 0, 4, :4] = 1
    pred[0, 0, 2, 8] = 1
    label[1, 0, 1, 1] = pred[1, 0, 1, 1] = 1
    engine = Engine(lambda engine, batch: batch)
    LesionReport(tmp_path, NAMES).attach(engine)
    with caplog.at_level(logging.INFO, logger="leaf_seg"):
        for _ in range(2):  # the second run starts anew
            engine.run([[{"pred": pred[0], "label": label[0]}], [{"pred": pred[1], "label": label[1]}]])
    summary = json.loads((tmp_path / SUMMARY_NAME).read_text())
    assert summary["n"] == 2
    cell, core = (summary["lesions"]["classes"][name] for name in NAMES[1:])
    assert cell["counts"] == {"found": 2, "made_up": 1, "missed": 1}
    assert cell["recall"]["mean"] == pytest.approx((1 / 2 + 1) / 2)
    assert cell["pq"]["mean"] == pytest.approx((1 / 2 + 1) / 2)
    assert core["counts"] == {"found": 0, "made_up": 0, "missed": 0}
    assert core["pq"] == {"mean": None, "low": None, "high": None, "n": 0}
    assert "of cell: 2 found, 1 missed, 1 made up; precision 0.750" in caplog.text
    assert "of core: 0 found, 0 missed, 0 made up; precision undefined" in caplog.text
