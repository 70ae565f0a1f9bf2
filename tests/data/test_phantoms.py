from __future__ import annotations

import itertools
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from leaf_seg.data import load_datalist, make_phantoms, phantom
from leaf_seg.runtime.errors import InputError
from leaf_seg.transforms.check_pair import CheckPair
from leaf_seg.transforms.load_case import LoadCase


def _labels(root: Path) -> dict[str, np.ndarray]:
    return {file.name: np.asarray(Image.open(file)) for file in sorted((root / "labels").iterdir())}


@pytest.mark.parametrize("shape", [(16, 16), (96, 64), (24, 20, 18)])
@pytest.mark.parametrize("kind", ["normal", "small"])
@pytest.mark.parametrize("num_classes", [2, 3, 4])
def test_every_class_is_there(shape: tuple[int, ...], kind: str, num_classes: int) -> None:
    for seed in range(10):
        image, label = phantom(shape, num_classes, np.random.default_rng(seed), kind=kind)
        assert image.shape == (1, *shape)
        assert (image.dtype, label.dtype) == (np.float32, np.uint8)
        assert image.min() >= 0
        assert image.max() <= 1
        assert np.unique(label).tolist() == list(range(num_classes))


def test_empty_and_small_phantoms() -> None:
    for seed in range(20):
        sizes = {
            kind: np.count_nonzero(phantom((64, 64), 4, np.random.default_rng(seed), kind=kind)[1])
            for kind in ("normal", "small", "empty")
        }
        assert sizes["empty"] == 0
        assert 0 < sizes["small"] < 0.05 * 64 * 64
        assert sizes["normal"] > sizes["small"]


@pytest.mark.parametrize("channels", [1, 3])
def test_classes_differ_in_the_image_and_the_background_is_textured(channels: int) -> None:
    means = []
    for seed in range(20):
        image, label = phantom((96, 96), 4, np.random.default_rng(seed), channels)
        assert image.shape == (channels, 96, 96)
        assert image[:, label == 0].std() > 0.01
        means.append([image[:, label == number].mean(axis=1) for number in range(4)])
    mean = np.mean(means, axis=0)  # [4, C]; shading hides some difference in a single case
    for one, other in itertools.combinations(range(4), 2):
        assert np.abs(mean[one] - mean[other]).max() > 0.05


def test_nucleus_lies_in_a_cell() -> None:
    for seed in range(10):
        label = phantom((64, 64), 4, np.random.default_rng(seed))[1]
        neighbours = {
            int(label[i + di, j + dj])
            for i, j in np.argwhere(label[1:-1, 1:-1] == 2) + 1
            for di, dj in ((0, 1), (1, 0), (0, -1), (-1, 0))
        }
        assert neighbours <= {1, 2}


def test_pictures_are_a_data_set(tmp_path: Path) -> None:
    root = make_phantoms(tmp_path / "set", num_cases=12, num_classes=4, size=(40, 56), channels=3)
    datalist = load_datalist(str(root))
    check = CheckPair(num_classes=4)
    load = LoadCase()
    for case in (*datalist.training, *datalist.validation, *datalist.testing):
        loaded = check(load(case))
        assert loaded["image"].shape == (3, 40, 56)
        assert loaded["label"].shape == (1, 40, 56)
    assert [len(getattr(datalist, split)) for split in ("training", "validation", "testing")] == [8, 2, 2]


@pytest.mark.parametrize("num_cases", [3, 6, 30, 60])
def test_some_cases_are_hard_and_every_split_has_a_normal_one(tmp_path: Path, num_cases: int) -> None:
    root = make_phantoms(tmp_path, num_cases=num_cases, num_classes=2, size=(32, 32))
    foreground = {name: int(np.count_nonzero(label)) for name, label in _labels(root).items()}
    split = json.loads((root / "split.json").read_text())
    assert sorted(name for names in split.values() for name in names) == sorted(foreground)
    for names in split.values():
        assert max(foreground[name] for name in names) > 20
    num_empty = sum(count == 0 for count in foreground.values())
    assert num_empty == {3: 0, 6: 1, 30: 3, 60: 7}[num_cases]


def test_a_case_depends_on_seed_and_number_only(tmp_path: Path) -> None:
    short = make_phantoms(tmp_path / "a", num_cases=3, size=(32, 32), seed=5)
    long = make_phantoms(tmp_path / "b", num_cases=5, size=(32, 32), seed=5)
    other = make_phantoms(tmp_path / "c", num_cases=3, size=(32, 32), seed=6)
    for file in (short / "images").iterdir():
        assert file.read_bytes() == (long / "images" / file.name).read_bytes()
        assert file.read_bytes() != (other / "images" / file.name).read_bytes()


def test_share_of_the_foreground(tmp_path: Path) -> None:
    make_phantoms(tmp_path, num_cases=30, num_classes=2, size=(64, 64), target_share=(0.02, 0.1))
    shares = [(label > 0).mean() for label in _labels(tmp_path).values()]
    assert shares.count(0) == 3  # the empty ones
    assert all(share == 0 or 0.02 <= share <= 0.1 for share in shares)
    with pytest.raises(InputError, match=r"target_share is \[0.9, 1.0\], and none of 1000 normal phantoms"):
        make_phantoms(tmp_path, num_cases=3, size=(16, 16), target_share=(0.9, 1.0))


def test_volumes_have_spacings_and_orientations(tmp_path: Path) -> None:
    root = make_phantoms(tmp_path, dimension=3, num_cases=3, size=(24, 20, 16))
    codes, oblique = [], []
    for file in sorted((root / "images").iterdir()):
        image, label = (nib.Nifti1Image.from_filename(root / folder / file.name) for folder in ("images", "labels"))
        assert image.shape == label.shape == (24, 20, 16)
        assert np.array_equal(image.affine, label.affine)
        assert len(set(np.round(image.header.get_zooms(), 3))) == 3
        assert image.header["qform_code"] == image.header["sform_code"] == 1
        codes.append("".join(nib.aff2axcodes(image.affine)))
        oblique.append(bool(nib.affines.obliquity(image.affine).max() > 0.01))
    assert codes == ["RAS", "LPI", "RAS"]
    assert oblique == [False, False, True]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dimension": 4}, "expected 2"),
        ({"size": (32, 32, 32)}, "expected 2 numbers"),
        ({"size": (8, 32)}, "at least 16"),
        ({"num_cases": 2}, "at least 3"),
        ({"num_classes": 5}, "2 to 4"),
        ({"channels": 2}, "1 .* or 3"),
        ({"dimension": 3, "channels": 3}, "pictures only"),
    ],
)
def test_arguments_out_of_range(tmp_path: Path, arguments: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make_phantoms(tmp_path, **arguments)


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Cannot write"):
        make_phantoms(tmp_path / "file" / "set")
