"""Confidence that a person can use: from the calibration of a model to the report on a split, and to segmentations."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leaf_seg.weights import load_settings

CONFIGS = "bundles/leaf_seg/configs"
EVALUATE = ["--config_file", f"['{CONFIGS}/train.json','{CONFIGS}/evaluate.json']"]
INFER = ["--config_file", f"{CONFIGS}/inference.json"]
Run = Callable[..., subprocess.CompletedProcess[str]]


class Page(HTMLParser):
    """What a page refers to, and what it says."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten cases for validation."""
    names = [f"phantom_{number:04d}" for number in range(12)]
    file = tmp_path_factory.mktemp("split") / "many.json"
    file.write_text(json.dumps({"training": names[10:11], "validation": names[:10], "testing": names[11:]}))
    return file


@pytest.fixture(scope="module")
def calibrated(
    run_python: Run, pictures: Path, picture_model: Path, split: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    model = shutil.copytree(picture_model, tmp_path_factory.mktemp("calibrated") / "model")
    options = ["--split_file", split, "--device", "cpu", "--acceptable_dice", "0.5"]
    said = run_python("-m", "leaf_seg", "calibrate", model, pictures, *options).stdout
    assert "Sizes, 90 % intervals: true and predicted differ by these factors at most: class_1 " in said
    assert "Look at cases with an expected Dice of " in said
    return model


@pytest.mark.slow
def test_evaluation_with_a_report(
    bundle_run: Run, pictures: Path, calibrated: Path, split: Path, tmp_path: Path
) -> None:
    given = ["--dataset_dir", pictures, "--model_dir", calibrated, "--report_dir", tmp_path, "--split_file", split]
    wanted = ["--split", "validation", "--report", "true", "--save_overlays", "false", "--num_samples", "2"]
    bundle_run("evaluating", *EVALUATE, *given, *wanted)
    summary = json.loads((tmp_path / "metrics_summary.json").read_text())
    confidence = load_settings(calibrated).confidence
    assert confidence is not None
    rows = list(csv.DictReader((tmp_path / "expected_dice.csv").open()))
    marked = [row for row in rows if row["look_at"] == "yes"]
    assert [row for row in rows if float(row["expected_dice"]) <= confidence.look_at] == marked
    assert (summary["look_at"]["flagged"], summary["look_at"]["n"]) == (len(marked), 10)
    assert summary["look_at"]["caught"] >= 0.8 * summary["look_at"]["bad"]  # two hypotheses, calibrated with one
    sizes = list(csv.DictReader((tmp_path / "sizes.csv").open()))
    for name, found in summary["sizes"]["classes"].items():
        of_class = [row for row in sizes if row["structure"] == name]
        within = [float(row["low"]) - 0.01 <= float(row["true_size"]) <= float(row["high"]) + 0.01 for row in of_class]
        assert (found["within"]["number"], found["within"]["n"]) == (sum(within), 10)
        for row in of_class:
            label = np.array(Image.open(tmp_path / f"{row['case']}.png"))
            assert float(row["size"]) == (label == int(name[-1])).sum()
    assert 0 <= summary["risk_coverage"]["best"] <= summary["risk_coverage"]["aurc"]["mean"] <= 1
    page = Page((tmp_path / "report.html").read_text())
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    assert page.addresses
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert "url(" not in (tmp_path / "report.html").read_text()
    for part in ("Metrics", "Sizes", "Which cases to look at", "Calibration", "Worst cases", "Median case", "n = 10"):
        assert part in page.text
    assert len(page.addresses) == len(set(page.addresses))  # none twice
    assert len(list((tmp_path / "confidence").glob("*.png"))) == 10


def test_segmentations_say_which_to_look_at(
    bundle_run: Run, run_python: Run, pictures: Path, calibrated: Path, tmp_path: Path
) -> None:
    images = sorted((pictures / "images").iterdir())
    confidence = load_settings(calibrated).confidence
    assert confidence is not None
    options = ["--model", calibrated, "--statistics", "--report", "--no-overlays"]
    said = run_python("-m", "leaf_seg", "segment", *images, tmp_path / "own", *options)
    given = ["--dataset_dir", pictures / "images", "--model_dir", calibrated, "--output_dir", tmp_path / "bundle"]
    bundle_run("inference", *INFER, *given, "--save_overlays", "false")
    own, bundle = ((tmp_path / name / "expected_dice.csv").read_text() for name in ("own", "bundle"))
    assert own == bundle
    rows = list(csv.DictReader(own.splitlines()))
    marked = [row["case"] for row in rows if row["look_at"] == "yes"]
    assert marked == [row["case"] for row in rows if float(row["expected_dice"]) <= confidence.look_at]
    assert f"look at {len(marked)} of 12: {marked[0]}" in said.stderr
    by_case = {row["case"]: row for row in rows}
    for row in csv.DictReader((tmp_path / "own" / "statistics.csv").open()):
        expected = by_case[row["case"]][f"expected_dice_{row['structure']}"]
        assert float(row["expected_dice"]) == pytest.approx(float(expected), abs=1e-4)
        assert float(row["count_low"]) <= float(row["count"]) <= float(row["count_high"])
        assert (row["volume_ml"], row["volume_ml_low"], row["volume_ml_high"]) == ("", "", "")
    report = json.loads((tmp_path / "own" / "report.json").read_text())
    assert sum(image["look_at"] for image in report["images"]) == len(marked)
