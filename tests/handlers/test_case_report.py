"""The report of an evaluator that runs on real files."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.transforms import AsDiscreted
from PIL import Image

from leaf_seg.handlers.case_report import CaseReport
from leaf_seg.runtime.errors import InputError
from leaf_seg.transforms.load_case import LoadCase


class Threshold(torch.nn.Module):
    """Class scores [B, 2, *spatial] of the images [B, 1, *spatial]: class 1 where the image is bright."""

    def __init__(self, threshold: float = 100) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([image < self.threshold, image >= self.threshold], dim=1).float()


def evaluate(cases: list[dict[str, str]], report: CaseReport, threshold: float = 100) -> None:
    SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(cases, LoadCase(("image", "label"))), batch_size=2),
        network=Threshold(threshold),
        postprocessing=AsDiscreted("pred", argmax=True),
        val_handlers=[report],
    ).run()


def picture_case(folder: Path, name: str, shift: int) -> dict[str, str]:
    """A 4 x 4 square whose image is ``shift`` rows away from its label; no square in the label when shift is 9."""
    label, image = np.zeros((2, 20, 20), dtype=np.uint8)
    image[4 + shift : 8 + shift, 4:8] = 200
    if shift != 9:
        label[4:8, 4:8] = 1
    case = {}
    for key, array in (("image", image), ("label", label)):
        (folder / f"{key}s").mkdir(parents=True, exist_ok=True)
        case[key] = str(folder / f"{key}s" / name)
        Image.fromarray(array).save(case[key])
    return case


def read_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics_cases.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_an_evaluation_that_is_stopped_leaves_no_report_of_the_former(tmp_path: Path) -> None:
    report = CaseReport(tmp_path / "out", ["background", "cell"])
    evaluate([picture_case(tmp_path, "a.png", 0)], report)
    (tmp_path / "out" / "reliability.png").touch()
    (tmp_path / "out" / "a_seg.png").touch()
    missing = {key: str(tmp_path / "none.png") for key in ("image", "label")}
    with pytest.raises(RuntimeError, match="applying transform"):
        evaluate([missing], report)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["a_seg.png"]


def test_report_of_pictures(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    cases = [picture_case(tmp_path, f"case_{shift}.png", shift) for shift in (0, 2, 9)]
    report = CaseReport(tmp_path / "out", ["background", "cell"], tolerance=1, split="testing")

    with caplog.at_level(logging.INFO, logger="leaf_seg"):
        evaluate(cases, report)
        evaluate(cases, report)  # a second run starts anew

    rows = read_rows(tmp_path / "out")
    assert [(row["case"], row["class"]) for row in rows] == [(f"case_{shift}", "cell") for shift in (0, 2, 9)]
    assert [float(row["dice"]) for row in rows] == [1, 0.5, 0]
    assert [row["hd95"] for row in rows] == ["0", "2", ""]
    summary = json.loads((tmp_path / "out" / "metrics_summary.json").read_text())
    assert (summary["split"], summary["n"], summary["tolerance"]) == ("testing", 3, 1)
    assert summary["classes"]["cell"]["dice"]["mean"] == pytest.approx(0.5)
    assert summary["classes"]["cell"]["hd95"]["n"] == 2
    assert summary["mean_foreground"]["dice"] == summary["classes"]["cell"]["dice"]
    assert "0.500 [0.000, 1.000]" in caplog.text
    assert "1.000 [0.000, 2.000] (n = 2)" in caplog.text


def test_an_empty_model_is_warned_of_and_loses(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cases = [picture_case(tmp_path, f"case_{shift}.png", shift) for shift in (2, 3, 9)]
    summaries = {}
    for name, threshold in (("poor", 100), ("empty", 256)):
        caplog.clear()
        report = CaseReport(tmp_path / name, ["background", "cell"])
        evaluate(cases, report, threshold)
        evaluate(cases, report, threshold)  # counts anew
        summaries[name] = json.loads((tmp_path / name / "metrics_summary.json").read_text())
        told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        warning = "Testing split: no foreground predicted in 2 of 2 cases with foreground."
        assert told == ([warning] * 2 if name == "empty" else [])
    poor, empty = (summaries[name]["classes"]["cell"] for name in ("poor", "empty"))
    assert empty["dice"]["mean"] > poor["dice"]["mean"]  # for the case without a cell
    assert (empty["dice_positive"]["mean"], empty["dice_positive"]["n"]) == (0, 2)
    assert poor["dice_positive"]["mean"] == pytest.approx((0.5 + 0.25) / 2)
    # Where there is no cell both of the worst cases are met: predicted, the diagonal; not predicted, 0.
    diagonal = 20 * 2**0.5
    assert empty["hd95_worst"]["mean"] == pytest.approx(diagonal * 2 / 3)
    assert poor["hd95_worst"]["mean"] == pytest.approx((2 + 3 + diagonal) / 3)
    assert poor["hd95"]["n"] == 2
    assert empty["hd95"]["n"] == 1
    assert summaries["empty"]["predicted_empty"] == {"n": 2, "of": 2}
    assert summaries["empty"]["false_positives"] == {"n": 0, "of": 1}
    assert summaries["poor"]["predicted_empty"] == {"n": 0, "of": 2}
    assert summaries["poor"]["false_positives"] == {"n": 1, "of": 1}


def test_tolerance_as_a_share_of_the_diagonal(tmp_path: Path) -> None:
    case = picture_case(tmp_path, "a.png", 2)
    values = []
    for number, share in enumerate((1.9 / 800**0.5, 2.1 / 800**0.5)):
        out = tmp_path / str(number)
        evaluate([case], CaseReport(out, ["background", "cell"], tolerance=None, tolerance_share=share))
        values.append(float(read_rows(out)[0]["surface_dice"]))
        summary = json.loads((out / "metrics_summary.json").read_text())
        assert (summary["tolerance"], summary["tolerance_share"]) == (None, share)
    assert values == [pytest.approx(16 / 24, abs=1e-5), 1]  # a square 2 pixels away


@pytest.mark.parametrize("tolerances", [{"tolerance_share": 0.01}, {"tolerance": None}])
def test_exactly_one_tolerance(tolerances: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"surface_tolerance_share is .*; expected exactly one of them"):
        CaseReport(tmp_path, ["background", "cell"], **tolerances)


def test_distances_of_volumes_are_in_millimetres(tmp_path: Path):
    image, label = np.zeros((2, 16, 12, 8), dtype=np.uint8)
    label[4:8, 2:10, 2:6] = 1
    image[6:10, 2:10, 2:6] = 200  # 2 voxels further along X
    angle = np.deg2rad(10)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine[:3, :3] *= (0.7, 1, 4)  # voxel sizes along X, Y, Z
    case = {key: str(tmp_path / f"{key}.nii.gz") for key in ("image", "label")}
    nib.save(nib.Nifti1Image(image, affine), case["image"])
    nib.save(nib.Nifti1Image(label, affine), case["label"])

    evaluate([case], CaseReport(tmp_path / "out", ["background", "organ"], tolerance=1.4))

    (row,) = read_rows(tmp_path / "out")
    assert float(row["hd95"]) == pytest.approx(1.4)
    assert float(row["surface_dice"]) == 1, "1.4000001 mm by the affine must pass a tolerance of 1.4 mm"
    summary = json.loads((tmp_path / "out" / "metrics_summary.json").read_text())
    assert summary["classes"]["organ"]["dice"]["low"] is None, "one case has no interval"


def test_cases_of_the_same_name_stay_apart(tmp_path: Path):
    cases = [picture_case(tmp_path / folder, "image.png", shift) for folder, shift in (("a", 0), ("b", 2))]
    evaluate(cases, CaseReport(tmp_path / "out", ["background", "cell"]))
    rows = read_rows(tmp_path / "out")
    assert [row["case"] for row in rows] == [case["image"] for case in cases]
    assert [float(row["dice"]) for row in rows] == [1, 0.5]


def test_unwritable_folder_is_found_before_the_run(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="--output_dir"):
        evaluate([picture_case(tmp_path, "a.png", 0)], CaseReport(tmp_path / "file" / "out", ["background", "cell"]))
