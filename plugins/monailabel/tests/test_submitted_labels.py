"""What becomes of submitted labels, on one server that is started twice; the tests stand on each other."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest
import requests

from plugins.monailabel.tests.conftest import FIRST, SECOND, Server, url, wait_until_ended

NAMES = [{"name": "anterior", "idx": 1}, {"name": "posterior", "idx": 2}]
SWAPPED = [{"name": "posterior", "idx": 1}, {"name": "anterior", "idx": 2}]


@pytest.fixture(scope="module")
def folder(make_studies: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    make_studies(folder / "studies")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    hosts = {"allowed_hosts": "workstation.example.org, *.lab.example"}
    server = Server(folder / "studies", folder / "server.log", conf=hosts)
    yield server
    server.close()


def submit(server: Server, image: str, file: Path, names: list[dict[str, Any]] | None = None) -> requests.Response:
    with file.open("rb") as stream:
        return requests.put(
            url(server, "/datastore/label"),
            params={"image": image, "tag": "final"},
            data={"params": json.dumps({"label_info": names} if names else {})},
            files={"label": (file.name, stream)},
            timeout=60,
        )


def label_info(server: Server, image: str) -> dict[str, Any]:
    address = url(server, "/datastore/label/info")
    return requests.get(address, params={"label": image, "tag": "final"}, timeout=60).json()


def final(server: Server) -> set[str]:
    return {path.name for path in (server.studies / "labels" / "final").iterdir()}


def swapped(file: Path, target: Path) -> Path:
    """The same label with its structures numbered the other way round."""
    label: Any = nib.load(file)
    values = np.choose(np.asarray(label.dataobj), [0, 2, 1]).astype(np.uint8)
    nib.save(nib.Nifti1Image(values, label.affine), target)
    return target


def answer_of(server: Server, image: str, target: Path) -> Path:
    answer = requests.post(url(server, f"/infer/leaf_seg?image={image}&output=image"), timeout=60)
    target.write_bytes(answer.content)
    return target


def train(server: Server, **options: Any) -> requests.Response:
    return requests.post(url(server, "/train/leaf_seg"), json={"max_epochs": 1, **options}, timeout=60)


@pytest.mark.parametrize(
    ("host", "status"),
    [("workstation.example.org:8000", 200), ("a.b.lab.example", 200), ("lab.example", 400), ("xlab.example", 400)],
)
def test_hosts_that_the_option_names(server: Server, host: str, status: int) -> None:
    assert requests.get(url(server, "/info/"), headers={"Host": host}, timeout=60).status_code == status
    page = {"Origin": f"https://{host}"}
    assert (requests.get(url(server, "/info/"), headers=page, timeout=60).status_code == 200) == (status == 200)


def test_one_label_whatever_its_format(server: Server, folder: Path, hippocampus: Path) -> None:
    file = hippocampus / "labels" / f"{FIRST}.nii.gz"
    other = folder / "label.nrrd"
    itk.imwrite(itk.imread(str(file)), str(other), compression=True)
    assert submit(server, FIRST, file, NAMES).status_code == 200
    assert submit(server, FIRST, other, NAMES).status_code == 200
    assert final(server) == {f"{FIRST}.nrrd"}
    assert submit(server, FIRST, file, NAMES).status_code == 200
    assert final(server) == {f"{FIRST}.nii.gz"}
    assert submit(server, FIRST, other, NAMES).status_code == 200
    query = {"id": FIRST, "tag": "final"}
    assert requests.delete(url(server, "/datastore/label"), params=query, timeout=60).status_code == 200
    assert requests.post(url(server, "/reload"), timeout=60).status_code == 200
    assert final(server) == set()
    assert server.client.info()["datastore"]["completed"] == 0
    answer = train(server)
    assert answer.status_code == 400
    assert "no label to train on" in answer.json()["detail"]


def test_deleting_an_image_deletes_its_labels(server: Server, folder: Path, hippocampus: Path) -> None:
    volume = hippocampus / "images" / f"{FIRST}.nii.gz"
    with volume.open("rb") as stream:
        query = {"image": "brief"}
        requests.put(url(server, "/datastore/image"), params=query, files={"file": ("x.nii.gz", stream)}, timeout=60)
    assert submit(server, "brief", hippocampus / "labels" / f"{FIRST}.nii.gz", NAMES).status_code == 200
    shutil.copy(server.studies / "labels" / "final" / "brief.nii.gz", server.studies / "labels" / "original")
    assert requests.delete(url(server, "/datastore/image?id=brief"), timeout=60).status_code == 200
    assert not list(server.studies.rglob("brief*"))


def test_names_survive_another_upload_of_the_image(server: Server, folder: Path, hippocampus: Path) -> None:
    label: Any = nib.load(hippocampus / "labels" / f"{SECOND}.nii.gz")
    image: Any = nib.load(server.studies / "oblique.nii.gz")
    placed = folder / "placed.nii.gz"
    nib.save(nib.Nifti1Image(np.asarray(label.dataobj), image.affine), placed)
    assert submit(server, "oblique", swapped(placed, folder / "oblique.nii.gz"), SWAPPED).status_code == 200
    before = (server.studies / "oblique.nii.gz").read_bytes()

    def upload(content: bytes) -> requests.Response:
        files = {"file": ("x.nii.gz", content)}
        return requests.put(url(server, "/datastore/image?image=oblique"), files=files, timeout=60)

    assert upload(before).status_code == 200
    assert label_info(server, "oblique")["label_info"] == SWAPPED
    assert server.client.info()["datastore"]["completed"] == 1
    answer = upload((server.studies / f"{FIRST}.nii.gz").read_bytes())  # which the label does not fit
    assert answer.status_code == 400
    assert "expected the same" in answer.json()["detail"]
    assert (server.studies / "oblique.nii.gz").read_bytes() == before


def test_a_label_whose_meaning_is_not_sure_is_not_trained_on(server: Server, folder: Path) -> None:
    assert requests.delete(url(server, "/datastore/label?id=oblique&tag=final"), timeout=60).status_code == 200
    shutil.copy(folder / "oblique.nii.gz", server.studies / "labels" / "final")  # by hand: nobody has said the names
    assert requests.post(url(server, "/reload"), timeout=60).status_code == 200
    answer = train(server)
    assert answer.status_code == 400
    assert "oblique: its structures have no names. Submit it again, or name" in answer.json()["detail"]
    query = {"label": "oblique", "tag": "final"}
    for names, status in (([{"name": "tumour", "idx": 1}], 400), (SWAPPED, 200)):
        form = {"info": json.dumps({"label_info": names})}
        named = requests.put(url(server, "/datastore/label/info"), params=query, data=form, timeout=60)
        assert named.status_code == status, named.text
    assert label_info(server, "oblique")["label_info"] == SWAPPED
    assert label_info(server, "oblique")["prediction"] is False


def test_untouched_answers_are_recognised(server: Server, folder: Path) -> None:
    answer = answer_of(server, FIRST, folder / "answer.nii.gz")
    assert submit(server, FIRST, swapped(answer, folder / "turned.nii.gz"), SWAPPED).status_code == 200
    assert label_info(server, FIRST)["prediction"] is True
    label: Any = nib.load(answer)
    values = np.asarray(label.dataobj).copy()
    values[tuple(np.argwhere(values == 1)[0])] = 0
    nib.save(nib.Nifti1Image(values, label.affine), folder / "corrected.nii.gz")
    assert submit(server, FIRST, folder / "corrected.nii.gz", NAMES).status_code == 200
    assert label_info(server, FIRST)["prediction"] is False
    # Nobody can say so by themselves.
    form = {"info": json.dumps({"prediction": True})}
    query = {"label": FIRST, "tag": "final"}
    assert requests.put(url(server, "/datastore/label/info"), params=query, data=form, timeout=60).status_code == 200
    assert label_info(server, FIRST)["prediction"] is False
    assert submit(server, FIRST, answer).status_code == 200
    assert label_info(server, FIRST)["prediction"] is True


def test_a_new_version_is_compared_on_what_people_have_labelled(server: Server) -> None:
    assert train(server, learning_rate=1e-6, tracking="None").status_code == 200
    stats: dict[str, Any] = {}
    deadline = time.monotonic() + 120
    while not stats and time.monotonic() < deadline:
        stats = server.client.info()["train_stats"]["leaf_seg"]
        time.sleep(0.2)
    assert train(server).status_code == 429
    assert train(server, max_epoch=3).status_code == 400
    assert server.client.info()["train_stats"]["leaf_seg"]["total_epochs"] == stats["total_epochs"] == 1
    status = wait_until_ended(server.client.train_status)
    assert status["status"] == "DONE", "\n".join(status["details"])
    record = json.loads((server.studies / "leaf_seg_models" / "v001" / "version.json").read_text())
    assert record["compared"] == ["oblique"]
    assert record["untouched_predictions"] == 1
    assert record["dice"] > 0.8  # not of swapped structures
    assert record["served"] == (record["dice"] >= record["former_dice"])
    assert "Compared with initial on 1 labels; 1 labels are untouched answers" in record["note"]
    shown = server.client.info()["train_stats"]["leaf_seg"]
    assert (shown["version"], shown["note"], shown["untouched_predictions"]) == ("v001", record["note"], 1)


def test_after_a_restart(server: Server, folder: Path, start: Callable[..., Server]) -> None:
    server.close()
    labels = server.studies / "labels" / "final"
    other = labels / "oblique.nrrd"  # as former versions left it
    itk.imwrite(itk.imread(str(labels / "oblique.nii.gz")), str(other))
    stats = server.studies / "leaf_seg_models" / "training_stats.json"
    dead = {"epoch": 3, "total_epochs": 9, "best_metric": 0.5, "process": server.process.pid, "started": 1.0}
    stats.write_text(json.dumps(dead))
    again = start(server.studies)
    info = again.client.info()
    assert info["train_stats"] == {"leaf_seg": {}}  # no training is running
    assert info["datastore"]["completed"] == 2
    assert final(again) == {"oblique.nii.gz", f"{FIRST}.nii.gz"}
    assert (again.studies / "labels_left_over" / "final" / "oblique.nrrd").is_file()
    assert "oblique has two labels in" in again.log.read_text()
    assert label_info(again, "oblique")["label_info"] == SWAPPED
    assert requests.delete(url(again, "/datastore/label?id=oblique&tag=final"), timeout=60).status_code == 200
    assert final(again) == {f"{FIRST}.nii.gz"}
    assert submit(again, FIRST, folder / "corrected.nii.gz", NAMES).status_code == 200
    assert submit(again, FIRST, folder / "turned.nii.gz", SWAPPED).status_code == 200
    assert label_info(again, FIRST)["prediction"] is True  # remembered
    (labels / f"{FIRST}.nii.gz").write_bytes((folder / "corrected.nii.gz").read_bytes())
    answer = train(again)
    assert answer.status_code == 400
    assert "its file has been changed since its structures were named" in answer.json()["detail"]
