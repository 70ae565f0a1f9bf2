from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient
from monai.handlers import MLFlowHandler
from monai.utils import path_to_sqlite_uri

from leaf_seg.data import make_phantoms
from leaf_seg.data.datalists import Datalist, given_cases, load_datalist
from leaf_seg.tracking import TrackedData
from leaf_seg.tracking.mlflow_data import SplitDataset
from leaf_seg.tracking.mlflow_run import MlflowRun

CLASSES = ["background", "cell", "nucleus"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phantoms(tmp_path_factory.mktemp("data") / "cells", dimension=2, num_cases=6, num_classes=3)


@pytest.fixture
def datalist(folder: Path) -> Datalist:
    return load_datalist(str(folder))


def test_what_a_data_set_says(datalist: Datalist, folder: Path) -> None:
    dataset = SplitDataset(datalist, "training", CLASSES).to_dict()
    assert dataset["name"] == "cells"
    assert dataset["source"] == f'{{"uri": "{folder.as_uri()}"}}'
    assert f'"num_cases": {len(datalist.training)}, "num_classes": 3' in dataset["profile"]
    assert len(dataset["digest"]) == 12


def test_the_digest_is_of_the_cases_wherever_they_lie(datalist: Datalist, folder: Path, tmp_path: Path) -> None:
    elsewhere = load_datalist(str(folder.rename(tmp_path / "moved")))
    folder.parent.mkdir(exist_ok=True)
    (tmp_path / "moved").rename(folder)
    digests = {split: SplitDataset(datalist, split, CLASSES).digest for split in ("training", "validation", "testing")}
    assert len(set(digests.values())) == 3
    assert SplitDataset(elsewhere, "training", CLASSES).digest == digests["training"]
    fewer = Datalist(datalist.training[1:], datalist.validation, [], None, "", datalist.folder)
    assert SplitDataset(fewer, "training", CLASSES).digest != digests["training"]
    assert SplitDataset(fewer, "validation", CLASSES).digest == digests["validation"]


def test_a_run_has_each_split_once(datalist: Datalist, empty_store: Path, tmp_path: Path) -> None:
    uri = path_to_sqlite_uri(str(shutil.copy(empty_store, tmp_path)))
    for splits in (("training", "validation"), ("training", "validation"), ("validation",), ("testing",)):
        run = MlflowRun(MLFlowHandler(uri, experiment_name="x"), "abc", "name")
        TrackedData(datalist, CLASSES).log(run, *splits)
    inputs = MlflowClient(uri).get_run(run.id).inputs
    assert inputs is not None
    contexts = [tag.value for item in inputs.dataset_inputs for tag in item.tags]
    assert sorted(contexts) == ["testing", "training", "validation"]


def test_cases_that_a_program_hands_over(datalist: Datalist) -> None:
    given = given_cases(datalist.training, datalist.validation)
    assert SplitDataset(given, "training", CLASSES).to_dict()["name"] == "cases"
