"""The hippocampus model that the bundle ships: what is in it, and that its card tells the truth."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

import leaf_seg
from leaf_seg.networks import LatentDecoder, LatentSegmenter, load_autoencoder
from leaf_seg.weights import load_network, load_settings

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "leaf_seg"
MODEL = BUNDLE / "models"
STRUCTURES = ("anterior", "posterior")
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    """The summary of the shipped model's evaluation on the test split."""
    return json.loads((BUNDLE / "docs" / "evaluation_testing.json").read_text())


@pytest.fixture(scope="module")
def network() -> LatentSegmenter:
    loaded = load_network(MODEL)
    assert isinstance(loaded, LatentSegmenter)
    return loaded


def test_small_enough_for_a_cpu_and_a_repository(network: LatentSegmenter) -> None:
    assert sum(parameter.numel() for parameter in network.parameters()) <= 10_000_000
    assert (MODEL / "model.pt").stat().st_size <= 25_000_000


def test_decoder_is_named_as_its_own(network: LatentSegmenter) -> None:
    """Trained from the shipped autoencoder's, whose layers it has."""
    shipped = LatentDecoder(load_autoencoder(MODEL / "autoencoder")).state_dict()
    own = network.mask_decoder.state_dict()
    assert own.keys() == shipped.keys()
    assert network.mask_decoder.trainable
    assert not all(torch.equal(own[name], shipped[name]) for name in own)
    card = (BUNDLE / "docs" / "README.md").read_text()
    assert "The decoder of the masks is the model's own" in card


def test_metadata_is_of_this_model(network: LatentSegmenter, measured: dict[str, Any]) -> None:
    metadata = json.loads((BUNDLE / "configs" / "metadata.json").read_text())
    names = load_settings(MODEL).class_names
    assert names == ("background", *STRUCTURES)
    outputs = metadata["network_data_format"]["outputs"]["pred"]
    assert tuple(outputs["channel_def"].values()) == names
    assert outputs["num_channels"] == network.num_classes
    for described in (outputs, metadata["network_data_format"]["inputs"]["image"]):
        assert tuple(described["spatial_shape"]) == network.image_size
    expected = {
        f"{metric}_{name}": round(measured["classes"][name][metric]["mean"], 3)
        for name in STRUCTURES
        for metric in ("dice", "hd95", "surface_dice")
    }
    assert metadata["eval_metrics"] == expected


def test_card_prints_what_was_measured(measured: dict[str, Any]) -> None:
    card = (BUNDLE / "docs" / "README.md").read_text()
    assert measured["n"] == 20
    for name in STRUCTURES:
        cells = []
        for metric, digits in (("dice", 3), ("hd95", 2), ("surface_dice", 3)):
            value = measured["classes"][name][metric]
            cells.append(f"{value['mean']:.{digits}f} [{value['low']:.{digits}f}, {value['high']:.{digits}f}]")
        assert f"| {name} | {' | '.join(cells)} |" in card
        ece = measured["calibration"]["classes"][name]["ece"]
        assert f"| {name} | {ece['mean']:.3f} [{ece['low']:.3f}, {ece['high']:.3f}] |" in card
    assert f"{measured['noise_stability']['mean_foreground']['dice']['std']:.5f}" in card


@pytest.mark.nightly
def test_evaluation_gives_the_card_s_numbers(
    bundle_run: Run, shared_data: Path, measured: dict[str, Any], tmp_path: Path
) -> None:
    """On another processor the last digits may be others."""
    configs = [str(BUNDLE / "configs" / name) for name in ("train.json", "profiles/hippocampus.json", "evaluate.json")]
    arguments = ["--config_file", json.dumps(configs), "--model_dir", MODEL, "--report_dir", tmp_path]
    bundle_run("evaluating", *arguments, "--dataset_dir", shared_data / "msd_hippocampus")
    summary = json.loads((tmp_path / "metrics_summary.json").read_text())
    assert summary["n"] == measured["n"]
    for name in STRUCTURES:
        for metric, tolerance in (("dice", 5e-4), ("surface_dice", 1e-3), ("hd95", 2e-2)):
            found, expected = (report["classes"][name][metric] for report in (summary, measured))
            for key in ("mean", "low", "high"):
                assert found[key] == pytest.approx(expected[key], abs=tolerance), (name, metric, key)


@pytest.mark.slow
def test_a_volume_takes_seconds_and_keeps_its_geometry(run_python: Run, shared_data: Path, tmp_path: Path) -> None:
    case = json.loads((shared_data / "msd_hippocampus" / "split.json").read_text())["testing"][0]
    image = shared_data / "msd_hippocampus" / "images" / case
    run_python("-m", "leaf_seg", "segment", image, tmp_path, "--model", MODEL)
    written, source = nib.nifti1.load(tmp_path / case), nib.nifti1.load(image)
    assert written.shape == source.shape
    np.testing.assert_allclose(written.affine, source.affine)
    assert set(np.unique(np.asarray(written.dataobj))) == {0, 1, 2}

    segmenter = leaf_seg.load(MODEL, device="cpu")
    seconds = []
    for _ in range(3):
        start = time.process_time()  # on one thread; the machine may be doing other things
        result = segmenter(image)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 5
    np.testing.assert_array_equal(result.label, np.asarray(written.dataobj))
