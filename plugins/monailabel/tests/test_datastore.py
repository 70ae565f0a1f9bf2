"""The folder of images and labels, whatever happens to it, without a server."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import nibabel as nib
import numpy as np
import pytest
from fastapi import HTTPException

from leaf_seg.runtime.errors import InputError
from lib.datastore import FINAL, DurableDatastore
from lib.label_meaning import why_unsure
from lib.scoring import AgreementScoring
from lib.training import TrainingTask
from lib.training_data import labelled_cases, write_dataset
from lib.versions import ModelVersions
from plugins.monailabel.tests.conftest import ROOT

BUNDLE = ROOT / "bundles" / "leaf_seg"
MODEL = BUNDLE / "models"
CLASSES = ("background", "head", "tail")
NAMES = [{"name": "head", "idx": 1}, {"name": "tail", "idx": 2}]
TURNED = [{"name": "tail", "idx": 1}, {"name": "head", "idx": 2}]


class Killed(DurableDatastore):
    """Is killed after a label's file has been written, and before what is known of it."""

    def _update_datastore_file(self, lock: bool = True) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Full(DurableDatastore):
    """Has no space left to write what is known."""

    def _update_datastore_file(self, lock: bool = True) -> None:
        raise OSError(28, "No space left on device")


def label(folder: Path, value: int, name: str = "label.nii.gz") -> str:
    file = folder / name
    nib.save(nib.Nifti1Image(np.full((4, 4, 4), value, np.uint8), np.eye(4)), file)
    return str(file)


def greatest(file: str) -> int:
    image: Any = nib.load(file)
    return int(np.asarray(image.dataobj).max())


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    folder = tmp_path / "studies"
    folder.mkdir()
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), folder / "im05.nii.gz")
    return folder


def opened(studies: Path, kind: type[DurableDatastore] = DurableDatastore) -> DurableDatastore:
    return kind(str(studies), CLASSES, extensions=("*.nii.gz",))


def save(studies: Path, kind: type[DurableDatastore], file: str, names: list[dict[str, Any]]) -> None:
    opened(studies, kind).save_label("im05", file, FINAL, {"label_info": names})


def killed_at(studies: Path, file: str, names: list[dict[str, Any]]) -> None:
    process = multiprocessing.get_context("fork").Process(target=save, args=(studies, Killed, file, names))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def files(studies: Path) -> list[str]:
    return sorted(os.listdir(studies / "labels" / FINAL))


def check_former(store: DurableDatastore) -> None:
    uri = store.get_label_uri("im05", FINAL)
    info = store.get_label_info("im05", FINAL)
    assert greatest(uri) == 1
    assert info["label_info"] == NAMES
    assert why_unsure(info, uri) is None


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
def test_killed_between_a_label_and_what_is_known_of_it(studies: Path, tmp_path: Path, suffix: str) -> None:
    save(studies, DurableDatastore, label(tmp_path, 1), NAMES)
    killed_at(studies, label(tmp_path, 2, f"label{suffix}"), TURNED)
    check_former(opened(studies))
    assert files(studies) == ["im05.nii.gz"]


def test_killed_at_the_first_label(studies: Path, tmp_path: Path) -> None:
    opened(studies)
    killed_at(studies, label(tmp_path, 2), TURNED)
    assert opened(studies).status()["completed"] == 0
    assert files(studies) == []


def test_killed_when_all_is_written(studies: Path, tmp_path: Path) -> None:
    save(studies, DurableDatastore, label(tmp_path, 1), NAMES)
    shutil.copy(label(tmp_path, 2), studies / "labels" / FINAL / ".im05.nii.gz.former")
    check_former(opened(studies))  # which is the new one here
    assert files(studies) == ["im05.nii.gz"]


def test_a_child_was_killed_before(studies: Path, tmp_path: Path) -> None:
    save(studies, DurableDatastore, label(tmp_path, 1), NAMES)
    store = opened(studies)
    killed_at(studies, label(tmp_path, 2), TURNED)
    store.save_label("im05", label(tmp_path, 1), FINAL, {"label_info": NAMES})
    check_former(store)
    assert files(studies) == ["im05.nii.gz"]


