"""Sizes of structures and how often their intervals hold, of the cases of an engine."""

from __future__ import annotations

import csv
import json
import logging
import math
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from leaf_seg.data.confidence_settings import ConfidenceSettings
from leaf_seg.handlers import SUMMARY_NAME, SizeReport

NAMES = ["background", "liver"]


def evaluate(folder: Path, confidence: ConfidenceSettings | None) -> dict[str, object]:
    """Three volumes, voxels of 2 x 2 x 5 mm, of 9 predicted voxels; of 19, 20 and 4 in truth."""
    (folder / SUMMARY_NAME).write_text("{}")
    affine = torch.diag(torch.tensor([2.0, 2, 5, 1]))
    cases, items = [], []
    for number, true in enumerate((19, 20, 4)):
        label, pred = (MetaTensor(torch.zeros(1, 4, 5, 6), affine=affine) for _ in range(2))
        label.view(-1)[:true] = 1
        pred.view(-1)[:9] = 1
        meta = {"filename_or_obj": f"case_{number}.nii.gz"}
        cases.append([{"image": MetaTensor(torch.zeros(1, 4, 5, 6), meta=meta)}])
        items.append([{"pred": pred, "label": label}])
    engine = Engine(lambda engine, batch: items[engine.state.iteration - 1])
    SizeReport(folder, NAMES, confidence).attach(engine)
    engine.run(cases)
    return json.loads((folder / SUMMARY_NAME).read_text())


def test_volumes_with_intervals(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="leaf_seg"):
        summary = evaluate(tmp_path, ConfidenceSettings(0.5, 0.7, (math.log(2),)))  # from 4 to 19 voxels
    sizes = summary["sizes"]
    assert (sizes["level"], sizes["unit"]) == (0.9, "mL")  # type: ignore[index]
    found = sizes["classes"]["liver"]  # type: ignore[index]
    assert (found["within"]["number"], found["within"]["n"]) == (2, 3)
    assert found["mean_width"] == pytest.approx(15 * 0.02)
    assert found["mean_true_size"] == pytest.approx(43 / 3 * 0.02)
    rows = list(csv.DictReader((tmp_path / "sizes.csv").open()))
    assert [row["within"] for row in rows] == ["yes", "no", "yes"]
    numbers = {key: float(rows[0][key]) for key in ("size", "low", "high", "true_size")}
    assert numbers == pytest.approx({"size": 0.18, "low": 0.08, "high": 0.38, "true_size": 0.38})
    assert (rows[0]["case"], rows[0]["structure"], rows[0]["unit"]) == ("case_0", "liver", "mL")
    assert "Sizes of liver: 2 of 3 within their 90 % interval (0.67 [0.21, 0.94]), mean width 0.3 mL" in caplog.text


def test_without_a_calibration_there_are_sizes_alone(tmp_path: Path) -> None:
    assert evaluate(tmp_path, ConfidenceSettings(0.5, 0.7)) == {}
    row = next(csv.DictReader((tmp_path / "sizes.csv").open()))
    assert (row["size"], row["low"], row["high"], row["within"]) == ("0.18", "", "", "")
