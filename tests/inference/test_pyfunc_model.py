from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import leaf_seg
from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.inference.pyfunc_model import PyfuncModel, _load_pyfunc
from leaf_seg.networks import LatentSegmenter
from leaf_seg.runtime.errors import InputError
from leaf_seg.weights import save_model


@pytest.fixture
def folder(make_segmenter: Callable[..., LatentSegmenter], tmp_path: Path) -> Path:
    return save_model(make_segmenter(), ModelSettings(["background", "a", "b"], (16, 16)), tmp_path / "model")


@pytest.fixture
def model(folder: Path) -> PyfuncModel:
    return _load_pyfunc(str(folder), {"inference_device": "cpu", "inference_batch_size": 2})


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Two pictures of different sizes."""
    random = np.random.default_rng(0)
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, size in zip(paths, ((20, 30), (17, 9)), strict=True):
        Image.fromarray(random.integers(0, 255, size, np.uint8)).save(path)
    return [str(path) for path in paths]


def test_paths(model: PyfuncModel, files: list[str], folder: Path) -> None:
    segment = leaf_seg.load(folder, device="cpu")
    expected = [segment(file).label for file in files]
    assert [label.shape for label in expected] == [(20, 30), (17, 9)]
    given: list[Any] = [
        files,
        tuple(files),
        np.array(files),
        np.array([files]).T,
        pd.DataFrame(files),
        pd.Series(files),
    ]
    for paths in given:
        for label, right in zip(model.predict(paths), expected, strict=True):
            assert label.dtype == np.uint8
            np.testing.assert_array_equal(label, right)
    (alone,) = model.predict(Path(files[0]))
    np.testing.assert_array_equal(alone, expected[0])


def test_arrays_of_any_size(model: PyfuncModel, files: list[str], folder: Path) -> None:
    volume = np.random.default_rng(0).normal(size=(20, 24, 3)).astype(np.float32)
    arrays = [np.asarray(Image.open(file)) for file in files]
    labels = model.predict([*arrays, np.stack([arrays[0]] * 3, axis=2), (volume, np.eye(4))])
    assert [label.shape for label in labels] == [(20, 30), (17, 9), (20, 30), (20, 24, 3)]
    np.testing.assert_array_equal(labels[0], model.predict(files[:1])[0])
    np.testing.assert_array_equal(labels[3], leaf_seg.load(folder, device="cpu")(volume, np.eye(4)).label)


def test_hypotheses_are_averaged(model: PyfuncModel, files: list[str], folder: Path) -> None:
    several = model.predict(files, {"num_samples": 3})
    segment = leaf_seg.load(folder, device="cpu")
    np.testing.assert_array_equal(several[0], segment(files[0], num_samples=3).label)


def test_slices_of_the_networks_size(model: PyfuncModel, folder: Path) -> None:
    slices = np.random.default_rng(0).random((5, 3, 16, 16))  # of another number format than the network's
    found = model.predict(slices)
    with torch.no_grad():
        expected = leaf_seg.load(folder, device="cpu").network(torch.from_numpy(slices).float()).numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_is_no_image(model: PyfuncModel) -> None:
    cases: list[tuple[Any, str]] = [
        (np.zeros((2, 3, 8, 8)), r"slices are an array \[2, 3, 8, 8\]; expected \['B', 3, 16, 16\]"),
        (np.zeros((4, 4)), "The input is ndarray; expected paths of images"),
        ([], "The input is list; expected paths"),
        (None, "The input is NoneType; expected paths"),
        ([np.zeros(3)], r"An image is array.*; expected a path, an array"),
        ([np.zeros((2, 3, 4))], "expected a picture .* or a volume"),
        (["nowhere.png"], r"nowhere\.png: does not exist"),
    ]
    for given, problem in cases:
        with pytest.raises(InputError, match=problem):
            model.predict(given)


@pytest.mark.parametrize(
    ("slices", "params", "message"),
    [
        (np.full((1, 3, 16, 16), 255, np.uint8), None, "The slices have values from 255 to 255; expected 0 to 1"),
        (np.full((1, 3, 16, 16), np.nan), None, "The slices have values from nan to nan; expected 0 to 1"),
        (np.zeros((1, 3, 16, 16)), {"num_samples": 5}, "num_samples is 5 for slices; expected 1"),
    ],
)
def test_slices_that_cannot_be_meant(model: PyfuncModel, slices: Any, params: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        model.predict(slices, params)


def test_the_precision_is_that_of_slices_too(model: PyfuncModel, folder: Path) -> None:
    slices = np.random.default_rng(0).random((2, 3, 16, 16))
    half = _load_pyfunc(str(folder), {"inference_device": "cpu", "inference_precision": "bf16"}).predict(slices)
    whole = model.predict(slices)
    assert 0 < np.abs(half - whole).max() < 0.1
    with pytest.raises(InputError, match="precision fp16 needs a CUDA device"):
        _load_pyfunc(str(folder), {"inference_device": "cpu", "inference_precision": "fp16"}).predict(slices)