def test_a_label_that_cannot_be_noted_is_not_kept(studies: Path, tmp_path: Path) -> None:
    save(studies, DurableDatastore, label(tmp_path, 1), NAMES)
    store = opened(studies, Full)
    with pytest.raises(OSError, match="No space"):
        store.save_label("im05", label(tmp_path, 2), FINAL, {"label_info": TURNED})
    check_former(store)
    check_former(opened(studies))
    assert files(studies) == ["im05.nii.gz"]


@pytest.mark.parametrize("name", ["im05.NII.GZ", "im05.Nrrd", "im05.nii"])
def test_labels_that_came_by_hand_go_whatever_their_suffix(studies: Path, tmp_path: Path, name: str) -> None:
    opened(studies)
    by_hand = studies / "labels" / FINAL / name
    shutil.copy(label(tmp_path, 1), by_hand)
    store = opened(studies)
    assert store.status()["completed"] == 1
    store.remove_label("im05", FINAL)
    store.refresh()
    assert store.status()["completed"] == 0
    shutil.copy(label(tmp_path, 1), by_hand)
    store.refresh()
    store.save_label("im05", label(tmp_path, 1), FINAL, {"label_info": NAMES})
    assert files(studies) == ["im05.nii.gz"]
    shutil.copy(label(tmp_path, 1), by_hand)
    store.remove_image("im05")
    assert files(studies) == []


class Deleting(DurableDatastore):
    """Another process deletes the first image as soon as it is asked for."""

    def get_image_uri(self, image_id: str) -> str:
        uri = super().get_image_uri(image_id)
        other = opened(self._folder)
        if image_id == "im05" and uri and Path(uri).exists():
            other.remove_image("im05")
        return uri


def test_scoring_goes_on_after_an_image_that_was_deleted(studies: Path, tmp_path: Path) -> None:
    shutil.copy(studies / "im05.nii.gz", studies / "im06.nii.gz")
    store = opened(studies, Deleting)
    versions = ModelVersions(tmp_path / "store", MODEL)
    result = AgreementScoring(versions, "test", hypotheses=2)({"device": "cpu"}, store)
    assert (result["total"], result["executed"], result["failed"]) == (1, 1, 1)
    assert store.get_image_info("im06")["scored_by"] == "initial"


def test_an_image_that_has_not_all_scores_is_scored_again(studies: Path, tmp_path: Path) -> None:
    """As of the app's versions before there was a score; one that cannot be read is tried once."""
    (studies / "im06.nii.gz").write_bytes((studies / "im05.nii.gz").read_bytes()[:-9])
    store, scoring = opened(studies), AgreementScoring(ModelVersions(tmp_path / "store", MODEL), "test", hypotheses=2)
    for image in ("im05", "im06"):
        store.update_image_info(image, {"scored_by": "initial", "epistemic_entropy": 0.2})
    result = scoring({"device": "cpu"}, store)
    assert (result["executed"], result["failed"], result["skipped"]) == (1, 1, 0)
    assert 0 <= store.get_image_info("im05")["expected_error"] <= 1
    assert "expected_error" not in store.get_image_info("im06")
    assert scoring({"device": "cpu"}, store)["skipped"] == 2


def test_a_training_is_on_the_images_and_labels_of_its_beginning(studies: Path, tmp_path: Path) -> None:
    save(studies, DurableDatastore, label(tmp_path, 1), NAMES)
    before = (studies / "im05.nii.gz").read_bytes()
    store = opened(studies)
    splits = json.loads(write_dataset(store, CLASSES, 0.2, tmp_path / "data").datalist.read_text())
    other = tmp_path / "im05.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.int16), np.eye(4)), other)
    store.add_image("im05", str(other), {})
    store.save_label("im05", label(tmp_path, 2), FINAL, {"label_info": NAMES})
    for case in (*splits["training"], *splits["validation"]):
        assert Path(case["image"]).read_bytes() == before
    store.remove_image("im05")
    for case in (*splits["training"], *splits["validation"]):
        assert Path(case["image"]).read_bytes() == before
        assert greatest(case["label"]) == 1


