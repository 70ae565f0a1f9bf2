"""Volumes that are read by a key: channels, and stacks of TIFF, from training to the files of results."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from leaf_seg.image_io import ReadingOptions, read_grid, read_image
from leaf_seg.image_io.tiff_stack import TiffStack

TRAIN = ["--config_file", "bundles/leaf_seg/configs/train.json"]
Run = Callable[..., subprocess.CompletedProcess[str]]


def of_channels(volumes: Path, folder: Path) -> str:
    """The volumes with two more channels; their suffix."""
    for file in sorted((volumes / "images").iterdir()):
        image: Any = nib.load(file)
        values = np.asarray(image.dataobj)
        channels = np.stack([-values, values, 10 * values, values[::-1]], axis=-1)
        nib.save(nib.Nifti1Image(channels, image.affine), folder / "images" / file.name)
        (folder / "labels" / file.name).write_bytes((volumes / "labels" / file.name).read_bytes())
    return ".nii.gz"


def of_pages(volumes: Path, folder: Path) -> str:
    """The volumes as stacks; their suffix."""
    for kind in ("images", "labels"):
        for file in sorted((volumes / kind).iterdir()):
            values = np.asarray(nib.load(file).dataobj)  # type: ignore[attr-defined]
            values = values if kind == "labels" else np.interp(values, (values.min(), values.max()), (0, 65535))
            stored = values.astype(np.uint8 if kind == "labels" else np.uint16)
            path = folder / kind / file.name.replace(".nii.gz", ".tif")
            TiffStack().create(stored, path, np.diag([-0.7, -0.7, 2.0, 1]))
    return ".tif"


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("write", "key"),
    [(of_channels, ["--channels", "[1,0,3]"]), (of_pages, ["--tiff_stack", "true"])],
)
def test_every_command_reads_as_training_did(
    write: Callable[[Path, Path], str],
    key: list[str],
    bundle_run: Run,
    run_python: Run,
    volumes: Path,
    small: list[str],
    tmp_path: Path,
) -> None:
    for kind in ("images", "labels"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    suffix = write(volumes, tmp_path / "data")
    data, model = ["--dataset_dir", tmp_path / "data", "--num_classes", "2"], tmp_path / "model"
    bundle_run("training", *TRAIN, *small, *data, *key, "--num_overlays", "1", "--output_dir", model)
    assert key[0][2:] in json.loads((model / "config.json").read_text())["settings"]
    assert len(list((model / "overlays").iterdir())) == 1
    images = sorted((tmp_path / "data" / "images").iterdir())[:2]
    wanted = ["--model", model, "--statistics", "--probabilities"]
    run_python("-m", "leaf_seg", "segment", *images, tmp_path / "out", *wanted)
    reading = ReadingOptions(tiff_stack=suffix == ".tif")
    for image in images:
        grid, label = read_grid(image, reading), read_image(tmp_path / "out" / image.name, True, options=reading)
        assert label.shape == (1, *grid.shape)
        assert grid.affine is not None
        np.testing.assert_allclose(label.affine, grid.affine, atol=1e-4)
        assert (tmp_path / "out" / "overlays" / image.name.replace(suffix, ".png")).is_file()
    assert (tmp_path / "out" / "statistics.csv").read_text().count("class_1") == 2
    both = "['bundles/leaf_seg/configs/train.json','bundles/leaf_seg/configs/evaluate.json']"
    bundle_run("evaluating", "--config_file", both, *data[:2], "--model_dir", model)
    assert list((model / "evaluation" / "testing" / "overlays").iterdir())
    inference = ["--config_file", "bundles/leaf_seg/configs/inference.json", "--model_dir", model]
    bundle_run("inference", *inference, "--dataset_dir", images[0].parent, "--output_dir", tmp_path / "inferred")
    written = [path for path in (tmp_path / "inferred").iterdir() if path.name.endswith(suffix)]
    assert len(written) == len(list(images[0].parent.iterdir()))
