"""What a fresh reader found: folders beside, folders of a series, and splits from before."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from leaf_seg.data import load_datalist
from leaf_seg.data.layouts import read_layout
from leaf_seg.runtime.errors import InputError
from tests.data.layouts.test_reading import _datalist, _folders, _touch
from tests.image_io.dicom_files import write_series

pytestmark = pytest.mark.odd_input


def test_masks_of_the_field_of_view_are_not_taken_for_labels(tmp_path: Path) -> None:
    for name in "abc":
        _touch(tmp_path / "images" / f"{name}.png", tmp_path / "manual1" / f"{name}.png")
        _touch(tmp_path / "mask" / f"{name}_mask.png")
    with pytest.raises(InputError, match=r"several folders of labels \(manual1/, mask/\)"):
        read_layout(str(tmp_path))


@pytest.mark.parametrize("beside", ["backup/{}_mask.png", "v1/images/{}.png"])
def test_images_and_labels_are_taken_whatever_lies_beside_them(tmp_path: Path, beside: str) -> None:
    _folders(tmp_path, "abcd")
    for name in "xy":
        file = beside.format(name)
        _touch(tmp_path / file, tmp_path / file.replace("images", "labels"))
    assert len(read_layout(str(tmp_path)).splits["training"]) == 4


@pytest.mark.parametrize("listed", [False, True])
def test_series_in_folders_are_images(tmp_path: Path, listed: bool) -> None:
    for name in "abc":
        write_series(tmp_path / "images" / name, np.zeros((4, 5, 3), np.int16))
        _touch(tmp_path / "labels" / f"{name}.nii.gz")
    source = tmp_path
    if listed:
        entries = [{"image": f"images/{name}", "label": f"labels/{name}.nii.gz"} for name in "abc"]
        source = _datalist(tmp_path / "list.json", training=entries)
    cases = read_layout(str(source)).splits["training"]
    assert [Path(case["image"]).name for case in cases] == ["a", "b", "c"]


def test_a_split_from_before_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _folders(tmp_path, "abcdef")
    before = load_datalist(str(tmp_path))
    (tmp_path / "train.txt").write_text("a\nb\n")
    (tmp_path / "val.txt").write_text("c\n")
    with caplog.at_level(logging.WARNING):
        assert load_datalist(str(tmp_path)).sha256 == before.sha256
    assert "leaf_seg_datalist.json, which was made before, is used; folds and lists of names are not" in caplog.text
    (tmp_path / "leaf_seg_datalist.json").unlink()
    assert len(load_datalist(str(tmp_path)).training) == 2


def test_lines_with_image_and_label(tmp_path: Path) -> None:
    _folders(tmp_path, "abc")
    (tmp_path / "train.txt").write_text("images/a.png labels/a.png\nimages/b.png labels/b.png\n")
    (tmp_path / "val.txt").write_text("images/c.png labels/c.png\n")
    layout = read_layout(str(tmp_path))
    assert [len(layout.splits[split]) for split in ("training", "validation")] == [2, 1]


def test_a_group_that_given_test_cases_share_is_told_each_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _folders(tmp_path, ["p0_1", "p0_2", "p1_1", "p2_1", "p3_1"])
    rows = [("p0_1", "test", "p0"), *((f"{name}", "train", name[:2]) for name in ("p0_2", "p1_1", "p2_1", "p3_1"))]
    lines = [f"images/{name}.png,labels/{name}.png,{split},{group}" for name, split, group in rows]
    table = tmp_path / "cases.csv"
    table.write_text("\n".join(["image,label,split,group", *lines]))
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            datalist = load_datalist(str(table))
        assert len(datalist.testing) == 1
        assert "the split leaks: 1 of 4 groups" in caplog.text
