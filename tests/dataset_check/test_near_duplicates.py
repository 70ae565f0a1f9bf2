from __future__ import annotations

import numpy as np
import pytest
import torch

from leaf_seg.dataset_check import near_duplicates
from leaf_seg.dataset_check.fingerprint import thumbnail
from leaf_seg.dataset_check.near_duplicates import nearest
from tests.dataset_check.conftest import picture


def tensor(number: int, shift: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.moveaxis(picture(number, shift), -1, 0).copy()).float()


def test_brightness_and_contrast_do_not_count() -> None:
    one, other = thumbnail(tensor(1)), thumbnail(3 * tensor(1) + 20)
    assert float(one.astype(float) @ other.astype(float)) == pytest.approx(1, abs=2e-3)
    assert not thumbnail(torch.full((1, 8, 8), 5.0)).any()


def test_the_nearest_of_each_set_is_what_a_comparison_of_all_pairs_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "_ROWS", 3)
    vectors = [thumbnail(tensor(number // 2, shift=number % 2)) for number in range(10)]
    sets = ["training" if number % 3 else "testing" for number in range(10)]
    stack = np.stack(vectors).astype(np.float32)
    similarity = stack @ stack.T
    np.fill_diagonal(similarity, -2)
    for index, found in enumerate(nearest(vectors, sets)):
        for name in ("training", "testing"):
            row = np.where(np.array(sets) == name, similarity[index], -2)
            assert (found[name].index, found[name].similarity) == (row.argmax(), pytest.approx(row.max(), abs=1e-5))


def test_pictures_and_volumes_are_not_compared() -> None:
    volume = thumbnail(torch.rand(1, 20, 20, 20))
    found = nearest([thumbnail(tensor(0)), volume, thumbnail(tensor(1))], ["a", "a", "a"])
    assert found[1] == {}
    assert found[0]["a"].index == 2
