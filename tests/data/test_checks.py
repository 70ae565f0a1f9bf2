from __future__ import annotations

from pathlib import Path

import pytest
from monai.data import Dataset
from monai.transforms import Compose

from leaf_seg.data import check_cases, check_mirrored, make_phantoms
from leaf_seg.runtime.errors import InputError
from leaf_seg.transforms.check_pair import CheckPair
from leaf_seg.transforms.load_case import LoadCase


def test_the_last_unfit_case_is_found(tmp_path: Path) -> None:
    root = make_phantoms(tmp_path, num_cases=4, size=(20, 20))
    cases = [
        {key: str(root / f"{key}s" / f"phantom_{index:04d}.png") for key in ("image", "label")} for index in range(4)
    ]
    dataset = Dataset(cases, Compose([LoadCase(), CheckPair(num_classes=3)]))
    check_cases(dataset)
    (root / "labels" / "phantom_0003.png").write_bytes(b"no picture")
    with pytest.raises(RuntimeError) as error:  # MONAI's, around ours
        check_cases(dataset)
    assert isinstance(error.value.__cause__, InputError)
    assert "phantom_0003.png" in str(error.value.__cause__)


def test_pictures_have_no_third_axis_to_be_mirrored_along(tmp_path: Path) -> None:
    root = make_phantoms(tmp_path, num_cases=3, size=(20, 20))
    dataset = Dataset([{"image": str(root / "images" / "phantom_0000.png")}], LoadCase("image"))
    check_cases(dataset, mirror_axes=[0, 1])
    with pytest.raises(InputError, match=r"mirror_axes is \[2\]; the images are pictures"):
        check_cases(dataset, mirror_axes=[2])


def test_axis_2_is_refused_where_all_images_are_pictures(tmp_path: Path) -> None:
    picture = next((make_phantoms(tmp_path / "2", num_cases=3, size=(20, 20)) / "images").iterdir())
    volume = next(make_phantoms(tmp_path / "3", 3, num_cases=3, size=(16, 16, 16)).rglob("*.nii.gz"))
    damaged = tmp_path / "b.png"
    damaged.write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"^mirror_axes is \[0, 2\]; the images are pictures, with the axes 0 and 1"):
        check_mirrored([str(damaged), str(picture)], [0, 2])
    check_mirrored([str(picture)], [0, 1])
    check_mirrored([str(picture), str(volume)], [2])  # the picture is a fault of its own
    check_mirrored([str(damaged)], [2])
