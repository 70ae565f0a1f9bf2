from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from leaf_seg.data import load_datalist, make_phantoms
from leaf_seg.data.phantom_raters import majority, rater_labels
from leaf_seg.runtime.errors import InputError


def discs() -> np.ndarray:
    """Two discs, one of them with a nucleus."""
    rows, columns = np.indices((64, 64))
    label = np.zeros((64, 64), np.uint8)
    for centre in (16, 46):
        label[(rows - centre) ** 2 + (columns - centre) ** 2 <= 100] = 1
    label[(rows - 16) ** 2 + (columns - 16) ** 2 <= 9] = 2
    return label


def test_raters_differ_in_edges_and_in_what_they_mark() -> None:
    labels = rater_labels(discs(), 200, np.random.default_rng(0))
    assert all(set(np.unique(label)) <= {0, 1, 2} for label in labels)
    marked = [ndimage.label(label > 0)[1] for label in labels]
    share = np.mean([[label[16, 16] > 0, label[46, 46] > 0] for label in labels])
    assert share == pytest.approx(0.75, abs=0.06)
    assert set(marked) == {0, 1, 2}
    sizes = [int((label[32:, 32:] > 0).sum()) for label in labels if label[46, 46]]
    radii = np.sqrt(np.array(sizes) / np.pi)
    assert radii.mean() == pytest.approx(10, abs=0.5)
    assert 1 < radii.std() < 2.5
    nuclei = [int((label == 2).sum()) for label in labels if label[16, 16]]
    assert set(nuclei) == {int((discs() == 2).sum())}, "only the foreground's edge is moved"


def test_an_empty_phantom_stays_empty() -> None:
    assert not any(label.any() for label in rater_labels(np.zeros((16, 16), np.uint8), 3, np.random.default_rng(0)))


def test_majority() -> None:
    votes = [np.array([[0, 1, 2, 2]], np.uint8), np.array([[1, 1, 2, 0]], np.uint8), np.array([[0, 2, 1, 1]], np.uint8)]
    assert majority(votes).tolist() == [[0, 1, 2, 0]]


def test_a_negative_number_of_raters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="num_raters is -1; expected 0 or more"):
        make_phantoms(tmp_path / "set", num_raters=-1)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(("dimension", "size"), [(2, (32, 40)), (3, (16, 20, 18))])
def test_the_data_set_has_a_folder_for_each_rater(tmp_path: Path, dimension: int, size: tuple[int, ...]) -> None:
    plain = make_phantoms(tmp_path / "plain", dimension, 4, 3, size)
    rated = make_phantoms(tmp_path / "rated", dimension, 4, 3, size, num_raters=3)
    assert sorted(folder.name for folder in rated.iterdir() if folder.is_dir()) == [
        "images",
        "labels",
        "labels_r1",
        "labels_r2",
        "labels_r3",
    ]
    cases = load_datalist(str(rated)).training
    assert all(len(case["raters"]) == 3 for case in cases)
    for file in (plain / "images").iterdir():
        assert file.read_bytes() == (rated / "images" / file.name).read_bytes()
    if dimension == 2:
        for file in (rated / "labels").iterdir():
            raters = [np.array(Image.open(rated / f"labels_r{number}" / file.name)) for number in (1, 2, 3)]
            assert np.array_equal(np.array(Image.open(file)), majority(raters))
