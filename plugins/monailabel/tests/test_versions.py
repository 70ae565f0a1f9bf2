from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import nibabel as nib
import numpy as np
import pytest
from fastapi import HTTPException

from leaf_seg.runtime.errors import InputError
from lib.datastore import DurableDatastore
from lib.predictions import Predictions, content_of, label_digest
from lib.scoring import AgreementScoring
from lib.training import TrainingTask, _foreground_dice
from lib.training_data import write_dataset
from lib.versions import ModelVersions
from plugins.monailabel.tests.conftest import FIRST, ROOT

BUNDLE = ROOT / "bundles" / "leaf_seg"
MODEL = BUNDLE / "models"
NAMES = ("background", "anterior", "posterior")


def finished_training(store: Path) -> Path:
    """A folder as a training leaves it, of the shipped model."""
    folder = store / ".training_1"
    folder.mkdir(parents=True)
    for name in ("config.json", "model.pt"):
        shutil.copy(MODEL / name, folder)
    return folder


def test_versions_are_published_served_and_switched_back(tmp_path: Path) -> None:
    versions = ModelVersions(tmp_path / "store", MODEL)
    assert (versions.names(), versions.served()) == (["initial"], "initial")
    for number in (1, 2):
        assert versions.publish(finished_training(versions.store), {"dice": 0.5}) == f"v00{number}"
    assert versions.names() == ["v002", "v001", "initial"]
    assert versions.served() == "initial"  # until one is served
    versions.serve("v002")
    assert ModelVersions(tmp_path / "store", MODEL).served() == "v002"  # of another process
    assert versions.segmenter("v002", "cpu") is versions.segmenter("v002", "cpu")
    versions.serve("initial")
    assert versions.served() == "initial"


def test_a_training_that_is_not_finished_is_no_version(tmp_path: Path) -> None:
    versions = ModelVersions(tmp_path, MODEL)
    finished_training(tmp_path)
    (tmp_path / "v001").mkdir()  # without its record
    assert versions.names() == ["initial"]


def test_what_people_put_into_the_store_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "v001_old").mkdir()
    versions = ModelVersions(tmp_path, MODEL)
    assert versions.publish(finished_training(tmp_path), {}) == "v001"
    assert (tmp_path / "v001_old").is_dir()


