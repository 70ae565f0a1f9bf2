"""An evaluation that is killed, at every change that it makes to its folder until its first case."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.limited import MB, run_limited

Run = Callable[..., subprocess.CompletedProcess[str]]
RECORDS = ("manifest.json", "executed_config.json")
TABLES = ("metrics_cases.csv", "metrics_summary.json", "reliability.png", "expected_dice.csv")
CHANGES = 6  # two records written, four tables removed


@pytest.fixture(scope="module")
def evaluate(bundle_run: Run, pictures: Path, picture_model: Path) -> Callable[..., int]:
    configs = "['bundles/leaf_seg/configs/train.json','bundles/leaf_seg/configs/evaluate.json']"

    def evaluate(report: Path, seed: int) -> int:
        given = ["--dataset_dir", pictures, "--model_dir", picture_model, "--report_dir", report, "--seed", seed]
        result = bundle_run("evaluating", "--config_file", configs, *given, "--save_overlays", "false", check=False)
        return result.returncode

    return evaluate


@pytest.fixture(scope="module")
def former(evaluate: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    report = tmp_path_factory.mktemp("former")
    assert evaluate(report, 1) == 0
    return report


@pytest.mark.slow
@pytest.mark.parametrize("number", range(CHANGES))
def test_no_table_is_beside_the_records_of_another_evaluation(
    number: int, evaluate: Callable[..., int], former: Path, tmp_path: Path
) -> None:
    report = Path(shutil.copytree(former, tmp_path / "report"))

    def killed() -> int:
        left = number

        def kill_after(change: Callable[..., None]) -> Callable[..., None]:
            def changed(path: Path, *arguments: object, **options: object) -> None:
                nonlocal left
                change(path, *arguments, **options)
                if report in Path(path).parents:
                    left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

            return changed

        os.replace, Path.unlink = kill_after(os.replace), kill_after(Path.unlink)  # type: ignore[method-assign]
        return evaluate(report, 2)

    assert run_limited(killed, memory=2048 * MB).code == -signal.SIGKILL
    is_new = [(report / name).read_bytes() != (former / name).read_bytes() for name in RECORDS]
    if any(is_new):
        assert not [name for name in TABLES if (report / name).exists()]
