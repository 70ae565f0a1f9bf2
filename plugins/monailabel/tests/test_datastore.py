"""The folder of images and labels, whatever happens to it, without a server."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from lib.datastore import FINAL, DurableDatastore
from lib.label_meaning import why_unsure

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
    assert np.asarray(nib.load(uri).dataobj).max() == 1
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