def test_a_served_version_of_other_structures(tmp_path: Path) -> None:
    versions = ModelVersions(tmp_path, MODEL)
    versions.serve(versions.publish(finished_training(tmp_path), {}))
    assert ModelVersions(tmp_path, MODEL, ["tumour"]).served() is None


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", "\xff", '{"version": "../../etc"}', '{"version": 5}', '{"version": ".."}']
)
def test_what_is_served_cannot_be_read(tmp_path: Path, text: str) -> None:
    versions = ModelVersions(tmp_path / "store", MODEL)
    versions.publish(finished_training(versions.store), {})
    (versions.store / "served.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"served\.json (cannot be read|names the version)"):
        versions.served()


def test_validation_is_first_of_all_on_what_the_served_model_has_not_seen(
    make_studies: Callable[[Path], Path], tmp_path: Path
) -> None:
    studies = make_studies(tmp_path / "studies")
    datastore = DurableDatastore(str(studies), NAMES, extensions=("*.nii.gz",))
    for image in (FIRST, "oblique"):
        volume: Any = nib.load(studies / f"{image}.nii.gz")
        nib.save(nib.Nifti1Image(np.zeros(volume.shape, np.uint8), volume.affine), tmp_path / "label.nii.gz")
        datastore.save_label(image, str(tmp_path / "label.nii.gz"), "final", {})
    for number, (seen, validated) in enumerate(((FIRST, "oblique"), ("oblique", FIRST))):
        file = write_dataset(datastore, NAMES, 0.2, tmp_path / str(number), [seen])
        splits = json.loads(file.datalist.read_text())
        assert [Path(case["image"]).name for case in splits["validation"]] == [f"{validated}.nii.gz"]
        assert [Path(case["image"]).name for case in splits["training"]] == [f"{seen}.nii.gz"]


def test_untouched_answers_are_not_compared_on(
    make_studies: Callable[[Path], Path], hippocampus: Path, tmp_path: Path
) -> None:
    studies = make_studies(tmp_path / "studies")
    datastore = DurableDatastore(str(studies), NAMES, extensions=("*.nii.gz",))
    label: Any = nib.load(hippocampus / "labels" / f"{FIRST}.nii.gz")
    datastore.predictions.add(FIRST, label_digest(np.asarray(label.dataobj)))
    datastore.save_label(FIRST, str(hippocampus / "labels" / f"{FIRST}.nii.gz"), "final", {})
    dataset = write_dataset(datastore, NAMES, 0.2, tmp_path / "data")
    assert dataset.predictions == (FIRST,)
    versions = ModelVersions(tmp_path / "store", MODEL)
    task = TrainingTask(versions, BUNDLE)
    record = task._compare(tmp_path / "no model is needed", dataset, task.check({}, datastore))
    assert (record["dice"], record["served"], record["untouched_predictions"]) == (None, False, 1)
    assert record["note"].startswith("Nothing to compare on; 1 labels are untouched answers of the server")

    oblique: Any = nib.load(studies / "oblique.nii.gz")  # with a second one, which somebody has made
    nib.save(nib.Nifti1Image(np.zeros(oblique.shape, np.uint8), oblique.affine), tmp_path / "label.nii.gz")
    datastore.save_label("oblique", str(tmp_path / "label.nii.gz"), "final", {})
    splits = json.loads(write_dataset(datastore, NAMES, 0.2, tmp_path / "two").datalist.read_text())
    assert {Path(case["image"]).name for case in splits["training"]} == {f"{FIRST}.nii.gz", "oblique.nii.gz"}


def test_a_model_that_finds_nothing_is_worse_than_a_poor_one(tmp_path: Path) -> None:
    """Most of the labels are empty, which predicting nothing meets."""

    class Shifted:
        settings = SimpleNamespace(class_names=("background", "x"))

        def __init__(self, rows: int) -> None:
            self.rows = rows

        def __call__(self, image: str) -> Any:
            found = np.asarray(nib.nifti1.load(image).dataobj)
            return SimpleNamespace(label=np.roll(found, self.rows, 0) if self.rows else np.zeros_like(found))

    cases = []
    for number in range(4):
        label = np.zeros((12, 12, 4), np.uint8)
        label[1:5, 1:5] = number == 0
        file = str(tmp_path / f"{number}.nii.gz")
        nib.save(nib.Nifti1Image(label, np.eye(4)), file)
        cases.append({"image": file, "label": file})
    empty, poor = (_foreground_dice(cast(Any, Shifted(rows)), cases) for rows in (0, 3))
    assert (empty, poor) == (0, pytest.approx(0.25))


def test_answers_that_are_kept_are_the_latest(tmp_path: Path) -> None:
    predictions = Predictions(tmp_path / "predictions.db")
    assert ("a", "0") not in predictions
    for number in (*range(60), 20):
        predictions.add("a", str(number))
    predictions.add("b", "0")
    assert [str(number) for number in range(60) if ("a", str(number)) in predictions] == [*map(str, range(10, 60))]
    predictions.forget("a")
    assert ("a", "59") not in predictions
    assert ("b", "0") in Predictions(tmp_path / "predictions.db")


def test_a_version_that_is_gone(tmp_path: Path) -> None:
    versions = ModelVersions(tmp_path, MODEL)
    versions.serve("v007")
    with pytest.raises(InputError, match="names the version 'v007', which is not there"):
        versions.served()


def test_other_structures_have_no_model_yet(tmp_path: Path) -> None:
    versions = ModelVersions(tmp_path, MODEL, ["tumour"])
    assert versions.class_names == ("background", "tumour")
    assert (versions.names(), versions.served()) == ([], None)
    with pytest.raises(InputError, match="no model to score with"):
        AgreementScoring(versions, "").check({})
    with pytest.raises(InputError, match="different names"):
        ModelVersions(tmp_path, MODEL, ["a", "a"])


def test_images_are_read_as_the_model_was_trained(tmp_path: Path) -> None:
    model, studies = shutil.copytree(MODEL, tmp_path / "model"), tmp_path / "studies"
    config = json.loads((model / "config.json").read_text())
    del config["sha256"]
    config["settings"] |= {"channels": [2], "num_slices": 3}
    (model / "config.json").write_text(json.dumps(config))
    versions = ModelVersions(tmp_path / "store", model)
    file = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6, 3), np.int16), np.eye(4)), file)
    datastore = DurableDatastore(str(studies), versions.class_names, versions.reading, extensions=("*.nii.gz",))
    assert datastore.add_image("a", str(file), {}) == "a"
    with pytest.raises(HTTPException) as error:
        DurableDatastore(str(studies), NAMES, extensions=("*.nii.gz",)).add_image("b", str(file), {})
    assert "a volume with 3 channels" in str(error.value.detail)
    assert content_of(str(file)).startswith("/")
    config["settings"]["tiff_stack"] = True
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"\(tiff_stack\), which MONAI Label cannot show"):
        ModelVersions(tmp_path / "store", model)


