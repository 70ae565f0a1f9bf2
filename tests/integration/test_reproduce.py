"""``scripts/reproduce.py`` on small data; tests/ablation/test_methods.py plans rows without training."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from leaf_seg.data import make_phantoms

Run = Callable[..., subprocess.CompletedProcess[str]]

ALL = ["image_size=[32,32]", "batch_size=4", "max_epochs=1", "val_interval=1", "num_workers=0", "precision=fp32"]
OWN = {
    "unet": ["features=[8,8,16,16,16,8]"],
    "medseglatdiff": ["num_steps=2", "num_cases=1", "unet_config#block_out_channels=[32,32,32]"],
    "vq_autoencoder": ["num_phantoms=4", "max_epochs=1"],
    "mask_autoencoder": ["max_epochs=1"],
}


@pytest.mark.nightly
def test_two_methods_are_compared_and_not_trained_again(run_python: Run, pictures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "table"
    command = ["scripts/reproduce.py", "--dataset_dir", pictures, "--num_classes", 3, "--output_dir", folder]
    command += ["--methods", "unet", "medseglatdiff", "--noise_seeds", 2, "--published", "cvc_clinicdb", "--set", *ALL]
    command += [word for name, settings in OWN.items() for word in ("--set_for", name, *settings)]
    result = run_python(*command)
    assert result.stdout.count("$ python -m monai.bundle run training") == 4
    assert result.stdout.count("$ python -m monai.bundle run evaluating") == 2

    rows = json.loads((folder / "reproduce_results.json").read_text())["rows"]
    unet, multi_step = (rows[name]["result"] for name in ("unet", "medseglatdiff"))
    for found in (unet, multi_step):
        assert 0 <= found["dice"]["mean"] <= 1
        assert found["seconds_per_case"] > 0
        assert found["cpu_minutes"] > 0
    assert (unet["dice"]["n"], multi_step["dice"]["n"]) == (2, 1)
    assert (unet["denoising_steps"], multi_step["denoising_steps"]) == (None, 2)
    assert (unet["noise_std"], unet["stage_cpu_minutes"]) == (None, 0)
    assert multi_step["noise_std"] is not None
    assert multi_step["stage_cpu_minutes"] > 0
    text = (folder / "reproduce.md").read_text()
    assert "| MedSegLatDiff | " in text
    assert "| 85.6 / 80.5 (82.3) |" in text
    assert (folder / "reproduce.png").is_file()

    parent = json.loads((folder / "ablation.json").read_text())
    client = MlflowClient(parent["tracking_uri"])
    experiment = client.get_experiment_by_name(parent["experiment_name"])
    assert experiment is not None
    children = [run for run in client.search_runs([experiment.experiment_id]) if run.info.run_id != parent["run_id"]]
    assert {run.info.run_name for run in children} == {"unet_seed_0", "medseglatdiff_seed_0"}
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent["run_id"]}

    again = run_python(*command)
    assert "$ python" not in again.stdout, "nothing is left to do"
    assert (folder / "reproduce.md").read_text() == text


@pytest.mark.nightly
def test_hypotheses_are_compared_with_raters(run_python: Run, tmp_path: Path) -> None:
    data = make_phantoms(tmp_path / "data", num_cases=10, num_classes=2, size=(48, 48), num_raters=3)
    folder = tmp_path / "table"
    command = ["scripts/reproduce.py", "--table", "raters", "--dataset_dir", data, "--num_classes", 2]
    command += ["--output_dir", folder, "--methods", "unet_dropout", "unet_ensemble", "unet"]
    run_python(*command, "--set", *ALL, *OWN["unet"], "num_samples=4")
    rows = {
        row: of["result"] for row, of in json.loads((folder / "reproduce_results.json").read_text())["rows"].items()
    }
    assert {row: found["hypotheses"] for row, found in rows.items()} == {
        "unet_dropout": 4,
        "unet_ensemble": 3,
        "unet": 1,
    }
    for found in rows.values():
        assert 0 <= found["ged"]["mean"] <= 2
        assert found["ged"]["n"] == found["hm_iou"]["n"] == 2
    assert rows["unet_ensemble"]["parameters"] == 3 * rows["unet"]["parameters"]
    assert rows["unet_ensemble"]["stage_cpu_minutes"] > 0
    assert "| U-Net, ensemble of 3 | " in (folder / "reproduce.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "unte"], "No method 'unte'; did you mean 'unet'?"),
        (["--set_for", "unet"], "--set_for got 'unet' alone; expected a row and KEY=VALUE"),
        (["--set_for", "unet", "features"], "--set_for unet got 'features'; expected KEY=VALUE"),
    ],
)
def test_bad_input(run_python: Run, tmp_path: Path, arguments: list[str], message: str) -> None:
    given = ["--dataset_dir", tmp_path, "--output_dir", tmp_path / "out", *arguments]
    result = run_python("scripts/reproduce.py", *given, check=False)
    assert result.returncode == 2
    assert message in result.stdout
    assert not (tmp_path / "out").exists()
