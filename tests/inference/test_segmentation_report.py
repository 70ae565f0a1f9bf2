from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

import leaf_seg
from leaf_seg.data.confidence_settings import ConfidenceSettings
from leaf_seg.inference.contact_sheet import save_contact_sheet
from leaf_seg.inference.segmentation_report import SegmentationReport
from leaf_seg.inference.structure_statistics import measure

CLASSES = ["background", "tumour", "cyst"]


def volume(path: Path) -> tuple[str, np.ndarray]:
    """Voxels of 2 x 3 x 4 mm, the axes turned; 10 of tumour, with the intensities -100 and 300."""
    values = np.full((4, 5, 6), -1000, np.int16)
    label = np.zeros(values.shape, np.uint8)
    label[0, :, :2] = 1
    values[0, :, 0], values[0, :, 1] = -100, 300
    affine = np.array([[0, 3, 0, 5], [-2, 0, 0, 1], [0, 0, 4, 0], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(values, affine), path)
    return str(path), label


def test_volumes_in_millilitres(tmp_path: Path) -> None:
    tumour, cyst = measure(*volume(tmp_path / "a.nii.gz"), CLASSES)
    assert tumour.structure == "tumour"
    assert tumour.count == 10
    assert tumour.volume_ml == pytest.approx(10 * 2 * 3 * 4 / 1000)
    assert tumour.mean_intensity == pytest.approx(100)
    assert (cyst.count, cyst.volume_ml, cyst.mean_intensity) == (0, 0, None)


def test_pictures_in_pixels(tmp_path: Path) -> None:
    colours = np.zeros((4, 5, 3), np.uint8)
    colours[1, 2] = [10, 20, 60]
    Image.fromarray(colours).save(tmp_path / "a.png")
    label = np.zeros((4, 5), np.uint8)
    label[1, 2] = 2
    _, cyst = measure(str(tmp_path / "a.png"), label, CLASSES)
    assert (cyst.count, cyst.volume_ml, cyst.mean_intensity) == (1, None, 30)


def test_tables_of_what_was_segmented_and_what_not(tmp_path: Path) -> None:
    source, label = volume(tmp_path / "a.nii.gz")
    margins = (math.log(2), 0)  # twice and half of 10 + 1
    confidence = ConfidenceSettings(look_at=0.8, acceptable_dice=0.7, size_margins=margins)
    report = SegmentationReport(tmp_path, CLASSES, "runs/model", statistics=True, report=True, confidence=confidence)
    report.add(source, tmp_path / "out" / "a.nii.gz", label, [0.75, math.nan])
    report.give_up("b.png", "b.png: cannot be read")
    report.write()
    rows = list(csv.DictReader((tmp_path / "statistics.csv").open()))
    sizes = {"count": "10", "volume_ml": "0.24", "count_low": "4.5", "count_high": "21"}
    sizes |= {"volume_ml_low": "0.108", "volume_ml_high": "0.504"}
    assert rows[0] == {"case": "a", "structure": "tumour", "mean_intensity": "100", "expected_dice": "0.75"} | sizes
    assert (rows[1]["mean_intensity"], rows[1]["expected_dice"], rows[1]["count_high"]) == ("", "", "0")
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["leaf_seg"] == leaf_seg.__version__
    assert content["model"] == "runs/model"
    assert content["classes"] == {"0": "background", "1": "tumour", "2": "cyst"}
    done, fault = content["images"]
    assert done["output"] == str(tmp_path / "out" / "a.nii.gz")
    assert done["statistics"][0]["volume_ml"] == pytest.approx(0.24)
    assert done["expected_dice"] == {"tumour": 0.75, "cyst": None}
    assert done["look_at"] is True  # undefined, and so to be looked at
    assert fault["output"] is None
    assert fault["fault"] == "b.png: cannot be read"


def test_statistics_that_fail_are_told_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    report = SegmentationReport(tmp_path, CLASSES, "model", statistics=True, report=True)
    report.add(str(tmp_path / "gone.png"), tmp_path / "gone.png", np.zeros((2, 2), np.uint8), [1, 1])
    (tmp_path / "statistics.csv").mkdir()
    report.write()
    assert "The statistics of" in caplog.text
    assert "The table statistics.csv failed" in caplog.text
    assert "statistics" not in json.loads((tmp_path / "report.json").read_text())["images"][0]


@pytest.mark.parametrize(
    ("number", "shown", "size", "small"),
    [(1, 1, (640, 320), 320 * 160), (5, 5, (30, 20), 600), (101, 51, (8, 6), 48)],
)
def test_sheet_of_overlays(tmp_path: Path, number: int, shown: int, size: tuple[int, int], small: int) -> None:
    overlays = []
    for index in range(number):
        overlays.append(tmp_path / f"{index:03d}.png")
        Image.new("RGB", size, (255, 0, index)).save(overlays[-1])
    assert save_contact_sheet(overlays, tmp_path / "preview.png") == shown
    sheet = np.array(Image.open(tmp_path / "preview.png"))
    found = {tuple(colour) for colour in np.unique(sheet.reshape(-1, 3), axis=0)} - {(255, 255, 255)}
    assert len(found) == shown
    assert (sheet[..., 1] == 0).sum() == shown * small
