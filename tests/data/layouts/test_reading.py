from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from leaf_seg.data.layouts import read_layout
from leaf_seg.data.splits import check_unique, digest
from leaf_seg.runtime.errors import InputError


def _touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix in (".png", ".jpg"):
            Image.fromarray(np.zeros((4, 4), np.uint8)).save(file)
        else:
            file.write_bytes(b"")


def _folders(root: Path, names: Sequence[str], image_suffix: str = ".png") -> Path:
    for name in names:
        _touch(root / "images" / f"{name}{image_suffix}", root / "labels" / f"{name}.png")
    return root


def _datalist(path: Path, **content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def _decathlon(root: Path, **content: Any) -> Path:
    entries = [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in "abc"]
    hidden = {"image": "./imagesTr/._a.nii.gz", "label": "./labelsTr/._a.nii.gz"}
    _touch(*(root / entry[key] for entry in entries for key in entry))
    _datalist(root / "dataset.json", **{"training": [hidden, *entries], "test": ["./imagesTs/z.nii.gz"], **content})
    return root


def test_folders_match_by_case_name_and_ignore_hidden_files(tmp_path: Path) -> None:
    root = _folders(tmp_path, "ba", image_suffix=".jpg")
    _touch(root / "images" / "._a.jpg", root / "images" / "notes.txt")
    layout = read_layout(str(root))
    assert layout.splits["training"] == [
        {"image": str(root / "images" / f"{name}.jpg"), "label": str(root / "labels" / f"{name}.png")} for name in "ab"
    ]
    assert not layout.is_split


def test_images_and_labels_that_stand_alone_are_listed(tmp_path: Path) -> None:
    root = _folders(tmp_path, "ab")
    _touch(root / "images" / "alone.png", root / "labels" / "orphan.png")
    with pytest.raises(InputError, match=r"1 images without label: alone; 1 labels without image: orphan"):
        read_layout(str(root))


def test_two_files_of_one_case(tmp_path: Path) -> None:
    root = _folders(tmp_path, "a")
    _touch(root / "images" / "a.jpg")
    with pytest.raises(InputError, match=r"a\.png and a\.jpg are the same case"):
        read_layout(str(root))


def test_split_file_is_honoured_and_may_leave_cases_out(tmp_path: Path) -> None:
    root = _folders(tmp_path, "abcd")
    _datalist(root / "split.json", training=["c.png"], validation=["a.png"], testing=["d.png"])
    layout = read_layout(str(root))
    names = {split: [Path(case["image"]).stem for case in cases] for split, cases in layout.splits.items()}
    assert names == {"training": ["c"], "validation": ["a"], "testing": ["d"]}
    assert layout.is_split


def test_split_file_in_a_decathlon_folder(tmp_path: Path) -> None:
    root = _decathlon(tmp_path, labels={"0": "background", "1": "head"})
    _datalist(root / "split.json", training=["c.nii.gz"], validation=["a.nii.gz"])
    layout = read_layout(str(root))
    expected = {"image": str(root / "imagesTr" / "c.nii.gz"), "label": str(root / "labelsTr" / "c.nii.gz")}
    assert layout.splits["training"] == [expected]
    assert [Path(case["image"]).name for case in layout.splits["validation"]] == ["a.nii.gz"]
    assert layout.splits["testing"] == []
    assert layout.class_names == ["background", "head"]
    assert layout.is_split


def test_split_file_beside_a_list_that_is_split(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = _decathlon(tmp_path)
    content = json.loads((root / "dataset.json").read_text())
    _datalist(root / "dataset.json", **(content | {"validation": [content["training"].pop()]}))
    _datalist(root / "split.json", training=["a.nii.gz"])
    assert [Path(case["image"]).name for case in read_layout(str(root)).splits["validation"]] == ["c.nii.gz"]
    assert "split.json is not used" in caplog.text


def test_split_file_without_images(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        _touch(tmp_path / folder / "a.xyz")
    _datalist(tmp_path / "split.json", training=["a.xyz"])
    with pytest.raises(InputError, match="no pairs of image and label"):
        read_layout(str(tmp_path))


def test_split_file_of_images_that_share_their_names(tmp_path: Path) -> None:
    entries = [{"image": f"{n}/a.png", "label": f"{n}/b.png"} for n in (1, 2)]
    _touch(*(tmp_path / entry[key] for entry in entries for key in entry))
    _datalist(tmp_path / "dataset.json", training=entries)
    _datalist(tmp_path / "split.json", training=["a.png"])
    with pytest.raises(InputError, match="some images have the same"):
        read_layout(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"training": ["a.png", "x.png"]}, r"names 1 files that are no images of the data set: x\.png"),
        ({"training": ["a.png"], "testing": ["a.png"]}, r"more than once: a\.png"),
        ({"trainig": ["a.png"]}, "has the keys trainig; expected"),
        ({"training": "a.png"}, "expected lists"),
        ({}, "has the keys"),
    ],
)
def test_bad_split_file(tmp_path: Path, content: dict[str, Any], words: str) -> None:
    _datalist(_folders(tmp_path, "ab") / "split.json", **content)
    with pytest.raises(InputError, match=words):
        read_layout(str(tmp_path))


