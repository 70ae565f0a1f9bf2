"""Segmenting with an exported file in the place of a model folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import leaf_seg
from leaf_seg.__main__ import main
from leaf_seg.data import make_phantoms
from leaf_seg.export import export_model
from leaf_seg.networks import SegResNetSegmenter
from leaf_seg.runtime.errors import InputError
from tests.export.exported import saved
from tests.networks.test_baselines import make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    settings = {"axis": ["coronal", "sagittal"], "num_slices": 3, "mirror_axes": [0]}
    return saved(make(SegResNetSegmenter), tmp_path / "model", **settings)


@pytest.mark.parametrize(
    ("to", "whole"),
    [("torchscript", True), ("torchscript", False), pytest.param("onnx", True, marks=pytest.mark.slow)],
)
def test_pictures_and_volumes(to: str, whole: bool, folder: Path) -> None:
    exported, model = leaf_seg.load(export_model(folder, to, whole)), leaf_seg.load(folder, device="cpu")
    volume = np.random.default_rng(0).normal(size=(20, 24, 9)).astype(np.float32)
    picture = (np.random.default_rng(0).random((33, 21, 3)) * 255).astype(np.uint8)
    affine = np.diag([-1.0, 1, 1.5, 1])
    for image, options in ((volume, {"affine": affine}), (picture, {}), (picture, {"probabilities": False})):
        expected, found = model(image, **options), exported(image, **options)
        assert len(np.unique(expected.label)) > 1
        assert (found.label != expected.label).mean() < 1e-3
        assert found.expected_dice == pytest.approx(expected.expected_dice, abs=1e-4)
        if not options.get("probabilities", True):
            continue
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-4)


@pytest.mark.slow
def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = (
        make_phantoms(tmp_path / "p", dimension=2, num_cases=3, num_classes=3, size=(40, 48), channels=3) / "images"
    )
    assert main(["export", str(folder), "--to", "torchscript", "--whole"]) == 0
    file = folder / "model_whole.ts"
    assert main(["segment", str(images), str(tmp_path / "out"), "--model", str(file), "--probabilities"]) == 0
    assert main(["segment", str(images), str(tmp_path / "same"), "--model", str(folder), "--probabilities"]) == 0
    written = sorted(path.relative_to(tmp_path / "same") for path in (tmp_path / "same").rglob("*.png"))
    assert len(written) == 3 + 3 + 3 * 3
    assert written == sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.png"))
    assert main(["segment", str(images), str(tmp_path / "o"), "--model", str(file), "--num-samples", "2"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("leaf_seg: An exported file has one answer to an image, and no 2 hypotheses")


def test_device_and_precision(folder: Path) -> None:
    file = export_model(folder, "torchscript")
    for device, precision in (("cuda", "fp32"), ("auto", "bf16")):
        with pytest.raises(InputError, match="an exported file runs on the CPU in fp32"):
            leaf_seg.load(file, device, precision)


def test_what_is_no_exported_file(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_text("x")
    with pytest.raises(InputError, match=r"model\.pt is no model; expected the folder of a model, or an exported file"):
        leaf_seg.load(tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"There is no file .*model\.onnx"):
        leaf_seg.load(tmp_path / "model.onnx")
