from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from monai.handlers import MLFlowHandler
from monai.utils import path_to_sqlite_uri

from leaf_seg.runtime.errors import InputError
from leaf_seg.tracking import system_metrics
from leaf_seg.tracking.mlflow_run import MlflowRun
from leaf_seg.tracking.system_metrics import check_system_metrics, started_monitor

METRIC = "system/system_memory_usage_percentage"


@pytest.mark.slow
def test_a_second_session_goes_on_counting(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    uri = path_to_sqlite_uri(str(shutil.copy(empty_store, tmp_path)))
    client = MlflowClient(uri)
    counts = []
    for _ in range(2):
        run = MlflowRun(MLFlowHandler(uri, experiment_name="x"), "abc", "name")
        before = len(client.get_metric_history(run.id, METRIC))
        monitor = started_monitor(run)
        deadline = time.monotonic() + 10
        while len(client.get_metric_history(run.id, METRIC)) < before + 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        monitor.finish()
        counts.append(len(client.get_metric_history(run.id, METRIC)))
        time.sleep(0.2)
        assert len(client.get_metric_history(run.id, METRIC)) == counts[-1]  # it has stopped
        run.end()
    steps = [metric.step for metric in client.get_metric_history(run.id, METRIC)]
    assert 2 <= counts[0] < counts[1]
    assert steps == list(range(counts[1]))


def test_the_library_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    check_system_metrics()
    monkeypatch.setattr(system_metrics, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="psutil is not installed; expected it"):
        check_system_metrics()
