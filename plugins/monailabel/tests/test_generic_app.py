"""The bundle in MONAI Label's own ``monaibundle`` app; the tests stand on each other."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest
import requests
import torch
from monailabel.client.client import MONAILabelClient
from PIL import Image
from scipy.special import entr

import leaf_seg
from leaf_seg.metrics import class_dice
from plugins.monailabel.tests.conftest import (
    APP,
    FIRST,
    ROOT,
    SECOND,
    Server,
    geometry,
    infer,
    url,
    wait_until_ended,
)

MODEL = ROOT / "bundles" / "leaf_seg" / "models"
SAMPLE_APP = Path(sys.prefix) / "monailabel" / "sample-apps" / "monaibundle"
CONF = {"models": "leaf_seg", "epistemic_model": "leaf_seg", "zoo_source": "local", "sam2": "false"}
GUARD = "from torchvision_operators import declare_missing_operators\n\ndeclare_missing_operators()\n"
IMAGES = (FIRST, "oblique", "picture")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app as MONAI Label ships it, with the bundle; and with our help for a torchvision that does not fit."""
    folder = tmp_path_factory.mktemp("apps") / "monaibundle"
    shutil.copytree(SAMPLE_APP, folder)
    command = [sys.executable, str(ROOT / "scripts" / "label_bundle.py"), str(folder / "model" / "leaf_seg")]
    subprocess.run(command, check=True)
    shutil.copy(APP / "lib" / "torchvision_operators.py", folder)
    main = folder / "main.py"
    main.write_text(GUARD + main.read_text())
    return folder


@pytest.fixture(scope="module")
def server(
    app: Path, make_studies: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("generic")
    server = Server(make_studies(folder / "studies"), folder / "server.log", app=app, conf=CONF)
    yield server
    server.close()


@pytest.fixture(scope="module")
def client(server: Server) -> MONAILabelClient:
    return server.client


def segment(client: MONAILabelClient, image: str, **params: Any) -> Any:
    return infer(client, image, device="cpu", **params)[0]


def test_info(client: MONAILabelClient) -> None:
    info = client.info()
    assert info["models"]["leaf_seg"]["labels"] == {"anterior": 1, "posterior": 2}
    assert info["models"]["leaf_seg"]["config"]["model_filename"] == ["model.pt", "model_initial.pt"]
    assert list(info["trainers"]) == list(info["scoring"]) == ["leaf_seg"]
    assert list(info["strategies"]) == ["random", "first"]
    assert info["datastore"]["total"] == len(IMAGES)


def test_next_sample(client: MONAILabelClient) -> None:
    assert client.next_sample("first", {})["id"] == FIRST
    assert client.next_sample("random", {})["id"] in IMAGES


@pytest.mark.parametrize(("image", "case"), [(FIRST, FIRST), ("oblique", SECOND)])
def test_volumes(client: MONAILabelClient, server: Server, hippocampus: Path, image: str, case: str) -> None:
    label = segment(client, image)
    assert geometry(label) == pytest.approx(geometry(itk.imread(str(server.studies / f"{image}.nii.gz"))), abs=1e-4)
    assert itk.array_from_image(label).dtype == np.uint8
    truth: Any = nib.load(hippocampus / "labels" / f"{case}.nii.gz")
    found = torch.from_numpy(itk.array_from_image(label).T.copy())
    assert min(class_dice(found, torch.from_numpy(np.asarray(truth.dataobj)), 3)) >= 0.8


@pytest.mark.parametrize("params", [{}, {"result_extension": ".nrrd"}])
def test_picture(client: MONAILabelClient, server: Server, params: dict[str, str]) -> None:
    label = segment(client, "picture", **params)
    with Image.open(server.studies / "picture.png") as picture:
        assert geometry(label) == [*picture.size, 1, 0, 0, 0, 1, 1, 1, *np.eye(3).flatten()]
    alone = leaf_seg.load(MODEL, device="cpu")(server.studies / "picture.png").label
    assert alone.any()
    assert np.array_equal(itk.array_from_image(label)[0], alone)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/infer/leaf?image=oblique", None),
        ("/infer/leaf_seg?image=nobody", None),
        ("/activelearning/best", {}),
        ("/scoring/best?run_sync=true", {}),
    ],
)
def test_bad_requests(client: MONAILabelClient, server: Server, path: str, body: Any) -> None:
    """The app does not say which name is wrong; it goes on, and changes nothing."""
    before = client.info()["datastore"]
    assert requests.post(url(server, path), json=body, timeout=60).status_code == 500
    assert client.info()["datastore"] == before