def test_a_training_that_fails_leaves_nothing(
    make_studies: Callable[[Path], Path], hippocampus: Path, tmp_path: Path
) -> None:
    versions = ModelVersions(tmp_path / "store", MODEL)
    names = ("background", "anterior", "tumour")  # as of another app on the same studies
    datastore = DurableDatastore(str(make_studies(tmp_path / "studies")), names, extensions=("*.nii.gz",))
    task = TrainingTask(versions, BUNDLE)
    with pytest.raises(InputError, match="no label to train on"):
        task({}, datastore)
    wrong = {"label_info": [{"name": "anterior", "idx": 1}, {"name": "tumour", "idx": 2}]}
    datastore.save_label(FIRST, str(hippocampus / "labels" / f"{FIRST}.nii.gz"), "final", wrong)
    with pytest.raises(InputError, match=rf"{FIRST}: The label holds the value 2 \(tumour\); expected anterior, post"):
        task({}, datastore)
    assert versions.served() == "initial"
    assert not list(versions.store.iterdir())


def test_processes_do_not_overwrite_each_other(
    make_studies: Callable[[Path], Path], hippocampus: Path, tmp_path: Path
) -> None:
    folder = str(make_studies(tmp_path / "studies"))
    server, scoring = (DurableDatastore(folder, NAMES, extensions=("*.nii.gz", "*.png")) for _ in range(2))
    server.save_label(FIRST, str(hippocampus / "labels" / f"{FIRST}.nii.gz"), "final", {})
    scoring.update_image_info("oblique", {"epistemic_entropy": 0.25})
    server.update_image_info("picture", {"seen": True})
    objects = json.loads((tmp_path / "studies" / "datastore_v2.json").read_text())["objects"]
    assert list(objects[FIRST]["labels"]) == ["final"]
    assert objects["oblique"]["image"]["info"]["epistemic_entropy"] == 0.25
    assert server.get_image_info("oblique")["epistemic_entropy"] == 0.25
    assert objects["picture"]["image"]["info"]["seen"] is True


def test_two_images_of_one_name(make_studies: Callable[[Path], Path], tmp_path: Path) -> None:
    studies = make_studies(tmp_path / "studies")
    shutil.copy(studies / "picture.png", studies / f"{FIRST}.png")
    with pytest.raises(InputError, match=rf"holds {FIRST}.nii.gz and {FIRST}.png; .* Rename one"):
        DurableDatastore(str(studies), NAMES, extensions=("*.nii.gz", "*.png"))