def test_split_file_that_is_no_json(tmp_path: Path) -> None:
    (_folders(tmp_path, "ab") / "split.json").write_text("{")
    with pytest.raises(InputError, match=r"split\.json: cannot be read as JSON"):
        read_layout(str(tmp_path))


@pytest.mark.parametrize("labels", [{"1": "head", "0": "background"}, {"head": 1, "background": 0}])
def test_decathlon_folder(tmp_path: Path, labels: dict[str, Any]) -> None:
    layout = read_layout(str(_decathlon(tmp_path, labels=labels)))
    assert [Path(case["image"]).name for case in layout.splits["training"]] == ["a.nii.gz", "b.nii.gz", "c.nii.gz"]
    assert layout.splits["testing"] == []
    assert layout.class_names == ["background", "head"]
    assert not layout.is_split


@pytest.mark.parametrize("labels", [{"0": "background", "2": "head"}, {"a": 0, "b": 0, "c": 1}, ["a"], {"a": []}])
def test_unclear_class_names(tmp_path: Path, labels: Any) -> None:
    with pytest.raises(InputError, match="expected the classes 0, 1"):
        read_layout(str(_decathlon(tmp_path, labels=labels)))


@pytest.mark.parametrize("key", ["testing", "test"])
def test_datalist_with_relative_and_absolute_paths(tmp_path: Path, key: str) -> None:
    _folders(tmp_path / "data", "ab")
    relative = {"image": "data/images/a.png", "label": "data/labels/a.png"}
    absolute = {name: str(tmp_path / "data" / f"{name}s" / "b.png") for name in ("image", "label")}
    path = _datalist(tmp_path / "list.json", training=[{**relative, "fold": 0}], **{key: [absolute]})
    layout = read_layout(str(path))
    assert layout.splits["training"] == [{name: str(tmp_path / relative[name]) for name in ("image", "label")}]
    assert layout.splits["testing"] == [absolute]
    assert layout.splits["validation"] == []
    assert layout.is_split


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ([{"image": "images/a.png"}], "expected {'image': path, 'label': path}"),
        ([{"image": ["images/a.png", "images/b.png"], "label": "labels/a.png"}], "found the entry"),
        (
            [{"image": "images/x.png", "label": "labels/a.png"}],
            r"1 of its files do not exist or are no files: .*x\.png",
        ),
        ([{"image": "images/a.png", "label": "labels/a.png"}] * 2, r"more than once.*a\.png"),
        ([], "no pairs"),
        ("a.png", "expected the list training"),
    ],
)
def test_bad_datalist(tmp_path: Path, training: Any, words: str) -> None:
    path = _datalist(_folders(tmp_path, "ab") / "list.json", training=training)
    with pytest.raises(InputError, match=words):
        read_layout(str(path))


