"""Folders without a list, by the names of their folders and files."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from leaf_seg.data.layouts import Choices, read_layout
from leaf_seg.runtime.errors import InputError
from tests.data.layouts.files import names, touch, write_json

pytestmark = pytest.mark.odd_input

AB = {"training": [("images/a.png", "labels/a.png"), ("images/b.png", "labels/b.png")]}


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("images", "masks"),
        ("Images", "Ground-truths"),
        ("img", "gt"),
        ("imagesTr", "labelsTr"),
        ("JPEGImages", "Annotations"),
        ("Original", "Ground Truth"),
        ("train_images", "train_masks"),
    ],
)
@pytest.mark.parametrize("mark", ["", "_mask", "_segmentation", "-seg", "_gt", "_Label"])
def test_folders_by_many_names(tmp_path: Path, images: str, labels: str, mark: str) -> None:
    touch(tmp_path, f"{images}/a.jpg", f"{images}/b.JPG", f"{labels}/a{mark}.png", f"{labels}/b{mark}.PNG")
    layout = read_layout(str(tmp_path))
    expected = [(f"{images}/a.jpg", f"{labels}/a{mark}.png"), (f"{images}/b.JPG", f"{labels}/b{mark}.PNG")]
    assert names(layout) == {"training": expected}
    assert not layout.is_split


def test_marks_before_the_name(tmp_path: Path) -> None:
    touch(tmp_path, "Images/covid_1.png", "Ground-truths/mask_covid_1.png")
    assert names(read_layout(str(tmp_path))) == {"training": [("Images/covid_1.png", "Ground-truths/mask_covid_1.png")]}


def test_the_same_subfolders(tmp_path: Path) -> None:
    touch(tmp_path, "images/p1/1.png", "images/p2/1.png", "masks/p1/1.png", "masks/p2/2.png")
    with pytest.raises(InputError, match=r"1 images without label: p2/1; 1 labels without image: p2/2"):
        read_layout(str(tmp_path))
    (tmp_path / "masks" / "p2" / "2.png").rename(tmp_path / "masks" / "p2" / "1.png")
    found = names(read_layout(str(tmp_path)))
    assert found == {"training": [("images/p1/1.png", "masks/p1/1.png"), ("images/p2/1.png", "masks/p2/1.png")]}


@pytest.mark.parametrize(
    "pattern", ["{split}/{kind}/{name}.png", "{kind}/{split}/{name}.png", "{split}_{kind}/{name}.png"]
)
def test_splits_as_folders(tmp_path: Path, pattern: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for split, name in (("train", "a"), ("val", "b"), ("test", "c")):
        touch(tmp_path, *(pattern.format(split=split, kind=kind, name=name) for kind in ("images", "masks")))
    layout = read_layout(str(tmp_path))
    expected = {"training": ("train", "a"), "validation": ("val", "b"), "testing": ("test", "c")}
    assert names(layout) == {
        split: [tuple(pattern.format(split=word, kind=kind, name=name) for kind in ("images", "masks"))]
        for split, (word, name) in expected.items()
    }
    assert layout.is_split
    assert "1 training, 1 validation, 1 testing" in caplog.text


def test_a_split_without_labels_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    touch(tmp_path, "Train Set/Images/a.png", "Train Set/Ground-truths/mask_a.png", "Test Set/Images/b.png")
    layout = read_layout(str(tmp_path))
    assert list(names(layout)) == ["training"]
    assert not layout.is_split
    assert "Test Set: no pairs of image and label, and so left out" in caplog.text


def test_images_and_labels_in_one_folder(tmp_path: Path) -> None:
    touch(tmp_path, "train/a.png", "train/a_mask.png", "val/b.png", "val/b_mask.png")
    assert names(read_layout(str(tmp_path / "train"))) == {"training": [("a.png", "a_mask.png")]}
    assert names(read_layout(str(tmp_path))) == {
        "training": [("train/a.png", "train/a_mask.png")],
        "validation": [("val/b.png", "val/b_mask.png")],
    }
    touch(tmp_path, "train/c.png")
    with pytest.raises(InputError, match=r"1 images without label: c. Expected two files"):
        read_layout(str(tmp_path / "train"))


def _brats(root: Path, *patients: str) -> Path:
    for patient in patients:
        touch(root, *(f"{patient}/{Path(patient).name}_{part}.nii.gz" for part in ("t1", "t1ce", "flair", "seg")))
    return root


def test_brats_folders(tmp_path: Path) -> None:
    _brats(tmp_path, "HGG/BraTS_001", "LGG/BraTS_002")
    with pytest.raises(InputError, match=r"each case has 3 images \(flair, t1, t1ce\).*--modality flair"):
        read_layout(str(tmp_path))
    with pytest.raises(InputError, match=r"modality is 'flairr', .*did you mean 'flair'"):
        read_layout(str(tmp_path), Choices(modality="flairr"))
    layout = read_layout(str(tmp_path), Choices(modality="T1"))
    assert names(layout)["training"] == [
        (f"{folder}/{name}_t1.nii.gz", f"{folder}/{name}_seg.nii.gz")
        for folder, name in (("HGG/BraTS_001", "BraTS_001"), ("LGG/BraTS_002", "BraTS_002"))
    ]
    assert list(layout.groups.values()) == ["HGG/BraTS_001", "LGG/BraTS_002"]
    (tmp_path / "LGG/BraTS_002/BraTS_002_t1.nii.gz").unlink()
    with pytest.raises(InputError, match="1 folders have no image t1: BraTS_002"):
        read_layout(str(tmp_path), Choices(modality="t1"))


def test_patients_with_slices(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "P1/P1_1.tif", "P1/P1_1_mask.tif", "P1/P1_2.tif", "P1/P1_2_mask.tif", "P1/P1_3.tif", "P2/P2_1.tif")
    touch(tmp_path, "P3/imaging.nii.gz", "P3/segmentation.nii.gz", "P4/images/x.png", "P4/masks/x.png")
    layout = read_layout(str(tmp_path))
    assert names(layout)["training"] == [
        ("P1/P1_1.tif", "P1/P1_1_mask.tif"),
        ("P1/P1_2.tif", "P1/P1_2_mask.tif"),
        ("P3/imaging.nii.gz", "P3/segmentation.nii.gz"),
        ("P4/images/x.png", "P4/masks/x.png"),
    ]
    assert list(layout.groups.values()) == ["P1", "P1", "P3", "P4"]
    assert "images without label are left out: P1/P1_3.tif, P2/." in caplog.text


def test_a_label_without_image_in_a_patients_folder(tmp_path: Path) -> None:
    touch(tmp_path, "P1/P1_mask.png", "P1/other.png")
    with pytest.raises(InputError, match=r"1 labels without image: P1_mask\.png"):
        read_layout(str(tmp_path))


def test_what_may_be_read_in_several_ways_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png", "annotations/a.png")
    with pytest.raises(InputError, match=r"several folders of labels \(annotations/, masks/\)"):
        read_layout(str(tmp_path))
    (tmp_path / "annotations" / "a.png").unlink()
    assert names(read_layout(str(tmp_path))) == {"training": [("images/a.png", "masks/a.png")]}
    touch(tmp_path, "train/images/a.png", "train/masks/a.png")
    with pytest.raises(InputError, match=r"can be read in 2 ways \(images/ \+ masks/, 1 cases; train/, each with"):
        read_layout(str(tmp_path))


def test_images_and_labels_count_before_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "images/a.png", "labels/a.png", "masks/a.png")
    assert names(read_layout(str(tmp_path))) == {"training": [("images/a.png", "labels/a.png")]}
    assert "images/ and labels/ are used; masks/ are not" in caplog.text


def test_two_folders_of_one_split(tmp_path: Path) -> None:
    touch(tmp_path, "train/images/a.png", "train/masks/a.png", "training/images/b.png", "training/masks/b.png")
    with pytest.raises(InputError, match=r"several folders of training cases \(train/, training/\)"):
        read_layout(str(tmp_path))


def test_files_of_unknown_kinds_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "images/a.png", "labels/a.png", "images/b.xyz", "images/notes.txt", "images/.DS_Store")
    assert names(read_layout(str(tmp_path))) == {"training": [("images/a.png", "labels/a.png")]}
    assert "images: files that are no images of a known format are left out: 1 .xyz" in caplog.text
    assert "txt" not in caplog.text


def test_unicode_forms_are_the_same_name(tmp_path: Path) -> None:
    touch(tmp_path, "images/mu\u0308ller.png", "labels/m\u00fcller.png")
    write_json(tmp_path / "split.json", {"training": ["m\u00fcller.png"]})
    assert len(read_layout(str(tmp_path)).splits["training"]) == 1


def test_a_circle_of_folders_ends(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "labels/a.png")
    (tmp_path / "images" / "again").symlink_to(tmp_path)
    assert names(read_layout(str(tmp_path))) == {"training": [("images/a.png", "labels/a.png")]}


def test_raters(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *(f"{folder}/{name}.png" for folder in ("images", "labels", "labels_r1", "labels_r10") for name in "ab"),
    )
    touch(tmp_path, "labels_r2/b.png")
    cases = read_layout(str(tmp_path)).splits["training"]
    raters = [[Path(file).relative_to(tmp_path).as_posix() for file in case["raters"]] for case in cases]
    assert raters == [
        ["labels_r1/a.png", "labels_r10/a.png"],
        ["labels_r1/b.png", "labels_r2/b.png", "labels_r10/b.png"],
    ]
    for file in (tmp_path / "labels").iterdir():
        file.unlink()
    (tmp_path / "labels").rmdir()
    with pytest.raises(InputError, match=r"has labels of 3 raters .* but no labels/"):
        read_layout(str(tmp_path))


def test_raters_of_a_real_data_set(shared_data: Path) -> None:
    layout = read_layout(str(shared_data / "qubiq_brain_growth"))
    assert {len(case["raters"]) for cases in layout.splits.values() for case in cases} == {7}


@pytest.mark.parametrize("name", ["a", "a.png", "images/a.png", "./images/a.png", "images\\a.png"])
def test_split_file_by_any_name(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "images/a.png", "images/b.png", "labels/a.png", "labels/b.png")
    write_json(tmp_path / "split.json", {"train": [name], "val": ["b.png"]})
    layout = read_layout(str(tmp_path))
    assert names(layout) == {"training": AB["training"][:1], "validation": AB["training"][1:]}


def test_another_split_file(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "images/b.png", "labels/a.png", "labels/b.png")
    write_json(tmp_path / "split.json", {"training": ["a.png"], "validation": ["b.png"]})
    write_json(tmp_path / "by_group.json", {"training": ["b.png"], "validation": ["a.png"]})
    layout = read_layout(str(tmp_path), Choices(split_file="by_group.json"))
    assert names(layout) == {"training": AB["training"][1:], "validation": AB["training"][:1]}
    with pytest.raises(InputError, match=r"split_file is 'none\.json': neither"):
        read_layout(str(tmp_path), Choices(split_file="none.json"))


@pytest.mark.parametrize("place", [".", "ImageSets/Segmentation"])
def test_lists_of_names(tmp_path: Path, place: str) -> None:
    touch(tmp_path, "JPEGImages/a.jpg", "JPEGImages/b.jpg", "SegmentationClass/a.png", "SegmentationClass/b.png")
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / place / "train.txt").write_text("b\n")
    (tmp_path / place / "val.txt").write_text("\ufeffa.jpg\n\n", encoding="utf-8")
    layout = read_layout(str(tmp_path))
    assert {split: [image for image, _ in pairs] for split, pairs in names(layout).items()} == {
        "training": ["JPEGImages/b.jpg"],
        "validation": ["JPEGImages/a.jpg"],
    }
    assert layout.is_split
    (tmp_path / place / "val.txt").write_text("z")
    with pytest.raises(InputError, match="names 1 files that are no images of the data set: z"):
        read_layout(str(tmp_path))
    (tmp_path / place / "val.txt").write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"val\.txt: cannot be read as a list of names"):
        read_layout(str(tmp_path))


def test_lists_of_a_split_that_are_not_read_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "images/a.png", "labels/a.png", "train.csv", "my_split.json", "README.txt", "attest.csv")
    read_layout(str(tmp_path))
    assert "my_split.json, train.csv are not read, and a split of its own is made" in caplog.text