@pytest.mark.nightly
def test_training_of_an_unknown_model_fails(client: MONAILabelClient) -> None:
    client.train_start("leaf", {})
    assert wait_until_ended(client.train_status)["status"] == "ERROR"


@pytest.mark.nightly
def test_training_without_labels_fails(client: MONAILabelClient, app: Path) -> None:
    client.train_start("leaf_seg", {"max_epochs": 1, "multi_gpu": False, "device": "cpu"})
    status = wait_until_ended(client.train_status)
    assert status["status"] == "ERROR"
    assert "There are no training cases" in "\n".join(status["details"])
    assert (app / "model" / "leaf_seg" / "models" / "model.pt").read_bytes() == (MODEL / "model.pt").read_bytes()


@pytest.mark.nightly
def test_scoring(client: MONAILabelClient, server: Server) -> None:
    """Entropy of several answers with dropout: without it, it would be that of the one answer."""
    answer = requests.post(url(server, "/scoring/leaf_seg?run_sync=true"), json={"device": "cpu"}, timeout=300)
    assert answer.status_code == 200, answer.text
    assert answer.json()["executed"] == len(IMAGES)
    datastore = json.loads((server.studies / "datastore_v2.json").read_text())
    scores = {image: datastore["objects"][image]["image"]["info"]["epistemic_entropy"] for image in IMAGES}
    volume = leaf_seg.load(MODEL, device="cpu")(server.studies / f"{FIRST}.nii.gz").probabilities
    entropy = float(entr(volume).sum(axis=0).mean())
    assert 1.1 * entropy < scores[FIRST] < np.log(3)
    assert len(set(scores.values())) == len(IMAGES)


def test_training_with_one_label_and_the_weights_before_it(
    client: MONAILabelClient, app: Path, hippocampus: Path
) -> None:
    models = app / "model" / "leaf_seg" / "models"
    weights = (models / "model.pt").read_bytes()
    before = segment(client, "oblique")
    client.save_label(FIRST, str(hippocampus / "labels" / f"{FIRST}.nii.gz"), params={})
    client.train_start("leaf_seg", {"max_epochs": 1, "multi_gpu": False, "device": "cpu"})
    status = wait_until_ended(client.train_status)
    assert status["status"] == "DONE", "\n".join(status["details"])
    assert (models / "model.pt").read_bytes() != weights
    assert (models / "model_initial.pt").read_bytes() == weights

    after, initial = segment(client, "oblique"), segment(client, "oblique", model_filename="model_initial.pt")
    assert geometry(after) == pytest.approx(geometry(before), abs=1e-5)
    assert np.array_equal(itk.array_from_image(initial), itk.array_from_image(before))
    assert not np.array_equal(itk.array_from_image(after), itk.array_from_image(before))
    assert client.next_sample("first", {})["id"] == "oblique"
    assert client.next_sample("random", {})["id"] in ("oblique", "picture")


def test_batch_inference(client: MONAILabelClient, server: Server) -> None:
    body: Any = {"device": "cpu", "multi_gpu": False}
    answer = requests.post(url(server, "/batch/infer/leaf_seg?images=all"), json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    status = wait_until_ended(lambda: requests.get(url(server, "/batch/infer"), timeout=60).json())
    assert status["status"] == "DONE", "\n".join(status["details"])
    assert client.info()["datastore"]["label_tags"] == {"final": 1, "original": 3}


def test_logs(server: Server) -> None:
    assert "leaf_seg" in requests.get(url(server, "/logs/?text=true"), timeout=60).text