def test_json_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has the keys shapes"):
        read_layout(str(_datalist(tmp_path / "list.json", shapes=[])))
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(InputError, match="holds a list"):
        read_layout(str(tmp_path / "list.json"))


def test_no_data_set_names_the_layouts_and_what_is_there(tmp_path: Path) -> None:
    _touch(tmp_path / "scans" / "a.png", tmp_path / "b.png")
    with pytest.raises(InputError, match=r"no data set there, but in .* 1 \.png, scans/.*dataset\.json.*images/"):
        read_layout(str(tmp_path))
    with pytest.raises(InputError, match=r"but nothing \(it does not exist\)\. Expected one of"):
        read_layout(str(tmp_path / "nowhere"))


def test_no_pairs_names_what_is_there(tmp_path: Path) -> None:
    _touch(tmp_path / "images" / "a.bmp", tmp_path / "images" / "b.bmp")
    (tmp_path / "labels").mkdir()
    with pytest.raises(InputError, match=r"no pairs .* in images/ 2 \.bmp; in labels/ nothing"):
        read_layout(str(tmp_path))


@pytest.mark.parametrize("name", ["", " ", "two\nlines", "\x1b[2J", 3, None, "background"])
def test_class_names_that_cannot_be_shown(tmp_path: Path, name: Any) -> None:
    pair = {"image": "images/a.png", "label": "labels/a.png"}
    labels = {"0": "background", "1": name}
    path = _datalist(_folders(tmp_path, "ab") / "dataset.json", training=[pair], labels=labels)
    with pytest.raises(InputError, match=r"^[^\n]*dataset\.json: its labels, by number, is [^\n]*; expected [^\n]*$"):
        read_layout(str(path))


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    os.mkfifo(tmp_path / "dataset.json")
    for path in (
        tmp_path / "circle",
        "x" * 5000,
        "a\0b",
        tmp_path,
        tmp_path / "dataset.json",
        "~nobody_of_this_name/x",
    ):
        with pytest.raises(InputError, match=r"^[^\n]*no data set there, but [^\n]*$"):
            read_layout(str(path))


def test_a_link_to_an_image_of_another_split_is_the_same_image(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    image.write_text("an image")
    (tmp_path / "b.png").symlink_to(image)
    case, linked = ({"image": str(tmp_path / name), "label": "label.png"} for name in ("a.png", "b.png"))
    with pytest.raises(InputError, match="2 images are listed more than once, or are one file"):
        check_unique({"training": [case], "testing": [linked]}, tmp_path)


def test_label_files_for_each_class(tmp_path: Path) -> None:
    _touch(*(tmp_path / f"{name}.png" for name in ("a", "a_disc", "a_cup")))
    entry = {"image": "a.png", "label_files": ["a_disc.png", "a_cup.png"]}
    layout = read_layout(str(_datalist(tmp_path / "list.json", training=[], testing=[entry])))
    expected = [str(tmp_path / "a_disc.png"), str(tmp_path / "a_cup.png")]
    assert layout.splits["testing"] == [{"image": str(tmp_path / "a.png"), "label": expected}]
    assert digest(layout.splits, tmp_path) == digest(layout.splits, tmp_path.parent / tmp_path.name)
    (tmp_path / "a_cup.png").unlink()
    with pytest.raises(InputError, match=r"1 of its files do not exist .*a_cup\.png"):
        read_layout(str(tmp_path / "list.json"))
    _datalist(tmp_path / "list.json", training=[{**entry, "label_files": "a_disc.png"}])
    with pytest.raises(InputError, match="or 'label_files' with a list of one for each class"):
        read_layout(str(tmp_path / "list.json"))
