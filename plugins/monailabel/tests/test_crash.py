"""What is left when the server is killed."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from plugins.monailabel.tests.conftest import FIRST, Server

LABEL_INFO = {"label_info": [{"name": "anterior", "idx": 1}, {"name": "posterior", "idx": 2}]}


def test_killed_while_training(
    make_studies: Callable[[Path], Path], hippocampus: Path, start: Callable[..., Server], tmp_path: Path
) -> None:
    studies = make_studies(tmp_path / "studies")
    server = start(studies)
    server.client.save_label(FIRST, str(hippocampus / "labels" / f"{FIRST}.nii.gz"), params=dict(LABEL_INFO))
    server.client.train_start("leaf_seg", {"max_epochs": 1000})
    stats = studies / "leaf_seg_models" / "training_stats.json"
    for _ in range(240):
        if stats.exists() and json.loads(stats.read_text())["epoch"] >= 1:
            break
        time.sleep(0.5)
    else:
        pytest.fail(server.log.read_text()[-3000:])
    server.close()  # the server and the training
    assert list((studies / "leaf_seg_models").glob(".training_*"))

    server = start(studies)
    assert not list((studies / "leaf_seg_models").glob(".training_*"))
    info = server.client.info()
    assert info["datastore"]["completed"] == 1
    assert info["models"]["leaf_seg"]["config"]["version"] == ["served", "initial"]
    assert server.client.infer("leaf_seg", "oblique", {})[1]["version"] == "initial"
    server.client.train_start("leaf_seg", {"max_epochs": 1})
    while server.client.train_status()["status"] == "SUBMITTED":
        time.sleep(0.1)
    assert server.client.train_stop()["status"] == "STOPPED"
    assert server.client.infer("leaf_seg", "oblique", {})[1]["version"] == "initial"


@pytest.mark.nightly
def test_killed_alone_while_training(
    make_studies: Callable[[Path], Path], hippocampus: Path, start: Callable[..., Server], tmp_path: Path
) -> None:
    """The training, whose output nobody takes any more, ends by itself and leaves nothing."""
    studies = make_studies(tmp_path / "studies")
    store = studies / "leaf_seg_models"
    server = start(studies)
    server.client.save_label(FIRST, str(hippocampus / "labels" / f"{FIRST}.nii.gz"), params=dict(LABEL_INFO))
    server.client.train_start("leaf_seg", {"max_epochs": 1000})
    for expected in (True, False):
        for _ in range(240):
            if any(store.glob(".training_*/model/train.log")) == expected:
                break
            time.sleep(0.5)
        else:
            pytest.fail(server.log.read_text()[-3000:])
        server.kill()
    restarted = start(studies)
    assert restarted.client.info()["models"]["leaf_seg"]["config"]["version"] == ["served", "initial"]
    assert restarted.client.infer("leaf_seg", "oblique", {})[1]["version"] == "initial"
    server.close()


def test_killed_while_labels_are_submitted(
    make_studies: Callable[[Path], Path], start: Callable[..., Server], tmp_path: Path
) -> None:
    """Labels are replaced without end; whenever the server is killed, each is a whole one, and none is lost."""
    studies = make_studies(tmp_path / "studies")
    image: Any = nib.load(studies / f"{FIRST}.nii.gz")
    rng = np.random.default_rng(0)
    versions = []
    for number in range(4):
        file = tmp_path / f"label_{number}.nii.gz"
        nib.save(nib.Nifti1Image(rng.integers(0, 3, image.shape, dtype=np.uint8), image.affine), file)
        versions.append(file)
    whole = {file.read_bytes() for file in versions}
    answered = 0
    for attempt in range(3):
        server = start(studies)
        if attempt:  # what is known is of this file, so that it can be trained on
            known = json.loads((studies / "datastore_v2.json").read_text())["objects"][FIRST]["labels"]["final"]
            kept = (studies / "labels" / "final" / f"{FIRST}.nii.gz").read_bytes()
            assert known["info"]["sha256"] == hashlib.sha256(kept).hexdigest()
        assert server.client.info()["datastore"]["completed"] == min(attempt, 1)
        stop = threading.Event()

        def submit(server: Server = server, stop: threading.Event = stop) -> None:
            nonlocal answered
            while not stop.is_set():
                for file in versions:
                    try:
                        server.client.save_label(FIRST, str(file), params=dict(LABEL_INFO))
                    except OSError:
                        return
                    answered += 1

        thread = threading.Thread(target=submit)
        thread.start()
        time.sleep(1.5 + 0.37 * attempt)
        server.kill()
        stop.set()
        thread.join()
        assert (studies / "labels" / "final" / f"{FIRST}.nii.gz").read_bytes() in whole
        stored = json.loads((studies / "datastore_v2.json").read_text())
        assert set(stored["objects"]) == {FIRST, "oblique", "picture"}
    assert answered > 10
    server = start(studies)
    assert server.client.info()["datastore"] == {"total": 3, "completed": 1, "label_tags": {"final": 1}}
    info = json.loads((studies / "datastore_v2.json").read_text())["objects"][FIRST]["labels"]["final"]["info"]
    assert info["label_info"] == LABEL_INFO["label_info"]
    assert os.listdir(studies / "labels" / "final") == [f"{FIRST}.nii.gz"]