def test_a_link_to_an_image_has_a_label_of_its_own(studies: Path, tmp_path: Path) -> None:
    (studies / "alias.nii.gz").symlink_to("im05.nii.gz")
    store = opened(studies)
    store.save_label("alias", label(tmp_path, 2), FINAL, {"label_info": NAMES})
    dataset = write_dataset(store, CLASSES, 0, tmp_path / "alone")
    (case,) = json.loads(dataset.datalist.read_text())["training"]
    assert Path(case["image"]).name == "alias.nii.gz"
    assert greatest(case["label"]) == 2
    shutil.copy(label(tmp_path, 1), studies / "labels" / FINAL / "im05.nii.gz")
    store.refresh()
    cases, left_out = labelled_cases(store)
    assert [case.name for case in cases] == ["alias"]
    assert list(left_out) == ["im05"]
    archive = store.get_dataset_archive(None)
    with ZipFile(archive) as opened_archive:
        names = opened_archive.namelist()
    os.unlink(archive)
    both = ("alias.nii.gz", "im05.nii.gz")
    assert sorted(names) == sorted(
        ["metadata.json", *(f"{kind}/{name}" for kind in ("image", "label") for name in both)]
    )


def test_an_archive_of_old_files_and_one_that_fails(
    studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ZIP knows no years before 1980; what could not be written holds images."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    save(studies, DurableDatastore, label(tmp_path, 1), NAMES)
    os.utime(studies / "im05.nii.gz", (0, 0))
    store = opened(studies)
    with ZipFile(store.get_dataset_archive(-1)) as archive:
        assert archive.read("image/im05.nii.gz") == (studies / "im05.nii.gz").read_bytes()
    os.unlink(str(archive.filename))
    (studies / "labels" / FINAL / "im05.nii.gz").unlink()
    with pytest.raises(FileNotFoundError):
        store.get_dataset_archive(None)
    assert not list((tmp_path / "temporary").iterdir())


def test_uploads_that_a_killed_server_was_at(studies: Path) -> None:
    for folder in (studies, studies / "labels" / FINAL):
        (folder / ".unfinished_x").mkdir(parents=True)
        for name in (".lock", "im05.nii.gz"):
            (folder / ".unfinished_x" / name).write_text("")
    opened(studies)
    assert not list(studies.rglob(".unfinished_*"))


def test_a_training_that_fails_says_the_reason(studies: Path, tmp_path: Path) -> None:
    save(studies, DurableDatastore, label(tmp_path, 1), NAMES)
    image = studies / "im05.nii.gz"
    nib.save(nib.Nifti1Image(np.full((4, 4, 4), np.nan, np.float32), np.eye(4)), image)
    task = TrainingTask(ModelVersions(tmp_path / "store", MODEL, CLASSES[1:]), BUNDLE)
    with pytest.raises(InputError, match=r"im05\.nii\.gz: 64 of 64 values are NaN"):
        task({"max_epochs": 1, "tracking": "None", "device": "cpu", "start_from": "scratch"}, opened(studies))
    assert not list((tmp_path / "store").glob(".training_*"))


def test_folders_that_are_called_as_files(studies: Path, tmp_path: Path) -> None:
    (studies / "folder.nii.gz").mkdir()
    opened(studies)
    (studies / "labels" / FINAL / "im05.nii.gz").mkdir()
    store = opened(studies)
    assert store.list_images() == ["im05"]
    assert store.status()["completed"] == 0
    with pytest.raises(HTTPException) as refused:
        store.add_image("folder", str(studies / "im05.nii.gz"), {})
    assert (refused.value.status_code, "is a folder" in refused.value.detail) == (400, True)
    with pytest.raises(HTTPException) as refused:
        store.save_label("im05", label(tmp_path, 1), FINAL, {})
    assert (refused.value.status_code, "is a folder" in refused.value.detail) == (400, True)
    with pytest.raises(HTTPException) as refused:
        store.remove_image("folder")
    assert refused.value.status_code == 404
    store.remove_image("im05")
    assert store.list_images() == []
