"""The bundle in MONAI Label's own ``monaibundle`` app."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest
import requests
import torch

from leaf_seg.metrics import class_dice
from plugins.monailabel.tests.conftest import APP, FIRST, ROOT, SECOND, Server, wait_until_ended

SAMPLE_APP = Path(sys.prefix) / "monailabel" / "sample-apps" / "monaibundle"
OFFLINE = {"models": "leaf_seg", "zoo_source": "local", "sam2": "false"}
GUARD = "from torchvision_operators import declare_missing_operators\n\ndeclare_missing_operators()\n"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """The app as MONAI Label ships it, with the bundle; and with our help for a torchvision that does not fit."""
    folder = tmp_path / "monaibundle"
    shutil.copytree(SAMPLE_APP, folder)
    command = [sys.executable, str(ROOT / "scripts" / "label_bundle.py"), str(folder / "model" / "leaf_seg")]
    subprocess.run(command, check=True)
    shutil.copy(APP / "lib" / "torchvision_operators.py", folder)
    main = folder / "main.py"
    main.write_text(GUARD + main.read_text())
    return folder


def test_inference_and_training(
    app: Path, make_studies: Callable[[Path], Path], hippocampus: Path, start: Callable[..., Server], tmp_path: Path
) -> None:
    studies = make_studies(tmp_path / "studies")
    server = start(studies, app=app, conf=OFFLINE)
    client = server.client
    info = client.info()
    assert info["models"]["leaf_seg"]["labels"] == {"anterior": 1, "posterior": 2}

    for image, case in ((FIRST, FIRST), ("oblique", SECOND)):
        label, original = _segment(client, image), itk.imread(str(studies / f"{image}.nii.gz"))
        assert itk.size(label) == itk.size(original)
        assert np.allclose(label.GetOrigin(), original.GetOrigin(), atol=1e-4)
        assert np.allclose(label.GetSpacing(), original.GetSpacing(), atol=1e-5)
        first, second = (itk.array_from_matrix(image.GetDirection()) for image in (label, original))
        assert np.allclose(first, second, atol=1e-5)
        truth: Any = nib.load(hippocampus / "labels" / f"{case}.nii.gz")
        found = torch.from_numpy(itk.array_from_image(label).T.copy())
        assert min(class_dice(found, torch.from_numpy(np.asarray(truth.dataobj)), 3)) >= 0.8

    before = (app / "model" / "leaf_seg" / "models" / "model.pt").read_bytes()
    client.save_label(FIRST, str(hippocampus / "labels" / f"{FIRST}.nii.gz"), params={})
    # The model's own answer is a label of the other image: there to be trained on, not to be right.
    label = _segment(client, "oblique")
    itk.imwrite(label, str(tmp_path / "label.nii.gz"))
    client.save_label("oblique", str(tmp_path / "label.nii.gz"), params={})
    client.train_start("leaf_seg", {"max_epochs": 1, "val_split": 0.5, "multi_gpu": False, "device": "cpu"})
    status = wait_until_ended(client.train_status)
    assert status["status"] == "DONE", "\n".join(status["details"])
    assert (app / "model" / "leaf_seg" / "models" / "model.pt").read_bytes() != before
    assert itk.size(_segment(client, "oblique")) == itk.size(label)

    assert client.next_sample("first", {})["id"] == client.next_sample("random", {})["id"] == "picture"
    address = f"http://127.0.0.1:{server.port}"
    body: Any = {"device": "cpu", "multi_gpu": False}
    assert requests.post(f"{address}/batch/infer/leaf_seg?images=labeled", json=body, timeout=60).status_code == 200
    status = wait_until_ended(lambda: requests.get(f"{address}/batch/infer", timeout=60).json())
    assert status["status"] == "DONE", "\n".join(status["details"])
    assert client.info()["datastore"]["label_tags"] == {"final": 2, "original": 2}
    assert "leaf_seg" in requests.get(f"{address}/logs/?text=true", timeout=60).text


def _segment(client: Any, image: str) -> Any:
    file, _ = client.infer("leaf_seg", image, {"device": "cpu"})
    result = itk.imread(file)
    Path(file).unlink()
    return result
