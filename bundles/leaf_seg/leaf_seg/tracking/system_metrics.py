"""What MLflow measures of the machine while a run is at work: CPU, memory, disk, network, GPU."""

from __future__ import annotations

from importlib.util import find_spec

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from leaf_seg.runtime.errors import InputError
from leaf_seg.tracking.mlflow_run import MlflowRun

_ALWAYS_MEASURED = "system/cpu_utilization_percentage"


def check_system_metrics() -> None:
    """Refuse to measure without the library for it.

    Raises:
        InputError: When psutil is not installed.
    """
    if find_spec("psutil") is None:
        raise InputError(
            "system_metrics is set, and psutil is not installed; expected it. Install it (pip install psutil; for "
            "NVIDIA GPUs also nvidia-ml-py), or leave the setting out."
        )


def started_monitor(run: MlflowRun) -> SystemMetricsMonitor:
    """Begin to log metrics ``system/...``, every 10 seconds, behind the steps that a run has of them already.

    ``MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL`` sets other seconds. The monitor's ``finish()`` ends it.

    Args:
        run: to log to.
    """
    monitor = SystemMetricsMonitor(run.id, resume_logging=True, tracking_uri=run.client.tracking_uri)
    monitor.start()
    return monitor


def last_sample(run: MlflowRun) -> int:
    """The last step that a run has of the machine, counted apart from those of the training; 0 without any."""
    return max((metric.step for metric in run.client.get_metric_history(run.id, _ALWAYS_MEASURED)), default=0)
