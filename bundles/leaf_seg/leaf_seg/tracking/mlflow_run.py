"""One MLflow run for one trained model: found again, continued and ended."""

from __future__ import annotations

import hashlib
import logging
import os
import posixpath
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ignite.engine import Engine
from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Metric, Param, Run, RunTag
from monai.handlers import MLFlowHandler
from monai.utils import path_to_uri

from leaf_seg.runtime.mlflow_folder import FILES_NAME, follow_move, shown, sqlite_file
from leaf_seg.runtime.text import first_line

logger = logging.getLogger(__name__)

RUN_TAG = "leaf_seg.run"  # the run's own name, from its manifest
_PARENT_TAG = "mlflow.parentRunId"
_MAX_PARAM_LENGTH = 6000
_MAX_KEY_LENGTH = 100  # beyond which a name is cut: it becomes part of a file name of at most 255 letters
_MAX_BATCH = 1000  # metrics in one request


def mlflow_handler(handlers: Sequence[Any]) -> MLFlowHandler | None:
    """MONAI's handler that ``--tracking mlflow`` has added to the handlers of an engine; None without tracking."""
    return next((handler for handler in handlers if isinstance(handler, MLFlowHandler)), None)


class MlflowRun:
    """The MLflow run of one model, in the store and experiment of MONAI's MLFlowHandler.

    MLFlowHandler alone looks for a run by its name, and so would continue a crashed one of the same name. Here a run is
    known by the tag ``leaf_seg.run``; there is never a second one of it in an experiment.

    Args:
        handler: of the engine.
        name: of the run's manifest.
        run_name: what people see, where the run is new.
        parent_run: id of the MLflow run that it is a child of.
    """

    def __init__(self, handler: MLFlowHandler, name: str, run_name: str, parent_run: str | None = None) -> None:
        self.client: MlflowClient = handler.client
        follow_move(self.client.tracking_uri)
        _remove_misnamed_folder(self.client.tracking_uri)
        self.experiment_id = _experiment_id(handler)
        found = self.client.search_runs([self.experiment_id], f"tags.`{RUN_TAG}` = '{name}'")
        if found:
            run = found[0]
            self._former_status: str | None = run.info.status
            self.client.update_run(run.info.run_id, status="RUNNING")
        else:
            self._former_status = None
            tags = {RUN_TAG: name} | ({_PARENT_TAG: parent_run} if parent_run else {})
            run = self.client.create_run(self.experiment_id, run_name=run_name, tags=tags)
        self.id: str = run.info.run_id
        logger.info("MLflow run %r in %s", run.info.run_name, shown(self.client.tracking_uri))
        self._params = run.data.params
        self._logged = self._metrics_of(run) if found else set()

    def use_in(self, handler: MLFlowHandler) -> None:
        """Let a MLFlowHandler log to this run, and leave what is logged to us."""
        handler.cur_run = self.client.get_run(self.id)  # type: ignore[assignment]  # of MONAI's, None at first
        handler.epoch_logger = handler.iteration_logger = _log_nothing

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters; those that the run has already stay as they are, since MLflow's cannot change."""
        new = {key: value for key, value in params.items() if key not in self._params}
        entities = [Param(metric_key(key), str(value)[:_MAX_PARAM_LENGTH]) for key, value in new.items()]
        self.client.log_batch(self.id, params=entities)

    def log_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags."""
        self.client.log_batch(self.id, tags=[RunTag(key, str(value)) for key, value in tags.items()])

    def log_inputs(self, datasets: Sequence[DatasetInput]) -> None:
        """Log data sets that the run does not have yet."""
        inputs = self.client.get_run(self.id).inputs
        known = {(item.dataset.name, item.dataset.digest) for item in inputs.dataset_inputs} if inputs else set()
        new = [item for item in datasets if (item.dataset.name, item.dataset.digest) not in known]
        if new:
            self.client.log_inputs(self.id, new)

    def log_metrics(
        self, rows: Sequence[tuple[int, Mapping[str, float]]], once: bool = False, model_id: str | None = None
    ) -> None:
        """Log metrics, each row with its step.

        Args:
            rows: steps and metrics.
            once: leave out what the run has for a step already, as after a step that a kill made a training repeat.
            model_id: of the logged model that they are of.
        """
        now = int(time.time() * 1000)
        metrics = [
            Metric(metric_key(key), value, now, step, model_id) for step, row in rows for key, value in row.items()
        ]
        if once:
            metrics = [metric for metric in metrics if (metric.key, metric.step) not in self._logged]
        for start in range(0, len(metrics), _MAX_BATCH):
            batch = metrics[start : start + _MAX_BATCH]
            self.client.log_batch(self.id, metrics=batch)
            self._logged |= {(metric.key, metric.step) for metric in batch}

    def _metrics_of(self, run: Run) -> set[tuple[str, int]]:
        """Names and steps of the metrics that a run has."""
        histories = (self.client.get_metric_history(run.info.run_id, key) for key in run.data.metrics)
        return {(metric.key, metric.step) for history in histories for metric in history}

    def log_files(self, paths: Sequence[Path], artifact_path: str | None = None) -> None:
        """Log the files that exist, of folders those directly in them; what is hidden there may be half-written."""
        for path in paths:
            if path.is_dir():
                files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
                self.log_files(files, artifact_path)
            elif path.exists():
                self.client.log_artifact(self.id, str(path), artifact_path)

    def leave(self) -> None:
        """Give the run the status that it had; what is done with a model does not change what its training came to."""
        if self._former_status != "RUNNING":
            self.end(self._former_status or "FINISHED")

    def end(self, status: str = "FINISHED") -> None:
        """End the run; it can be continued."""
        self.client.set_terminated(self.id, status)

    def stop(self, error: BaseException, rows: Sequence[tuple[int, Mapping[str, float]]], log: Path) -> None:
        """End the run of a training that an error has stopped, with the metrics not yet logged and its log.

        MLflow may fail, too, as when its store was being written to or the disk is full; the training's own error stays
        the one shown.
        """
        try:
            self.log_metrics(rows, once=True)
            self.log_files([log])
            self.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        except Exception as failure:
            logger.error("MLflow does not know that the training has stopped: %s", first_line(failure))


def metric_key(name: str) -> str:
    """The name as a key that MLflow takes, with what it refuses replaced; different names have different keys."""
    key = re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)
    if posixpath.normpath(key) != key or key.startswith(("/", ".")):  # it would name another file
        key = key.replace("/", "_").lstrip(".")
    if key == name and len(key) <= _MAX_KEY_LENGTH:
        return key
    return f"{key[:_MAX_KEY_LENGTH]}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _experiment_id(handler: MLFlowHandler) -> str:
    """Id of the handler's experiment, which is made where needed."""
    client: MlflowClient = handler.client
    experiment = client.get_experiment_by_name(handler.experiment_name)
    if experiment is not None:
        return experiment.experiment_id
    return client.create_experiment(handler.experiment_name, artifact_location=_artifact_location(handler))


def _artifact_location(handler: MLFlowHandler) -> str | None:
    """Where the files of a new experiment go.

    Unless told, MLFlowHandler puts them beside an SQLite store, whose URI it takes for a path: with a space, a quote or
    another letter that is quoted in the URI they would go to a folder of another name.
    """
    file, quoted = sqlite_file(handler.client.tracking_uri), handler.client.tracking_uri.partition("sqlite:///")[2]
    if file is not None and handler.artifact_location == path_to_uri(Path(quoted).parent / FILES_NAME):
        return path_to_uri(file.parent / FILES_NAME)
    return handler.artifact_location


def _remove_misnamed_folder(tracking_uri: str) -> None:
    """MLflow makes the folder of an SQLite store, and then another one under the name that is quoted in the URI."""
    _, is_sqlite, quoted = tracking_uri.partition("sqlite:///")
    if is_sqlite and unquote(quoted) != quoted:
        with suppress(OSError):  # not made, or in use
            os.removedirs(Path(quoted).parent)


def _log_nothing(engine: Engine) -> None:
    """In place of what MLFlowHandler logs: the same, but at every step a transaction of its own."""
