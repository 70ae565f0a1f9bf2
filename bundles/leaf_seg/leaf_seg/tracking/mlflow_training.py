"""What MLflow keeps of a training."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
from ignite.engine import Engine, Events
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from monai.engines import Evaluator
from monai.handlers import MLFlowHandler
from PIL import Image

from leaf_seg.engines import BundleEvaluator, BundleTrainer, StepLosses, StepRecord, TrainingEvents
from leaf_seg.runtime.decoration import decoration
from leaf_seg.runtime.files import scratch_beside
from leaf_seg.runtime.overrides import command_line_settings
from leaf_seg.runtime.values import parse_bool
from leaf_seg.tracking.manifest import read_manifest
from leaf_seg.tracking.mlflow_data import TrackedData
from leaf_seg.tracking.mlflow_model import log_model
from leaf_seg.tracking.mlflow_registry import Registration
from leaf_seg.tracking.mlflow_run import MlflowRun, metric_key, mlflow_handler
from leaf_seg.tracking.mlflow_store import unusable_store
from leaf_seg.tracking.rows import step_row, validation_row
from leaf_seg.tracking.run_folder import (
    CURVES_NAME,
    EXECUTED_CONFIG_NAME,
    LOG_NAME,
    LOSSES_NAME,
    MANIFEST_NAME,
    METRICS_NAME,
    OVERLAYS_NAME,
)
from leaf_seg.tracking.system_metrics import check_system_metrics, last_sample, started_monitor

_PAUSE_SECONDS = 60.0  # before a store that has failed is tried again
_FLUSH_SECONDS = 2.0  # a transaction for every step would slow down short ones


class MlflowTraining:
    """Ignite handler that completes MONAI's MLFlowHandler: one run holds all of a training.

    Losses, learning rate, validation metrics, settings, data sets, executed config, manifest, overlays and, at the end,
    tables, curves, log and the best model, which may be registered. A resumed training continues its own run. A store
    that cannot be used is an error at the start; one that fails later costs no training: that is logged, and metrics
    are logged again a minute later. Does nothing unless ``--tracking mlflow`` has added MLFlowHandler to the engine.

    Args:
        folder: of the training.
        validator: the training's evaluator.
        run_name: of the run; folder and time unless given.
        parent_run: id of the MLflow run that it is a child of.
        data: whose training and validation cases are logged as inputs.
        system_metrics: let MLflow measure the machine during the training.
        registration: of the best model, when the training ends well.
        settings: values by key, besides those that the config has as plain values.

    Raises:
        InputError: When the machine is to be measured, and the library for it is missing.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        validator: Evaluator,
        run_name: str | None = None,
        parent_run: str | None = None,
        data: TrackedData | None = None,
        system_metrics: bool | str = False,
        registration: Registration | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings = dict(settings or {})
        self.folder = Path(folder)
        self.validator = validator
        self.run_name = run_name
        self.parent_run = parent_run
        self.data = data
        self.system_metrics = parse_bool(system_metrics, "system_metrics")
        self.registration = registration
        if self.system_metrics:
            check_system_metrics()
        self._handlers: list[MLFlowHandler] = []  # MONAI's, of training and validation
        self._run: MlflowRun | None = None
        self._monitor: SystemMetricsMonitor | None = None
        self._tags: dict[str, str] = {}  # code and data
        self._rows: list[tuple[int, dict[str, float]]] = []  # logged soon
        self._flushed_at = 0.0

    def attach(self, engine: Engine) -> None:
        """Attach to a BundleTrainer, behind what writes to the folder, before a TrainingCheckpoint and MLFlowHandler.

        Before the checkpoint, so that no step is in a checkpoint and not in MLflow, whenever the process is killed.
        """
        lists = (cast(BundleTrainer, engine).train_handlers, cast(BundleEvaluator, self.validator).val_handlers)
        self._handlers = [handler for handler in map(mlflow_handler, lists) if handler is not None]
        if mlflow_handler(lists[0]) is None:
            return
        engine.add_event_handler(Events.STARTED, self._start)
        StepLosses(self._log_steps).attach(engine)
        engine.add_event_handler(TrainingEvents.CHECKPOINT_STARTED, self._flush)
        engine.add_event_handler(Events.COMPLETED, self._complete)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._fail)
        self.validator.add_event_handler(Events.COMPLETED, self._log_validation, engine)

    def _start(self) -> None:
        try:
            self._open()
        except Exception as error:  # of MLflow, its data base and the network
            raise unusable_store(error) from error

    def _open(self) -> None:
        manifest = read_manifest(self.folder)
        if manifest is None:
            raise RuntimeError(f"No manifest in {self.folder}: RunManifest stands before MlflowTraining.")
        run_name = self.run_name or f"{self.folder.resolve().name} {datetime.now():%Y-%m-%d %H:%M:%S}"
        run = self._run = MlflowRun(self._handlers[0], manifest["run"], run_name, self.parent_run)
        for handler in self._handlers:
            run.use_in(handler)
        run.log_params(self.settings | command_line_settings())
        session = manifest["sessions"][-1]
        self._tags = {f"leaf_seg.{key}": session[key] for key in ("git", "datalist_sha256") if session[key]}
        run.log_tags(self._tags)
        run.log_tags({f"version.{key}": value for key, value in session["versions"].items()})
        run.log_files([self.folder / name for name in (EXECUTED_CONFIG_NAME, MANIFEST_NAME)])
        if self.data is not None:
            self.data.log(run, "training", "validation")
        if self.system_metrics:
            with decoration("MLflow's record of the machine"):
                self._monitor = started_monitor(run)

    def _log_steps(self, engine: Engine, records: Sequence[StepRecord]) -> None:
        for record in records:
            row = {f"train_{n}" if n.startswith("loss") else n: value for n, value in step_row(record).items()}
            self._rows.append((record.step, row | {"epoch": record.epoch}))
        if time.monotonic() - self._flushed_at >= _FLUSH_SECONDS:
            self._flush()

    def _flush(self) -> None:
        self._flushed_at = time.monotonic() + _PAUSE_SECONDS  # unless it succeeds
        with decoration("MLflow's record of the metrics"):
            self._live_run.log_metrics(self._rows, once=True)
            self._rows = []
            self._flushed_at = time.monotonic()

    def _log_validation(self, validator: Engine, trainer: Engine) -> None:
        step = trainer.state.iteration
        self._rows.append((step, validation_row(validator)))
        self._flush()
        with decoration("MLflow's record of the overlays"):
            self._log_overlays(validator, step)

    def _log_overlays(self, validator: Engine, step: int) -> None:
        for path in sorted((self.folder / OVERLAYS_NAME).glob(f"*_epoch_{validator.state.epoch:04d}.png")):
            case = path.stem.removesuffix(f"_epoch_{validator.state.epoch:04d}")
            with Image.open(path) as image, _temporary_files_in(self.folder):
                self._live_run.client.log_image(
                    self._live_run.id, np.asarray(image), key=metric_key(case), step=step, synchronous=True
                )

    def _complete(self, engine: Engine) -> None:
        self._stop_monitor()
        self._flush()
        names = (MANIFEST_NAME, LOSSES_NAME, METRICS_NAME, CURVES_NAME, LOG_NAME)
        with decoration("MLflow's record of the files"), _temporary_files_in(self.folder):
            self._live_run.log_files([self.folder / name for name in names])
        with decoration("MLflow's record of the trained model"), _temporary_files_in(self.folder):
            self._log_model(engine)

    def _log_model(self, engine: Engine) -> None:
        run = self._live_run
        best: Any = self.validator.state  # MONAI adds the best metric to Ignite's state
        best_row = {f"best_{best.key_metric_name}": float(best.best_metric), "best_epoch": best.best_metric_epoch}
        model = log_model(run, self.folder, max(engine.state.iteration, last_sample(run)))
        run.log_metrics([(engine.state.iteration, best_row)], once=True, model_id=model.model_id)
        if self.registration is not None:
            self.registration.register(run, model, best_row | self._tags)

    def _fail(self, engine: Engine, error: BaseException) -> None:
        self._stop_monitor()
        if self._run is not None:
            self._run.stop(error, self._rows, self.folder / LOG_NAME)

    def _stop_monitor(self) -> None:
        if self._monitor is not None:
            self._monitor.finish()
            self._monitor = None

    @property
    def _live_run(self) -> MlflowRun:
        assert self._run is not None  # begins with the training
        return self._run


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Let what MLflow writes before it takes it be where it is removed after a kill: it shows patients."""
    former = tempfile.tempdir
    with scratch_beside(folder) as scratch:
        tempfile.tempdir = str(scratch)
        try:
            yield
        finally:
            tempfile.tempdir = former
