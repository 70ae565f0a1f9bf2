"""Listing goes by names alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from leaf_seg.image_io.listing import case_name, list_images
from leaf_seg.runtime.errors import InputError


def test_images_of_a_folder_are_sorted_and_not_opened(tmp_path: Path) -> None:
    for name in ("b.NII.GZ", "a.png", "._a.png", "notes.txt", "c.jpeg", "dir/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [Path(case["image"]).name for case in list_images(tmp_path)] == ["a.png", "b.NII.GZ", "c.jpeg"]


def test_one_file_need_not_be_called_as_an_image(tmp_path: Path) -> None:
    (tmp_path / "scan").touch()
    assert list_images(tmp_path / "scan") == [{"image": str(tmp_path / "scan")}]


def test_nothing_to_list(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No image in .*; expected files ending in \.png, .*\.nii, .* directly in it"):
        list_images(tmp_path)
    with pytest.raises(InputError, match="nowhere does not exist; expected an image file or a folder"):
        list_images(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("path", "name"), [("a/b_001.nii.gz", "b_001"), ("b.Tiff", "b"), ("b.c.png", "b.c"), ("b.gz", "b.gz"), ("b", "b")]
)
def test_case_name(path: str, name: str) -> None:
    assert case_name(path) == name


def test_empty_name() -> None:
    with pytest.raises(InputError, match="name of the images is empty"):
        list_images("")
