"""The README's commands, on small data."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Dinov2Config, Dinov2Model

import leaf_seg
from leaf_seg.runtime.errors import InputError

CONFIGS = "bundles/leaf_seg/configs"
EVALUATE = ["--config_file", f"['{CONFIGS}/train.json','{CONFIGS}/evaluate.json']"]
INFER = ["--config_file", f"{CONFIGS}/inference.json"]
Run = Callable[..., subprocess.CompletedProcess[str]]


def _picture_names(dataset: Path, split: str) -> list[str]:
    return [name.removesuffix(".png") for name in json.loads((dataset / "split.json").read_text())[split]]


def test_training_leaves_a_model_without_teacher_or_optimizer(picture_model: Path) -> None:
    assert {"config.json", "model.pt"} <= {file.name for file in picture_model.iterdir()}
    state = torch.load(picture_model / "model.pt", weights_only=True)
    assert {key.split(".")[0] for key in state} == {"image_encoder", "unet", "mask_decoder", "noise"}
    settings = json.loads((picture_model / "config.json").read_text())["settings"]
    assert settings["class_names"] == ["background", "class_1", "class_2"]
    assert settings["image_size"] == [32, 32]


@pytest.mark.slow
def test_training_in_a_process_of_its_own_leaves_the_same_model(
    bundle_process: Run,
    pictures: Path,
    small: list[str],
    picture_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So what is run within the tests' process is what a user gets."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as here; with another number the last bits may be others
    data = ["--dataset_dir", pictures, "--num_classes", 3, "--output_dir", tmp_path]
    bundle_process("training", "--config_file", f"{CONFIGS}/train.json", *data, *small)
    own, here = (torch.load(folder / "model.pt", weights_only=True) for folder in (tmp_path, picture_model))
    assert own.keys() == here.keys()
    assert all(torch.equal(own[name], here[name]) for name in own)


def test_evaluate_reports_every_test_case_at_native_size(
    bundle_run: Run, pictures: Path, picture_model: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report"
    given = ["--dataset_dir", pictures, "--model_dir", picture_model, "--report_dir", report]
    bundle_run("evaluating", *EVALUATE, *given)
    names = _picture_names(pictures, "testing")
    rows = list(csv.DictReader((report / "metrics_cases.csv").open()))
    assert [(row["case"], row["class"]) for row in rows] == [(n, c) for n in names for c in ("class_1", "class_2")]
    summary = json.loads((report / "metrics_summary.json").read_text())
    assert summary["split"] == "testing"
    assert summary["n"] == len(names)
    # Measured against the original labels: the same numbers come out of the written label maps.
    for row in rows:
        label = np.asarray(Image.open(pictures / "labels" / f"{row['case']}.png"))
        pred = np.asarray(Image.open(report / f"{row['case']}.png"))
        truth, found = (array == int(row["class"][-1]) for array in (label, pred))
        size = truth.sum() + found.sum()
        dice = 1.0 if size == 0 else 2 * (truth & found).sum() / size
        assert float(row["dice"]) == pytest.approx(dice, abs=1e-5)
        assert (report / "overlays" / f"{row['case']}.png").is_file()
    expected = _expected_dice(report)
    assert sorted(expected) == names
    assert list(expected.values()) == sorted(expected.values())  # the ones to look at come first
    assert summary["ranking"]["spearman"]["n"] == len(names)
    segmenter = leaf_seg.load(picture_model, device="cpu")
    for case, value in expected.items():
        alone = segmenter(pictures / "images" / f"{case}.png").expected_dice
        assert value == pytest.approx(np.mean(list(alone.values())), abs=1e-4)


def _expected_dice(folder: Path) -> dict[str, float]:
    """Mean over the structures, by case, in the order of the table."""
    with (folder / "expected_dice.csv").open(newline="") as table:
        return {row["case"]: float(row["expected_dice"]) for row in csv.DictReader(table)}


@pytest.mark.slow
def test_tolerance_as_a_share_of_the_diagonal(
    bundle_run: Run, pictures: Path, picture_model: Path, tmp_path: Path
) -> None:
    given = ["--dataset_dir", pictures, "--model_dir", picture_model, "--report_dir", tmp_path / "report"]
    bundle_run("evaluating", *EVALUATE, *given, "--surface_tolerance_share", 0.02)
    summary = json.loads((tmp_path / "report" / "metrics_summary.json").read_text())
    assert (summary["tolerance"], summary["tolerance_share"]) == (None, 0.02)
    both = ["--surface_tolerance_share", 0.02, "--surface_tolerance", 2.0]
    result = bundle_run("evaluating", *EVALUATE, *given, *both, check=False)
    assert result.returncode
    assert "surface_tolerance is 2.0 and surface_tolerance_share is 0.02; expected exactly one" in result.stderr


def test_inference_keeps_the_geometry_of_volumes(
    bundle_run: Run, volumes: Path, volume_model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    arguments = ["--dataset_dir", volumes / "images", "--model_dir", volume_model, "--output_dir", output]
    bundle_run("inference", *INFER, *arguments, "--num_samples", 2, "--uncertainty", "true", "--precision", "fp32")
    segmenter = leaf_seg.load(volume_model, device="cpu")
    for file in sorted((volumes / "images").iterdir()):
        source: Any = nib.load(file)
        written: Any = nib.load(output / file.name)
        assert written.shape == source.shape
        np.testing.assert_array_equal(written.affine, source.affine)
        for code in ("qform_code", "sform_code", "xyzt_units"):
            assert written.header[code] == source.header[code]
        # The plain segmenter is another way to the same result.
        np.testing.assert_array_equal(np.asarray(written.dataobj), segmenter(file, num_samples=2).label)
        assert (output / "uncertainty" / f"{file.name.removesuffix('.nii.gz')}_entropy.nii.gz").is_file()
    assert len(_expected_dice(output)) == len(list((volumes / "images").iterdir()))


@pytest.mark.slow
def test_segment_command_writes_pictures(
    python_process: Run, pictures: Path, picture_model: Path, tmp_path: Path
) -> None:
    source = pictures / "images" / "phantom_0000.png"
    python_process("-m", "leaf_seg", "segment", source, tmp_path / "out", "--model", picture_model, "--probabilities")
    label = np.asarray(Image.open(tmp_path / "out" / "phantom_0000.png"))
    assert label.shape == (40, 48)
    np.testing.assert_array_equal(label, leaf_seg.load(picture_model, device="cpu")(source).label)
    assert (tmp_path / "out" / "overlays" / "phantom_0000.png").is_file()
    assert len(list((tmp_path / "out" / "probabilities").iterdir())) == 3
    assert list(_expected_dice(tmp_path / "out")) == ["phantom_0000"]


@pytest.mark.slow
def test_alignment_trains_and_leaves_the_same_kind_of_model(
    bundle_run: Run, pictures: Path, picture_model: Path, small: list[str], tmp_path: Path
) -> None:
    teacher = Dinov2Config(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    Dinov2Model(teacher).save_pretrained(tmp_path / "teacher")
    data = ["--dataset_dir", pictures, "--num_classes", 3, "--output_dir", tmp_path / "model"]
    result = bundle_run(
        *("training", "--config_file", f"{CONFIGS}/train.json", *data, *small),
        *("--alignment_weight", 0.75, "--teacher", tmp_path / "teacher"),
    )
    assert "alignment=" in result.stderr  # the progress bar
    plain, aligned = (torch.load(f / "model.pt", weights_only=True) for f in (picture_model, tmp_path / "model"))
    assert {key: value.shape for key, value in aligned.items()} == {key: value.shape for key, value in plain.items()}
    assert any(not torch.equal(aligned[key], plain[key]) for key in plain)


def test_a_teacher_that_is_nowhere_is_an_error(
    bundle_run: Run, pictures: Path, small: list[str], tmp_path: Path
) -> None:
    """Never a training without it."""
    data = ["--dataset_dir", pictures, "--num_classes", 3, "--output_dir", tmp_path / "model"]
    result = bundle_run(
        *("training", "--config_file", f"{CONFIGS}/train.json", *data, *small),
        *("--alignment_weight", 0.75, "--teacher", "no/such-teacher"),
        check=False,
    )
    assert result.returncode != 0
    message = result.stderr.splitlines()[-1]
    assert "no/such-teacher" in message
    assert "--alignment_weight 0" in message
    assert not (tmp_path / "model" / "model.pt").exists()


@pytest.mark.slow
def test_autoencoder_stage(bundle_run: Run, pictures: Path, tmp_path: Path) -> None:
    small = ["--image_size", "[32,32]", "--num_phantoms", 8, "--num_workers", 0, "--max_epochs", 1, "--num_slices", 1]
    config = ["--config_file", f"{CONFIGS}/train_autoencoder.json"]
    data = ["--dataset_dir", pictures, "--num_classes", 3, "--output_dir", tmp_path]
    bundle_run("training", *config, *data, *small)
    config_file = json.loads((tmp_path / "config.json").read_text())
    assert config_file["_class_name"] == "AutoencoderKL"
    assert config_file["scaling_factor"] not in (0.18215, 1.0)  # measured, not the default
    assert (tmp_path / "diffusion_pytorch_model.safetensors").stat().st_size < 12e6


def test_mistyped_key_is_reported_with_the_nearest(bundle_run: Run, pictures: Path) -> None:
    arguments = ["--config_file", f"{CONFIGS}/train.json", "--dataset_dir", pictures, "--alignment_wieght", 0.75]
    result = bundle_run("training", *arguments, check=False)
    assert result.returncode != 0
    assert "did you mean 'alignment_weight'?" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--uncertainty", "true"], "set num_samples to 2 or more"),
        (["--uncertainty", "flase"], "neither true nor false"),
        (["--output_dir", "/proc/leaf_seg"], "Cannot write to the output folder"),
        (["--model_dir", "/nowhere"], "No config.json in /nowhere"),
        (["--dataset_dir", "/nowhere"], "/nowhere does not exist"),
    ],
)
def test_bad_input_ends_with_one_clear_message(
    bundle_run: Run, pictures: Path, picture_model: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    given = {"--dataset_dir": str(pictures / "images"), "--model_dir": str(picture_model)}
    given |= {"--output_dir": str(tmp_path / "out"), arguments[0]: arguments[1]}
    result = bundle_run("inference", *INFER, *(word for pair in given.items() for word in pair), check=False)
    assert result.returncode != 0
    last = result.stderr.rstrip().splitlines()[-1]
    assert last.startswith("leaf_seg: ")
    assert message in last
    assert not list((tmp_path / "out").glob("*.png"))


def test_unfit_validation_case_stops_before_training(
    bundle_run: Run, pictures: Path, small: list[str], tmp_path: Path
) -> None:
    shutil.copytree(pictures, tmp_path / "data")
    name = _picture_names(pictures, "validation")[0]
    Image.fromarray(np.full((40, 48), 7, np.uint8)).save(tmp_path / "data" / "labels" / f"{name}.png")
    data = ["--dataset_dir", tmp_path / "data", "--num_classes", 3, "--output_dir", tmp_path / "model"]
    result = bundle_run("training", "--config_file", f"{CONFIGS}/train.json", *data, *small, check=False)
    last = result.stderr.rstrip().splitlines()[-1]
    assert last.startswith("leaf_seg: ")
    assert f"{name}.png" in last
    assert not (tmp_path / "model" / "config.json").exists()


@pytest.mark.slow
def test_training_shorter_than_the_validation_interval_saves_a_model(
    bundle_run: Run, pictures: Path, small: list[str], tmp_path: Path
) -> None:
    names = ["background", "cell", "nucleus"]
    data = ["--dataset_dir", pictures, "--class_names", str(names), "--output_dir", tmp_path]
    train = ["training", "--config_file", f"{CONFIGS}/train.json", *data, *small, "--val_interval", 5]
    bundle_run(*train)
    assert (tmp_path / "model.pt").is_file()
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["settings"]["class_names"] == names

    # And a second training does not replace it unasked.
    result = bundle_run(*train, check=False)
    assert result.returncode != 0
    assert "--overwrite true" in result.stderr.rstrip().splitlines()[-1]


def test_array_without_affine_is_an_error(picture_model: Path) -> None:
    with pytest.raises(InputError, match="affine"):
        leaf_seg.load(picture_model, device="cpu")(np.zeros((8, 9, 10), np.float32))


def test_arrays_and_files_give_the_same(pictures: Path, volumes: Path, picture_model: Path, volume_model: Path) -> None:
    picture = pictures / "images" / "phantom_0000.png"
    by_picture = leaf_seg.load(picture_model, device="cpu")
    np.testing.assert_array_equal(by_picture(np.asarray(Image.open(picture))).label, by_picture(picture).label)

    volume: Any = nib.load(volumes / "images" / "phantom_0001.nii.gz")
    by_volume = leaf_seg.load(volume_model, device="cpu")
    result = by_volume(np.asarray(volume.dataobj), affine=volume.affine)
    np.testing.assert_array_equal(result.label, by_volume(volumes / "images" / "phantom_0001.nii.gz").label)
    np.testing.assert_allclose(result.probabilities.sum(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("orientation", ["RAS", "LPI", "PSR"])
def test_a_volume_in_another_orientation_is_segmented_alike(
    volumes: Path, volume_model: Path, tmp_path: Path, orientation: str
) -> None:
    """NIfTI affine and orientation round trip: stored otherwise, the same patient gets the same labels in space."""
    canonical = nib.as_closest_canonical(nib.load(volumes / "images" / "phantom_0002.nii.gz"))  # oblique
    transform = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(orientation)
    )
    turned = canonical.as_reoriented(transform)
    nib.save(canonical, tmp_path / "canonical.nii.gz")
    nib.save(turned, tmp_path / "turned.nii.gz")
    segmenter = leaf_seg.load(volume_model, device="cpu")
    expected = segmenter(tmp_path / "canonical.nii.gz").label
    label = nib.Nifti1Image(segmenter(tmp_path / "turned.nii.gz").label, turned.affine)
    assert label.shape == turned.shape
    back = nib.as_closest_canonical(label)
    np.testing.assert_allclose(back.affine, canonical.affine, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(back.dataobj), expected)


def test_evaluation_of_turned_volumes_is_in_their_own_grid(
    bundle_run: Run, volumes: Path, volume_model: Path, tmp_path: Path
) -> None:
    """The phantom of the test split is stored in LPI or oblique; its Dice comes out of the files, too."""
    arguments = ["--dataset_dir", volumes, "--model_dir", volume_model, "--report_dir", tmp_path]
    bundle_run("evaluating", *EVALUATE, *arguments, "--save_overlays", "false")
    rows = list(csv.DictReader((tmp_path / "metrics_cases.csv").open()))
    assert rows
    for row in rows:
        label: Any = nib.load(volumes / "labels" / f"{row['case']}.nii.gz")
        pred: Any = nib.load(tmp_path / f"{row['case']}.nii.gz")
        expected = leaf_seg.load(volume_model, device="cpu")(volumes / "images" / f"{row['case']}.nii.gz").label
        np.testing.assert_array_equal(np.asarray(pred.dataobj), expected)
        truth, found = np.asarray(label.dataobj) == 1, np.asarray(pred.dataobj) == 1
        dice = 2 * (truth & found).sum() / (truth.sum() + found.sum())
        assert float(row["dice"]) == pytest.approx(dice, abs=1e-5)
    assert not (tmp_path / "overlays").exists()


def test_resampled_volumes_come_back_in_their_own_grid(
    bundle_run: Run, volumes: Path, small: list[str], tmp_path: Path
) -> None:
    data = ["--dataset_dir", volumes, "--num_classes", 2, "--output_dir", tmp_path / "model"]
    train = ["--config_file", f"{CONFIGS}/train.json", *data, *small, "--spacing", "[1.5,1.2,1.8]"]
    bundle_run("training", *train)
    source = volumes / "images" / "phantom_0002.nii.gz"  # oblique
    arguments = ["--dataset_dir", source, "--model_dir", tmp_path / "model", "--output_dir", tmp_path / "out"]
    bundle_run("inference", *INFER, *arguments)
    image: Any = nib.load(source)
    written: Any = nib.load(tmp_path / "out" / source.name)
    assert written.shape == image.shape
    np.testing.assert_array_equal(written.affine, image.affine)
    result = leaf_seg.load(tmp_path / "model", device="cpu")(source)
    np.testing.assert_array_equal(np.asarray(written.dataobj), result.label)
    np.testing.assert_allclose(result.probabilities.sum(axis=0), 1, atol=1e-4)
