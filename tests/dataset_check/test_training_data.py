from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from leaf_seg.data import load_datalist
from leaf_seg.dataset_check.training_data import (
    TRAINING_DATA_NAME,
    TrainingDataRecord,
    known_cases,
    training_data,
)
from leaf_seg.runtime.errors import InputError


def test_what_was_trained_on_is_known_by_content_and_by_group(sound: Path, tmp_path: Path) -> None:
    datalist = load_datalist(str(sound), group_regex=r"(p\d)_")
    TrainingDataRecord(datalist, tmp_path, r"(p\d)_").write()
    known = training_data(tmp_path, datalist.sha256)
    assert known is not None
    assert known.num_cases == {"training": 2, "validation": 2, "testing": 2}
    assert known_cases(datalist.testing, known) == {"same_file": [], "same_group": []}
    renamed = sound / "images" / "p0_9.png"
    renamed.write_bytes(Path(datalist.training[0]["image"]).read_bytes())
    case = {"image": str(renamed), "label": datalist.training[0]["label"]}
    other = {"image": str((sound / "images" / "p2_0.png").rename(sound / "images" / "p0_8.png")), "label": ""}
    assert known_cases([case, other], known) == {"same_file": [case], "same_group": [case, other]}
    assert "p0" not in (tmp_path / TRAINING_DATA_NAME).read_text()  # no names of patients leave the data set


def test_a_record_of_another_training_counts_as_none(sound: Path, tmp_path: Path) -> None:
    assert training_data(tmp_path, "0") is None
    TrainingDataRecord(load_datalist(str(sound)), tmp_path).write()
    assert training_data(tmp_path, "0") is None
    assert training_data(tmp_path, None) is None


@pytest.mark.parametrize("content", [{}, {"images": 3, "groups": []}])
def test_a_damaged_record(tmp_path: Path, content: dict[str, object]) -> None:
    (tmp_path / TRAINING_DATA_NAME).write_text(json.dumps(content))
    with pytest.raises(InputError, match="is no record of training data"):
        training_data(tmp_path, "0")


def test_training_warns_of_leaks(sound: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    datalist = load_datalist(str(sound), group_regex=r"_(\d)")
    Path(datalist.testing[0]["image"]).write_bytes(Path(datalist.training[0]["image"]).read_bytes())
    with caplog.at_level(logging.WARNING):
        TrainingDataRecord(datalist, tmp_path, r"_(\d)").check()
    assert not (tmp_path / TRAINING_DATA_NAME).exists()  # before the training starts
    assert "2 images have the same content as one in another split." in caplog.text
    assert "2 of 2 groups (patients or sequences) have cases in more than one split: 0, 1." in caplog.text
