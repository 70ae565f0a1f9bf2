"""The calibration of an evaluator that runs."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.transforms import AsDiscreted, Compose, CopyItemsd
from PIL import Image

from leaf_seg.handlers import SUMMARY_NAME, CalibrationReport

NAMES = ["background", "cell"]


class Confident(torch.nn.Module):
    """Gives class 1 with 0.9 where the image is 1, and with 0.1 elsewhere."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        foreground = 0.1 + 0.8 * image
        return torch.cat([1 - foreground, foreground], dim=1)


def evaluate(samples: list[dict[str, torch.Tensor]], folder: Path, times: int = 1) -> None:
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(samples), batch_size=2),
        network=Confident(),
        postprocessing=Compose([CopyItemsd("pred", names="probabilities"), AsDiscreted("pred", argmax=True)]),
        val_handlers=[CalibrationReport(folder, NAMES)],
    )
    for _ in range(times):
        evaluator.run()


def sample_with(right: int, wrong: int) -> dict[str, torch.Tensor]:
    """An image [1, 8, 8] with right + wrong bright pixels, of which ``wrong`` are background."""
    image, label = torch.zeros(2, 1, 64)
    image[:, : right + wrong] = 1
    label[:, :right] = 1
    return {"image": image.reshape(1, 8, 8), "label": label.reshape(1, 8, 8)}


def test_added_to_the_summary_with_a_figure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / SUMMARY_NAME).write_text('{"n": 3}')
    samples = [sample_with(10, 0), sample_with(6, 4), sample_with(5, 5)]
    with caplog.at_level(logging.INFO, logger="leaf_seg"):
        evaluate(samples, tmp_path, times=2)  # the second run starts anew
    summary = json.loads((tmp_path / SUMMARY_NAME).read_text())
    assert summary["n"] == 3
    result = summary["calibration"]["classes"]["cell"]
    assert result["ece"]["mean"] == pytest.approx(0.9 - 21 / 30, abs=1e-6)
    assert result["ece"]["n"] == 3
    assert result["brier"]["mean"] == pytest.approx((0.01 * 183 + 0.81 * 9) / 192, abs=1e-6)
    assert result["ace"]["mean"] == pytest.approx(0.9 - 21 / 30, abs=1e-6)  # there is one bin
    nll = -(183 * math.log(0.9) + 9 * math.log(0.1)) / 192
    assert summary["calibration"]["nll"]["mean"] == pytest.approx(nll, abs=1e-6)
    assert result["mean_confidence"] == pytest.approx(0.9, abs=1e-6)
    assert result["accuracy"] == pytest.approx(0.7)
    assert sum(result["bins"]["count"]) == 30
    assert "Calibration of cell: ECE 0.200" in caplog.text
    pixels = np.asarray(Image.open(tmp_path / "reliability.png").convert("L"))
    assert pixels.min() < 100 < 250 < pixels.max()


def test_structure_that_is_never_given(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / SUMMARY_NAME).write_text("{}")
    with caplog.at_level(logging.INFO, logger="leaf_seg"):
        evaluate([sample_with(0, 0)], tmp_path)
    summary = json.loads((tmp_path / SUMMARY_NAME).read_text())
    assert summary["calibration"]["classes"]["cell"]["ece"]["mean"] is None
    assert "no voxel is given this class" in caplog.text
    assert (tmp_path / "reliability.png").is_file()


def test_a_figure_that_cannot_be_written_is_told_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / SUMMARY_NAME).write_text("{}")
    (tmp_path / "reliability.png" / "in the way").mkdir(parents=True)
    sample = {"image": torch.ones(1, 4, 4), "label": torch.ones(1, 4, 4)}
    evaluate([sample], tmp_path)
    assert "cell" in json.loads((tmp_path / SUMMARY_NAME).read_text())["calibration"]["classes"]
    assert "The figure reliability.png failed (InputError: Cannot write" in caplog.text
