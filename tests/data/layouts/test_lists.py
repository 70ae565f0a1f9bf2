"""Lists: datalists, nnU-Net's dataset.json, tables, folds."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from leaf_seg.data.layouts import Choices, read_layout
from leaf_seg.runtime.errors import InputError
from tests.data.layouts.files import names, touch, write_json

pytestmark = pytest.mark.odd_input


def _entries(letters: str, **more: Any) -> list[dict[str, Any]]:
    return [{"image": f"images/{name}.png", "label": f"labels/{name}.png", **more} for name in letters]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return touch(tmp_path, *(f"{folder}/{name}.png" for folder in ("images", "labels") for name in "abcd"))


def _letters(layout: Any) -> dict[str, str]:
    return {split: "".join(Path(image).stem for image, _ in cases) for split, cases in names(layout).items()}


def _nnunet(root: Path, channels: int = 1, cases: str = "ab", **content: Any) -> Path:
    for name in cases:
        touch(root, *(f"imagesTr/{name}_{number:04d}.nii.gz" for number in range(channels)), f"labelsTr/{name}.nii.gz")
    default = {
        "channel_names": {str(number): f"T{number + 1}" for number in range(channels)},
        "labels": {"background": 0, "head": 1, "tail": 2},
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
    }
    write_json(root / "dataset.json", default | content)
    return root


def test_nnunet(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    touch(_nnunet(tmp_path), "imagesTs/y_0000.nii.gz", "imagesTs/z_0000.nii.gz", "labelsTs/z.nii.gz")
    layout = read_layout(str(tmp_path))
    assert names(layout) == {
        "training": [("imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"), ("imagesTr/b_0000.nii.gz", "labelsTr/b.nii.gz")],
        "testing": [("imagesTs/z_0000.nii.gz", "labelsTs/z.nii.gz")],
    }
    assert layout.class_names == ["background", "head", "tail"]
    assert not layout.is_split
    assert "recognised nnU-Net; 2 training, 1 testing" in caplog.text


def test_nnunet_of_several_channels(tmp_path: Path) -> None:
    _nnunet(tmp_path, channels=2)
    with pytest.raises(InputError, match=r"each case has 2 images \(T1, T2\).*--modality T1"):
        read_layout(str(tmp_path))
    layout = read_layout(str(tmp_path), Choices(modality="T2"))
    assert names(layout)["training"][0] == ("imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz")
    (tmp_path / "imagesTr" / "b_0000.nii.gz").unlink()
    with pytest.raises(InputError, match=r"1 cases do not have the files of all 2 channels \(T1, T2\): b"):
        read_layout(str(tmp_path), Choices(modality="T2"))


def test_nnunet_of_version_1(tmp_path: Path) -> None:
    entries = [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in "ab"]
    _nnunet(tmp_path)
    write_json(
        tmp_path / "dataset.json", {"training": entries, "modality": {"0": "CT"}, "labels": {"0": "b", "1": "h"}}
    )
    assert names(read_layout(str(tmp_path)))["training"][0] == ("imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")


def test_nnunet_that_lists_its_files(tmp_path: Path) -> None:
    touch(tmp_path, "x/1.png", "y/1.png")
    write_json(
        tmp_path / "dataset.json",
        {
            "channel_names": {"0": "R"},
            "file_ending": ".png",
            "dataset": {"one": {"images": ["x/1.png"], "label": "y/1.png"}},
        },
    )
    assert names(read_layout(str(tmp_path))) == {"training": [("x/1.png", "y/1.png")]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"file_ending": ".xyz"}, r"its file_ending is '\.xyz'; expected one of"),
        ({"labels": {"background": 0, "whole": [1, 2], "core": 2}}, "its labels whole are regions of several values"),
        ({"labels": {"background": 0, "head": 2}}, "expected the classes 0, 1"),
    ],
)
def test_unfit_nnunet(tmp_path: Path, content: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_layout(str(_nnunet(tmp_path, **content)))


def test_nnunet_without_channels_in_the_names(tmp_path: Path) -> None:
    touch(_nnunet(tmp_path), "imagesTr/c.nii.gz", "labelsTr/c.nii.gz")
    with pytest.raises(InputError, match=r"1 files have no channel in their names: c\.nii\.gz"):
        read_layout(str(tmp_path))


def test_nnunet_label_to_ignore_is_no_class(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = {"background": 0, "head": [1], "ignore": 2}
    assert read_layout(str(_nnunet(tmp_path, labels=labels))).class_names == ["background", "head"]
    assert "its label 'ignore' (2) is no class here" in caplog.text


def test_nnunet_counts_and_endings_that_disagree_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(_nnunet(tmp_path, numTraining=3), "imagesTr/c_0000.nii")
    assert len(read_layout(str(tmp_path)).splits["training"]) == 2
    assert "numTraining is 3, but there are 2 cases" in caplog.text
    assert "1 images do not end in .nii.gz" in caplog.text


def test_nnunet_splits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    _nnunet(tmp_path, cases="abc")
    folds = [{"train": ["a", "b"], "val": ["c"]}, {"train": ["c"], "val": ["a"]}]
    write_json(tmp_path / "splits_final.json", folds)
    layout = read_layout(str(tmp_path))
    assert _letters(layout) == {"training": "a_0000.niib_0000.nii", "validation": "c_0000.nii"}
    assert layout.is_split
    assert "Fold 0" in caplog.text
    assert "--fold 0 to 1 chooses" in caplog.text
    assert _letters(read_layout(str(tmp_path), Choices(fold=1))) == {
        "training": "c_0000.nii",
        "validation": "a_0000.nii",
    }
    with pytest.raises(InputError, match=r"fold is 2, but .* has the folds 0 to 1"):
        read_layout(str(tmp_path), Choices(fold=2))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"train": []}, "expected nnU-Net's list of folds"),
        ([{"train": ["a"], "val": 1}], "expected nnU-Net's list of folds"),
        ([{"train": ["a"], "val": ["z"]}], "names 1 cases that the data set does not have: z"),
        ([{"train": ["a"], "val": ["a"]}], "has a both in train and in val"),
    ],
)
def test_bad_nnunet_splits(tmp_path: Path, content: Any, words: str) -> None:
    write_json(_nnunet(tmp_path) / "splits_final.json", content)
    with pytest.raises(InputError, match=words):
        read_layout(str(tmp_path))


def test_monai_folds(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    entries = [*_entries("a", fold=0), *_entries("b", fold=1), *_entries("c", fold=2)]
    path = write_json(root / "list.json", {"training": entries, "testing": _entries("d")})
    assert _letters(read_layout(str(path))) == {"training": "bc", "validation": "a", "testing": "d"}
    assert "Fold 0" in caplog.text
    assert _letters(read_layout(str(path), Choices(fold=2))) == {"training": "ab", "validation": "c", "testing": "d"}
    with pytest.raises(InputError, match="fold is 3"):
        read_layout(str(path), Choices(fold=3))


def test_folds_beside_a_validation_list(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    entries = [*_entries("a", fold=0), *_entries("b", fold=1)]
    path = write_json(root / "list.json", {"training": entries, "validation": _entries("c")})
    assert _letters(read_layout(str(path))) == {"training": "ab", "validation": "c"}
    assert "the list's folds are not used" in caplog.text


def test_one_fold_is_no_split(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_json(root / "list.json", {"training": _entries("ab", fold=0)})
    assert not read_layout(str(path)).is_split
    assert "all cases are of fold 0, which is no split" in caplog.text
    with pytest.raises(InputError, match="which holds all training cases"):
        read_layout(str(path), Choices(fold=0))


def test_a_fold_of_a_data_set_without_folds(root: Path) -> None:
    with pytest.raises(InputError, match=r"fold is 1, but .* has no folds"):
        read_layout(str(root), Choices(fold=1))
    with pytest.raises(InputError, match="folds that are no whole numbers"):
        read_layout(str(write_json(root / "list.json", {"training": _entries("ab", fold="x")})))


def test_lists_by_other_names(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = {"train": _entries("a"), "valid": _entries("b"), "test": _entries("c"), "unlabeled": _entries("d")}
    path = write_json(root / "list.json", content)
    assert _letters(read_layout(str(path))) == {"training": "a", "validation": "b", "testing": "c"}
    assert "its lists unlabeled belong to no split and are left out" in caplog.text
    with pytest.raises(InputError, match="has two lists of training cases"):
        read_layout(str(write_json(path, {"train": _entries("a"), "training": _entries("b")})))


def test_counts_that_disagree_are_told(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_layout(str(write_json(root / "list.json", {"training": _entries("ab"), "numTraining": 5})))
    assert "numTraining is 5, but it lists 2" in caplog.text


def test_several_modalities_are_told(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = {"training": _entries("ab"), "modality": {"0": "T2", "1": "ADC"}}
    assert read_layout(str(write_json(root / "dataset.json", content))).modalities == ["T2", "ADC"]
    assert "lists 2 modalities (T2, ADC)" in caplog.text


@pytest.mark.parametrize("label", ["images/a.png", "images/b.png", "./images/../images/a.png"])
def test_labels_that_are_images(root: Path, label: str) -> None:
    entries = [{"image": "images/a.png", "label": label}, *_entries("b")]
    with pytest.raises(InputError, match="1 of its labels are images of the list"):
        read_layout(str(write_json(root / "list.json", {"training": entries})))


def test_one_label_of_two_images_is_told(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    entries = [*_entries("a"), {"image": "images/b.png", "label": "labels/a.png"}]
    read_layout(str(write_json(root / "list.json", {"training": entries})))
    assert "1 labels are those of more than one image" in caplog.text


def test_several_labels_are_raters(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    entries = [{"image": "images/a.png", "label": ["labels/a.png", "labels/b.png"]}]
    (case,) = read_layout(str(write_json(root / "list.json", {"training": entries}))).splits["training"]
    assert case["label"] == case["raters"][0] == str(root / "labels" / "a.png")
    assert len(case["raters"]) == 2
    assert "have several labels; the first is that of training" in caplog.text


def test_several_images_of_a_case(root: Path) -> None:
    entries = [{"image": ["images/a.png", "images/b.png"], "label": "labels/a.png"}]
    with pytest.raises(InputError, match="with 2 images; a network sees one of them"):
        read_layout(str(write_json(root / "list.json", {"training": entries})))


def test_hard_links_are_one_image(root: Path) -> None:
    (root / "images" / "e.png").hardlink_to(root / "images" / "a.png")
    touch(root, "labels/e.png")
    with pytest.raises(InputError, match=r"2 images are listed more than once, or are one file under several names"):
        read_layout(str(root))


@pytest.mark.parametrize("image", ["images\\a.png", ".\\images\\a.png", "images/a.PNG", "images/../images/a.png"])
def test_paths_as_others_write_them(root: Path, image: str) -> None:
    entries = [{"image": image, "label": "labels/a.png"}]
    path = root / "list.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"training": entries}).encode())
    assert names(read_layout(str(path))) == {"training": [("images/a.png", "labels/a.png")]}


@pytest.mark.parametrize(("listed", "there"), [("\u00e9", "e\u0301"), ("e\u0301", "\u00e9")])
def test_lists_in_another_normal_form(tmp_path: Path, listed: str, there: str) -> None:
    touch(tmp_path, f"{there}/{there}.png", f"{there}/{there}_mask.png")
    entry = {"image": f"{listed}/{listed}.png", "label": f"{listed}/{listed}_mask.png"}
    layout = read_layout(str(write_json(tmp_path / "list.json", {"training": [entry]})))
    assert Path(layout.splits["training"][0]["image"]).is_file()


def test_a_link_to_a_list(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    of_target = write_json(root / "list.json", {"training": _entries("a")})
    (other / "link.json").symlink_to(of_target)
    assert names(read_layout(str(other / "link.json"))) == {"training": [("images/a.png", "labels/a.png")]}
    of_link = write_json(other / "store" / "list.json", {"training": _entries("b")})
    (root / "here.json").symlink_to(of_link)
    layout = read_layout(str(root / "here.json"))
    assert (layout.root, names(layout)) == (root, {"training": [("images/b.png", "labels/b.png")]})


def test_split_file_beside_a_list_of_another_name_is_told(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_json(root / "split.json", {"training": ["a.png"], "validation": ["b.png"]})
    path = write_json(root / "list.json", {"training": _entries("abc")})
    assert _letters(read_layout(str(path))) == {"training": "abc"}
    assert "split.json is not used" in caplog.text
    path.rename(root / "dataset.json")
    assert _letters(read_layout(str(root / "dataset.json"))) == {"training": "a", "validation": "b"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_table(root: Path, delimiter: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rows = [
        "Image,mask,Split,patient,age",
        *(f"images/{n}.png,labels/{n}.png,{s},p{n},7" for n, s in (("a", "train"), ("b", "Val"), ("c", "test"))),
        "images/d.png,,test,pd,7",
        "",
    ]
    path = root / "cases.csv"
    path.write_text("\r\n".join(rows).replace(",", delimiter), encoding="utf-8-sig")
    layout = read_layout(str(path))
    assert _letters(layout) == {"training": "a", "validation": "b", "testing": "c"}
    assert list(layout.groups.values()) == ["pa", "pb", "pc"]
    assert "1 test cases have no label" in caplog.text
    assert "the columns age are not used" in caplog.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"columns \(nothing\); expected image, label"),
        ("image,other\na,b", "has the columns image, other; expected image, label"),
        ("image,img,label\na,b,c", "each once"),
        ("image,label\n,labels/a.png", "the rows 2 have no image"),
        ("image,label,split\nimages/a.png,labels/a.png,somewhere", "has the splits somewhere"),
        ("image,label,split\nimages/a.png,labels/a.png,train\nimages/b.png,labels/b.png,", "1 rows without a split"),
        ("image,label\nimages/a.png,", "found the entry"),
        ("image,label\nimages/z.png,labels/a.png", r"1 of its files do not exist .*z\.png"),
        ("image,label,fold\nimages/a.png,labels/a.png,x", "has the fold x"),
        ("\ud800", "cannot be read as CSV"),
    ],
)
def test_bad_table(root: Path, text: str, words: str) -> None:
    (root / "cases.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError, match=words):
        read_layout(str(root / "cases.csv"))


def test_folds_of_a_table(root: Path) -> None:
    rows = ["image,label,fold", *(f"images/{name}.png,labels/{name}.png,{i}" for i, name in enumerate("abc"))]
    (root / "cases.csv").write_text("\n".join(rows))
    layout = read_layout(str(root / "cases.csv"), Choices(fold=1))
    assert _letters(layout) == {"training": "ac", "validation": "b"}


def test_a_dataset_json_that_names_the_classes_alone(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_json(root / "dataset.json", {"name": "cells", "labels": {"0": "background", "1": "cell", "2": "ignore"}})
    layout = read_layout(str(root))
    assert (_letters(layout), layout.class_names) == ({"training": "abcd"}, ["background", "cell"])
    assert "dataset.json lists no cases; those of the folders are used" in caplog.text


def test_a_data_set_whose_name_is_in_another_normal_form(tmp_path: Path) -> None:
    touch(tmp_path / "e\u0301", "images/a.png", "labels/a.png")
    assert _letters(read_layout(str(tmp_path / "\u00e9"))) == {"training": "a"}
    assert _letters(read_layout(f"{tmp_path}\\\u00e9")) == {"training": "a"}
