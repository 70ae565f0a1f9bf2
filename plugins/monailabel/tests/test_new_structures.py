"""Structures that no model knows yet, on pictures: from nothing to a first model."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
import requests
from PIL import Image

from plugins.monailabel.tests.conftest import ROOT, Server, wait_until_ended

WBC = ROOT.parent / "shared" / "data" / "wbc"


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """Three pictures, each in another format."""
    if not WBC.is_dir():
        reason = "real data are missing: no folder ../shared/data/wbc beside the checkout"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path / "studies"
    folder.mkdir()
    shutil.copy(WBC / "images" / "d1_004.png", folder)
    for name, suffix in (("d1_005", ".jpg"), ("d1_013", ".tif")):
        Image.open(WBC / "images" / f"{name}.png").save(folder / f"{name}{suffix}")
    return folder


def as_slicer_saves_it(name: str, folder: Path) -> Path:
    """The label of a picture as a volume of one slice, its segments in the other order."""
    label = np.asarray(Image.open(WBC / "labels" / f"{name}.png"))
    turned = np.choose(label, [0, 2, 1]).astype(np.uint8)
    file = folder / f"{name}_label.nii.gz"
    nib.save(nib.Nifti1Image(turned.T[..., None], np.diag([-1.0, -1.0, 1.0, 1.0])), file)
    return file


def test_from_nothing_to_a_first_model(studies: Path, start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(studies, conf={"labels": "cytoplasm,nucleus"})
    client = server.client
    info = client.info()
    assert info["labels"] == ["cytoplasm", "nucleus"]
    assert info["models"] == {}
    assert info["trainers"]["leaf_seg"]["config"]["start_from"] == ["initial", "scratch"]
    address = f"http://127.0.0.1:{server.port}"
    for path in ("/infer/leaf_seg?image=d1_004", "/scoring/epistemic_entropy"):
        answer = requests.post(address + path, timeout=60)
        assert answer.status_code in (400, 404), answer.text
        assert "there are none" in answer.text or "no model to score with" in answer.text

    label_info = [{"name": "nucleus", "idx": 1}, {"name": "cytoplasm", "idx": 2}]
    for name in ("d1_004", "d1_005"):
        client.save_label(name, str(as_slicer_saves_it(name, tmp_path)), params={"label_info": label_info})
    client.train_start("leaf_seg", {"start_from": "scratch", "max_epochs": 2, "val_split": 0.5, "tracking": "None"})
    status = wait_until_ended(client.train_status)
    assert status["status"] == "DONE", "\n".join(status["details"])
    version = studies / "leaf_seg_models" / "v001"
    assert sorted(path.name for path in (version / "overlays").iterdir())
    assert not (studies / "leaf_seg_models" / "mlruns.db").exists()
    assert client.info()["models"]["leaf_seg"]["config"]["version"] == ["served", "v001"]
    for image in sorted(studies.glob("d1_*")):
        file, result = client.infer("leaf_seg", image.stem, {})
        label = itk.imread(file)
        Path(file).unlink()
        with Image.open(image) as picture:
            assert list(itk.size(label)) == [picture.width, picture.height, 1]
        assert result["version"] == "v001"
        assert list(result["structures"]) == ["cytoplasm", "nucleus"]
