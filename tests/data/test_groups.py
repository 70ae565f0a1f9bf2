"""No patient in two splits."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from leaf_seg.data import Datalist, load_datalist
from leaf_seg.data.groups import shared_groups
from leaf_seg.data.splits import SPLITS
from leaf_seg.runtime.errors import InputError
from tests.data.layouts.files import touch, write_json


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve patients of one to twelve frames."""
    frames = [f"p{patient:02d}_{frame}.png" for patient in range(1, 13) for frame in range(patient)]
    return touch(tmp_path / "set", *(f"{part}/{name}" for part in ("images", "labels") for name in frames))


def _patients(datalist: Datalist) -> list[set[str]]:
    return [{Path(case["image"]).name[:3] for case in getattr(datalist, split)} for split in SPLITS]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("regex", [r"^(p\d+)_", r"p\d+", r"images/(p\d+)"])
def test_no_patient_is_in_two_splits(folder: Path, seed: int, regex: str) -> None:
    datalist = load_datalist(str(folder), seed=seed, group_regex=regex)
    training, validation, testing = _patients(datalist)
    assert not training & validation
    assert not training & testing
    assert not validation & testing
    assert len(training | validation | testing) == 12
    counts = [len(getattr(datalist, split)) for split in SPLITS]
    assert sum(counts) == 78
    assert 45 <= counts[0] <= 65
    assert counts[1] >= 4
    assert 11 <= counts[2] <= 24
    assert load_datalist(str(folder), seed=seed, group_regex=regex) == datalist


def test_groups_of_a_table(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    names = [file.name for file in sorted((folder / "images").iterdir())]
    table.write_text("image,patient\n" + "\n".join(f"{name},{name[:3]}" for name in names))
    by_table = load_datalist(str(folder), group_file=str(table))
    assert by_table == load_datalist(str(folder), str(tmp_path / "other.json"), group_regex="p..")
    table.write_text(f"image,patient\n{names[0]},1")
    with pytest.raises(InputError, match="has no group for 77 images"):
        load_datalist(str(folder), group_file=str(table))


@pytest.mark.parametrize(
    ("regex", "words"),
    [("(", "no regular expression"), (r"q\d", "is not in 78 of the names"), ("p", "all images are of one group")],
)
def test_bad_expressions(folder: Path, regex: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_datalist(str(folder), group_regex=regex)


def test_both_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="group_regex and group_file are given"):
        load_datalist(str(folder), group_regex="p..", group_file="x.csv")


def test_fewer_groups_than_parts(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{part}/{name}.png" for part in ("images", "labels") for name in ("a1", "a2", "b1")))
    with pytest.raises(InputError, match=r"3 case\(s\) in 2 group\(s\)"):
        load_datalist(str(tmp_path), group_regex="[ab]")


def test_a_kept_split_from_before_the_groups_is_refused(folder: Path) -> None:
    load_datalist(str(folder))
    with pytest.raises(InputError, match=re.escape("leaf_seg_datalist.json: was made without these groups")):
        load_datalist(str(folder), group_regex="p..")


def test_folders_of_patients_are_groups(tmp_path: Path) -> None:
    frames = [f"P{patient}/{frame}{mark}.png" for patient in range(4) for frame in range(5) for mark in ("", "_mask")]
    datalist = load_datalist(str(touch(tmp_path, *frames)))
    assert not shared_groups({split: getattr(datalist, split) for split in SPLITS}, datalist.groups)
    assert len(datalist.groups) == 20


def test_a_given_split_that_leaks_is_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_json(folder / "split.json", {"training": ["p02_0.png", "p03_0.png"], "testing": ["p02_1.png"]})
    datalist = load_datalist(str(folder), group_regex="p..")
    assert len(datalist.training) == 2
    assert "the split leaks: 1 of 12 groups" not in caplog.text
    assert (
        "the split leaks: 1 of 2 groups (patients or sequences) are in more than one of its parts: p02" in caplog.text
    )


def test_testing_cases_that_are_set_apart_stay_so(tmp_path: Path) -> None:
    touch(tmp_path, *(f"train/{part}/{name}.png" for part in ("images", "masks") for name in "abcdefgh"))
    touch(tmp_path, *(f"test/{part}/{name}.png" for part in ("images", "masks") for name in "xyz"))
    datalist = load_datalist(str(tmp_path))
    assert [len(getattr(datalist, split)) for split in SPLITS] == [7, 1, 3]
    assert {Path(case["image"]).stem for case in datalist.testing} == {"x", "y", "z"}
    assert load_datalist(str(tmp_path)) == datalist
    assert len(json.loads((tmp_path / "leaf_seg_datalist.json").read_text())["testing"]) == 3


def test_raters_are_kept_with_the_split(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{part}/{n}.png" for part in ("images", "labels", "labels_r1", "labels_r2") for n in "abcd"))
    datalist = load_datalist(str(tmp_path))
    assert all(len(case["raters"]) == 2 for case in datalist.training)
    again = load_datalist(str(tmp_path / "leaf_seg_datalist.json"))
    assert again.training == datalist.training


def test_the_sequences_of_a_real_data_set(shared_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    last = [25, 50, 67, 78, 103, 126, 151, 177, 199, 205, 227, 252, 277, 297, 317, 342, 363, 383, 408, 428, 447, 466]
    last += [478, 503, 528, 546, 571, 591, 612]
    rows = [f"{frame:03d},{next(i for i, end in enumerate(last, 1) if frame <= end)}" for frame in range(1, 613)]
    (tmp_path / "sequences.csv").write_text("image,sequence\n" + "\n".join(rows))
    folder, table = str(shared_data / "cvc_clinicdb"), str(tmp_path / "sequences.csv")
    load_datalist(folder, group_file=table)
    assert "leaks" not in caplog.text
    load_datalist(folder, group_file=table, split_file="split_published.json")
    assert "the split leaks: 27 of 29 groups" in caplog.text
