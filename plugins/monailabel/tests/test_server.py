"""A day of an annotator, through the client that 3D Slicer uses; the tests stand on each other."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest
import requests
import torch
from monailabel.client.client import MONAILabelClient, MONAILabelClientException
from PIL import Image

from leaf_seg.metrics import class_dice
from plugins.monailabel.tests.conftest import FIRST, SECOND, Server, geometry, infer, score, url, wait_until_ended

STRATEGIES = ["expected_error", "epistemic_entropy", "epistemic_variance", "epistemic_disagreement", "first", "random"]


@pytest.fixture(scope="module")
def server(make_studies: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("day")
    server = Server(make_studies(folder / "studies"), folder / "server.log")
    yield server
    server.close()


@pytest.fixture(scope="module")
def client(server: Server) -> MONAILabelClient:
    return server.client


def test_info(client: MONAILabelClient) -> None:
    info = client.info()
    assert info["labels"] == ["anterior", "posterior"]
    assert list(info["models"]) == ["leaf_seg", "leaf_seg_confidence"]
    assert info["models"]["leaf_seg"]["labels"] == {"anterior": 1, "posterior": 2}
    assert info["models"]["leaf_seg"]["type"] == "segmentation"
    config = info["models"]["leaf_seg"]["config"]
    assert config["version"] == ["served", "initial"]
    # Slicer shows lists as menus of words, booleans as check boxes, the rest as text.
    assert all(isinstance(word, str) for value in config.values() if isinstance(value, list) for word in value)
    assert list(info["trainers"]) == ["leaf_seg"]
    assert list(info["strategies"]) == STRATEGIES
    assert list(info["scoring"]) == STRATEGIES[:4]
    assert info["datastore"] == {"total": 3, "completed": 0, "label_tags": {}}


def test_next_sample(client: MONAILabelClient) -> None:
    sample = client.next_sample("first", {})
    assert sample["id"] == FIRST
    assert Path(sample["path"]).is_file()
    assert client.next_sample("random", {})["id"] in (FIRST, "oblique", "picture")


@pytest.mark.parametrize(("image", "case"), [(FIRST, FIRST), ("oblique", SECOND)])
def test_volumes(client: MONAILabelClient, server: Server, hippocampus: Path, image: str, case: str) -> None:
    label, result = infer(client, image)
    assert geometry(label) == pytest.approx(geometry(itk.imread(str(server.studies / f"{image}.nii.gz"))), abs=1e-5)
    truth: Any = nib.load(hippocampus / "labels" / f"{case}.nii.gz")
    found = torch.from_numpy(itk.array_from_image(label).T.copy())
    dice = class_dice(found, torch.from_numpy(np.asarray(truth.dataobj)), 3)
    assert min(dice) >= 0.8, dice
    assert result["label_names"] == {"anterior": 1, "posterior": 2}
    for name, index in result["label_names"].items():
        structure = result["structures"][name]
        voxels = int((found == index).sum())
        spacing = np.abs(np.linalg.det(nib.load(server.studies / f"{image}.nii.gz").affine[:3, :3]))  # type: ignore[attr-defined]
        assert structure["volume_ml"] == pytest.approx(voxels * spacing / 1000, rel=1e-6)
        assert 0.5 < structure["confidence"] <= 1
        assert 0 <= structure["entropy"] < np.log(3)


def test_picture(client: MONAILabelClient, server: Server) -> None:
    label, result = infer(client, "picture")
    with Image.open(server.studies / "picture.png") as picture:
        assert geometry(label) == [*picture.size, 1, 0, 0, 0, 1, 1, 1, *np.eye(3).flatten()]
    areas = [result["structures"][name]["area_px"] for name in result["label_names"]]
    assert areas == [(itk.array_from_image(label) == index).sum() for index in (1, 2)]
    assert any(areas)


def test_options(client: MONAILabelClient) -> None:
    plain, _ = infer(client, FIRST)
    eager, result = infer(client, FIRST, threshold="0.1", hypotheses="3", device="cpu", result_extension=".nrrd")
    assert result["hypotheses"] == 3
    assert geometry(eager) == pytest.approx(geometry(plain), abs=1e-5)
    plain_voxels, eager_voxels = ((itk.array_from_image(image) > 0).sum() for image in (plain, eager))
    assert eager_voxels > 1.02 * plain_voxels
    largest, _ = infer(client, FIRST, threshold="0.1", largest_component=True)
    for index in (1, 2):
        mask = itk.image_from_array((itk.array_from_image(largest) == index).astype(np.uint8))
        components = itk.array_from_image(itk.connected_component_image_filter(mask, fully_connected=True))
        assert components.max() == 1


def test_confidence_map(client: MONAILabelClient) -> None:
    label, result = infer(client, FIRST)
    confidence, _ = infer(client, FIRST, model="leaf_seg_confidence")
    assert geometry(confidence) == pytest.approx(geometry(label), abs=1e-5)
    values, classes = itk.array_from_image(confidence), itk.array_from_image(label)
    assert values.dtype == np.float32
    assert 1 / 3 <= values.min() < values.max() <= 1 + 1e-6
    assert values[classes == 1].mean() == pytest.approx(result["structures"]["anterior"]["confidence"], abs=1e-5)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("POST", "/infer/leaf?image=oblique", None, 404, "no model 'leaf'; expected one of: leaf_seg, leaf_seg_conf"),
        ("POST", "/infer/leaf_seg?image=nobody", None, 404, f"no image 'nobody'; expected one of: {FIRST}, oblique"),
        ("POST", "/infer/leaf_seg?image=oblique", {"params": '{"version": "v7"}'}, 400, "version is 'v7'; expected"),
        ("POST", "/infer/leaf_seg?image=oblique", {"params": '{"hypotheses": 0}'}, 400, "hypotheses is 0; expected"),
        ("POST", "/infer/leaf_seg?image=oblique", {"params": '{"threshold": "high"}'}, 400, "threshold is 'high'"),
        ("POST", "/infer/leaf_seg?image=oblique", {"params": '{"device": "abacus"}'}, 400, "'abacus' is no device"),
        ("POST", "/infer/leaf_seg?image=oblique", {"params": '{"device": 5}'}, 400, "device is 5; expected a name"),
        (
            "POST",
            "/infer/leaf_seg?image=oblique",
            {"params": '{"result_extension": ".jpg"}'},
            400,
            "is '.jpg'; expected",
        ),
        ("POST", "/infer/leaf_seg?image=README.md", None, 404, "no image 'README.md'"),
        ("POST", "/activelearning/best", {}, 404, "no strategy 'best'; expected one of: expected_error"),
        ("POST", "/train/leaf", {}, 404, "no trainer 'leaf'"),
        ("POST", "/train/leaf_seg", {}, 400, "There is no label to train on: submit at least one"),
        ("POST", "/train/leaf_seg", {"max_epochs": "ten"}, 400, "max_epochs is 'ten'; expected a number"),
        ("POST", "/scoring/best", {}, 404, "no scoring method 'best'"),
        ("POST", "/scoring/epistemic_entropy", {"hypotheses": 1}, 400, "hypotheses is 1; expected"),
        ("POST", "/batch/infer/leaf", {}, 404, "no model 'leaf'"),
        ("GET", "/datastore/image?image=nobody", None, 404, "Image NOT Found"),
    ],
)
def test_bad_requests(server: Server, method: str, path: str, body: Any, status: int, message: str) -> None:
    content: dict[str, Any] = {"data": body} if "/infer/leaf" in path and "/batch" not in path else {"json": body}
    answer = requests.request(method, url(server, path), timeout=60, **content)
    assert answer.status_code == status, answer.text
    assert message in answer.json()["detail"]


def test_labels_that_do_not_fit_are_refused(client: MONAILabelClient, server: Server, tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5), np.uint8), np.eye(4)), tmp_path / "label.nii.gz")
    for image, message in (("oblique", "expected the same"), ("nobody", "no image 'nobody'")):
        with pytest.raises(MONAILabelClientException) as error:
            client.save_label(image, str(tmp_path / "label.nii.gz"), params={})
        assert message in str(error.value.error) + str(
            error.value.msg if hasattr(error.value, "msg") else error.value.args
        )
    assert not list((server.studies / "labels" / "final").iterdir())


def test_a_tag_is_no_path(server: Server, hippocampus: Path) -> None:
    with (hippocampus / "labels" / f"{FIRST}.nii.gz").open("rb") as file:
        answer = requests.put(
            url(server, f"/datastore/label?image={FIRST}&tag=../../outside"),
            files={"label": (f"{FIRST}.nii.gz", file)},
            timeout=60,
        )
    assert answer.status_code == 400
    assert "tag of the label is '../../outside'" in answer.json()["detail"]
    assert not (server.studies.parent / "outside").exists()


def test_images_that_cannot_be_read(client: MONAILabelClient, server: Server) -> None:
    """They are told apart from what is wrong with the server, and keep nothing else from being done."""
    damaged = server.studies / "damaged.nii.gz"
    damaged.write_text("no volume")
    for _ in range(20):
        if client.info()["datastore"]["total"] == 4:
            break
        time.sleep(0.5)
    answer = requests.post(url(server, "/infer/leaf_seg?image=damaged"), timeout=60)
    assert answer.status_code == 400
    assert "damaged.nii.gz: cannot be read" in answer.json()["detail"]
    body: Any = {"device": "cpu", "hypotheses": 2}
    summary = score(server, "epistemic_entropy", body)
    assert (summary["total"], summary["executed"], summary["failed"]) == (4, 3, 1)
    again = score(server, "epistemic_entropy", body)
    assert (again["executed"], again["failed"]) == (0, 0)  # nor is it tried again and again
    damaged.unlink()
    for _ in range(20):
        if client.info()["datastore"]["total"] == 3:
            break
        time.sleep(0.5)


def test_a_label_is_submitted(client: MONAILabelClient, server: Server, hippocampus: Path) -> None:
    label_info = [{"name": "anterior", "idx": 1}, {"name": "posterior", "idx": 2}]
    file = hippocampus / "labels" / f"{FIRST}.nii.gz"
    assert client.save_label(FIRST, str(file), params={"label_info": label_info})["label"] == FIRST
    assert client.info()["datastore"]["completed"] == 1
    assert (server.studies / "labels" / "final" / f"{FIRST}.nii.gz").read_bytes() == file.read_bytes()
    assert client.next_sample("first", {})["id"] == "oblique"


def test_one_label_is_enough_to_train(client: MONAILabelClient, server: Server) -> None:
    before, _ = infer(client, "oblique")
    params = {"max_epochs": 1, "learning_rate": 0.001, "start_from": "initial"}
    assert client.train_start("leaf_seg", params)["status"] in ("SUBMITTED", "RUNNING")
    status = wait_until_ended(client.train_status)
    assert status["status"] == "DONE", "\n".join(status["details"])
    stats = client.info()["train_stats"]["leaf_seg"]
    assert (stats["epoch"], stats["total_epochs"]) == (1, 1)
    assert stats["best_metric"] > 0.5
    assert stats["total_time"] > 0
    assert client.info()["models"]["leaf_seg"]["config"]["version"] == ["served", "v001", "initial"]
    record = json.loads((server.studies / "leaf_seg_models" / "v001" / "version.json").read_text())
    assert record["former"] == "initial"
    kept = {path.name for path in (server.studies / "leaf_seg_models" / "v001").iterdir() if path.name[0] != "."}
    assert {"model.pt", "config.json", "version.json"} <= kept
    assert not [name for name in kept if name.startswith(("slices_", "data", "checkpoints"))]
    assert record["served"] == (record["dice"] >= record["former_dice"])
    served = "v001" if record["served"] else "initial"
    assert (server.studies / "leaf_seg_models" / "mlruns.db").is_file()

    new, result = infer(client, "oblique", version="v001")
    assert result["version"] == "v001"
    back, result = infer(client, "oblique", version="initial")
    assert result["version"] == "initial"
    assert infer(client, "oblique")[1]["version"] == served
    assert np.array_equal(itk.array_from_image(back), itk.array_from_image(before))
    assert not np.array_equal(itk.array_from_image(new), itk.array_from_image(before))


def test_scoring(client: MONAILabelClient, server: Server) -> None:
    summary = score(server, "epistemic_entropy", {"device": "cpu"})
    assert (summary["total"], summary["executed"] + summary["skipped"], summary["failed"]) == (2, 2, 0)
    datastore = json.loads((server.studies / "datastore_v2.json").read_text())
    scores = {image: datastore["objects"][image]["image"]["info"] for image in ("oblique", "picture")}
    for name in STRATEGIES[:4]:
        highest = max(scores, key=lambda image: scores[image][name])
        assert client.next_sample(name, {})["id"] == highest
    again = score(server, "epistemic_variance", {})
    assert (again["skipped"], again["executed"]) == (2, 0)


def test_batch_inference(client: MONAILabelClient, server: Server) -> None:
    answer = requests.post(url(server, "/batch/infer/leaf_seg?images=unlabeled"), json={"device": "cpu"}, timeout=60)
    assert answer.status_code == 200, answer.text
    status = wait_until_ended(lambda: requests.get(url(server, "/batch/infer"), timeout=60).json())
    assert status["status"] == "DONE", "\n".join(status["details"])
    saved = {path.name for path in (server.studies / "labels" / "original").glob("*.nii.gz")}
    assert saved == {"oblique.nii.gz", "picture.nii.gz"}
    assert client.info()["datastore"]["label_tags"] == {"final": 1, "original": 2}


def test_logs(server: Server) -> None:
    answer = requests.get(url(server, "/logs/?lines=500&text=true"), timeout=60)
    assert answer.status_code == 200
    assert "leaf_seg" in answer.text
