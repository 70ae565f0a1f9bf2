"""Whether the cases of an engine are ranked by the Dice that is expected of them."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from PIL import Image

from leaf_seg.data.confidence_settings import ConfidenceSettings
from leaf_seg.handlers import SUMMARY_NAME, RankingReport

NAMES = ["background", "cell"]


def evaluate(
    expected: list[float],
    right: list[int],
    folder: Path,
    times: int = 1,
    confidence: ConfidenceSettings | None = None,
) -> None:
    """Cases whose cell has 10 pixels, of which so many are found."""
    cases = []
    for score, number in zip(expected, right, strict=True):
        pred, label = torch.zeros(2, 1, 8, 8)
        label.view(-1)[:10] = 1
        pred.view(-1)[:number] = 1
        cases.append([{"pred": pred, "label": label, "expected_dice": torch.tensor([score])}])
    engine = Engine(lambda engine, batch: batch)
    RankingReport(folder, NAMES, confidence=confidence).attach(engine)
    for _ in range(times):
        engine.run(cases)


def test_added_to_the_summary(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / SUMMARY_NAME).write_text('{"n": 5}')
    with caplog.at_level(logging.INFO, logger="leaf_seg"):
        evaluate([0.1, 0.2, 0.3, 0.4, 0.5], [2, 1, 4, 3, 9], tmp_path, times=2)  # the second run starts anew
    summary = json.loads((tmp_path / SUMMARY_NAME).read_text())
    assert summary["n"] == 5
    assert summary["ranking"]["score"] == "expected_dice"
    assert summary["ranking"]["spearman"]["rho"] == pytest.approx(0.8)
    assert summary["ranking"]["spearman"]["n"] == 5
    assert "rho = 0.80" in caplog.text


def test_too_few_cases(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / SUMMARY_NAME).write_text("{}")
    with caplog.at_level(logging.INFO, logger="leaf_seg"):
        evaluate([0.1, 0.2], [2, 1], tmp_path)
    assert json.loads((tmp_path / SUMMARY_NAME).read_text())["ranking"]["spearman"]["rho"] is None
    assert "undefined" in caplog.text


def test_risk_and_what_the_threshold_catches(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of ten pixels n are found: a Dice of 2 n / (n + 10)."""
    (tmp_path / SUMMARY_NAME).write_text("{}")
    right = [2, 8, 4, 10]
    with caplog.at_level(logging.INFO, logger="leaf_seg"):
        evaluate([0.1, 0.2, 0.5, 0.9], right, tmp_path, confidence=ConfidenceSettings(0.2001, 0.7))
    summary = json.loads((tmp_path / SUMMARY_NAME).read_text())
    risk = [1 - 2 * n / (n + 10) for n in reversed(right)]
    means = [sum(risk[:k]) / k for k in range(1, 5)]
    assert summary["risk_coverage"]["risk"] == pytest.approx(means)
    assert summary["risk_coverage"]["aurc"]["mean"] == pytest.approx(sum(means) / 4)
    look_at = summary["look_at"]
    counts = {"threshold": 0.2001, "acceptable_dice": 0.7, "flagged": 2, "caught": 1, "bad": 2, "n": 4}
    assert {key: look_at[key] for key in counts} == pytest.approx(counts)
    assert look_at["caught_of_bad"]["share"] == 0.5
    assert "Look at 2 of 4 cases" in caplog.text
    with Image.open(tmp_path / "risk_coverage.png") as figure:
        assert figure.width > 400
