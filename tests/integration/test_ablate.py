"""``scripts/ablate.py`` on small data."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.slow
def test_two_rows_are_compared_and_not_trained_again(
    run_python: Run, pictures: Path, small: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "ablation"
    settings = [f"{key.removeprefix('--')}={value}" for key, value in zip(small[::2], small[1::2], strict=True)]
    grid = '{"parameterization": ["x0", "v"]}'
    command = ["scripts/ablate.py", "--dataset_dir", pictures, "--num_classes", 3, "--output_dir", folder]
    command += ["--grid", grid, "--noise_seeds", 2, "--set", *settings]
    result = run_python(*command)
    assert "row 2 of 2: parameterization_v, seed 0" in result.stdout
    assert "$ python -m monai.bundle run training" in result.stdout

    content = json.loads((folder / "ablation_results.json").read_text())
    assert set(content["rows"]) == {"default", "parameterization_v"}
    for row in content["rows"].values():
        assert 0 <= row["result"]["dice"]["low"] <= row["result"]["dice"]["high"] <= 1
        assert row["result"]["noise_std"] >= 0
        assert row["result"]["steps"] > 0
    text = (folder / "ablation.md").read_text()
    assert "| x0 | 0." in text
    assert "| v | 0." in text
    assert (folder / "ablation.png").is_file()

    parent = json.loads((folder / "ablation.json").read_text())
    client = MlflowClient(parent["tracking_uri"])
    assert client.get_run(parent["run_id"]).info.status == "FINISHED"
    artifacts = {file.path for file in client.list_artifacts(parent["run_id"])}
    assert {"ablation.md", "ablation.png", "ablation_results.json"} <= artifacts
    experiment = client.get_experiment_by_name(parent["experiment_name"])
    assert experiment is not None
    children = [r for r in client.search_runs([experiment.experiment_id]) if r.info.run_id != parent["run_id"]]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent["run_id"]}
    assert {run.info.run_name for run in children} == {"default_seed_0", "parameterization_v_seed_0"}

    logs = {file: file.read_bytes() for file in folder.glob("*/seed_*/*.log")}
    assert len(logs) == 2 * 3  # of the training command, of evaluation, and the training's own
    again = run_python(*command)
    assert "$ python" not in again.stdout, "nothing is left to do"
    assert {file: file.read_bytes() for file in folder.glob("*/seed_*/*.log")} == logs
    assert json.loads((folder / "ablation.json").read_text()) == parent

    other = run_python(*command, "max_epochs=2", check=False)
    assert other.returncode == 2
    assert "was made with other settings (max_epochs: 1, now 2)" in other.stdout


@pytest.mark.nightly
def test_a_row_fails_with_the_message_of_the_training(run_python: Run, pictures: Path, tmp_path: Path) -> None:
    command = ["scripts/ablate.py", "--dataset_dir", pictures, "--num_classes", 3, "--output_dir", tmp_path]
    result = run_python(*command, "--grid", '{"parameterization": ["epsilon"]}', check=False)
    assert result.returncode == 1
    assert "parameterization is 'epsilon'; expected one of x0, v, eps" in result.stdout
    assert "| epsilon | failed |" in (tmp_path / "ablation.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --table, --grid or --baseline"),
        (["--table", "4", "--set", "max_epochs"], "--set got 'max_epochs'; expected KEY=VALUE"),
        (["--baseline", "nothing"], "No baseline 'nothing'"),
        (["--grid", '{"alignment_wieght": [0.75]}'], "no key 'alignment_wieght' in train.json; did you mean"),
    ],
)
def test_bad_input(run_python: Run, tmp_path: Path, arguments: list[str], message: str) -> None:
    given = ["--dataset_dir", tmp_path, "--output_dir", tmp_path / "out", *arguments]
    result = run_python("scripts/ablate.py", *given, check=False)
    assert result.returncode == 2
    assert message in result.stdout
    assert not (tmp_path / "out").exists()
