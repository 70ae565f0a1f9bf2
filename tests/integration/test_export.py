"""The shipped model as exported files, and by MONAI's own exports, on real volumes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import load_net_with_metadata

import leaf_seg
from leaf_seg.export import export_model
from leaf_seg.weights import load_network
from tests.integration.markdown import Page

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "leaf_seg"
MODEL = BUNDLE / "models"
SPLIT = json.loads((BUNDLE / "configs" / "profiles" / "hippocampus_split.json").read_text())
MONAI = ["--ckpt_file", "models/model.pt", "--meta_file", "configs/metadata.json"]
MONAI += ["--config_file", "configs/inference.json"]


@pytest.mark.nightly
@pytest.mark.parametrize("to", ["onnx", "torchscript"])
def test_real_volumes(to: str, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one test volume; docs/export.md has all twenty."""
    image = shared_data / "msd_hippocampus" / "images" / SPLIT["testing"][0]
    expected = leaf_seg.load(MODEL, device="cpu")(image)
    foreground = int((expected.label > 0).sum())
    assert foreground > 1000
    for whole in (False, True) if to == "torchscript" else (True,):  # an export to ONNX takes half a minute
        name = f"model{'_whole' if whole else ''}.{'onnx' if to == 'onnx' else 'ts'}"
        found = leaf_seg.load(export_model(MODEL, to, whole, tmp_path / name))(image)
        assert (found.label != expected.label).sum() <= 0.001 * foreground
        assert found.expected_dice == pytest.approx(expected.expected_dice, abs=1e-3)
    if to == "onnx":
        monkeypatch.chdir(tmp_path)
        _run_the_page(image)


def _run_the_page(image: Path) -> None:
    """The code of docs/export.md, in a folder with the file that it takes: it segments a slice as the model does."""
    volume = nib.load(image)
    np.save("volume.npy", nib.as_closest_canonical(volume).get_fdata())
    (code,) = Page(BUNDLE.parents[1] / "docs" / "export.md").python
    names: dict[str, Any] = {}
    exec(code, names)
    expected = leaf_seg.load(MODEL, device="cpu")(np.load("volume.npy").astype(np.float32), np.eye(4)).label[:, 20]
    assert (expected > 0).sum() > 20
    np.testing.assert_array_equal(names["labels"][0], expected)


def _monai(*words: object) -> None:
    """A command of the bundle, given at its root."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "monai.bundle", *map(str, words)]
    result = subprocess.run(
        command, cwd=BUNDLE, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.mark.slow
def test_monai_exports_torchscript_without_tracing_options(tmp_path: Path) -> None:
    _monai("ckpt_export", "network_def", "--filepath", tmp_path / "model.ts", *MONAI)
    script, metadata, _ = load_net_with_metadata(str(tmp_path / "model.ts"))
    assert metadata["name"] == "leaf_seg"
    network = load_network(MODEL)
    for number in (1, 3):
        image = torch.rand(number, 3, *network.image_size)
        with torch.no_grad():
            torch.testing.assert_close(script(image), network(image), atol=1e-5, rtol=0)
            torch.testing.assert_close(torch.jit.load(tmp_path / "model.ts")(image), network(image), atol=1e-5, rtol=0)
