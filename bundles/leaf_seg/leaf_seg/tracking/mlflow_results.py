"""What MLflow keeps of an evaluation or of segmented images."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from ignite.engine import Engine, Events
from monai.handlers import MLFlowHandler

from leaf_seg.engines import BundleEvaluator
from leaf_seg.handlers import REPORT_NAMES, SUMMARY_NAME
from leaf_seg.handlers.html_report import CONFIDENCE_NAME
from leaf_seg.runtime.decoration import decoration
from leaf_seg.tracking.manifest import read_manifest
from leaf_seg.tracking.mlflow_data import TrackedData
from leaf_seg.tracking.mlflow_run import MlflowRun, mlflow_handler
from leaf_seg.tracking.mlflow_store import unusable_store
from leaf_seg.tracking.run_folder import EXECUTED_CONFIG_NAME, MANIFEST_NAME


class MlflowResults:
    """Ignite handler that adds the results of a model to the model's own MLflow run.

    The run is that of the training, if the store and experiment of ``--tracking mlflow`` hold it, else a new one. It
    gets the executed config, manifest, tables and overlays under ``<name>/``, and the means of
    ``metrics_summary.json`` as metrics ``<name>_<metric>_<class>``. Does nothing unless ``--tracking mlflow`` has added
    MLFlowHandler to the engine.

    Args:
        model_dir: folder of the model.
        folder: where the results are written.
        name: of the results, such as the split.
        run_name: of the run where it is new; the model's folder unless given.
        num_overlays: overlays that are logged.
        data: whose cases of the split that ``name`` names are logged as an input.
    """

    def __init__(
        self,
        model_dir: str | os.PathLike[str],
        folder: str | os.PathLike[str],
        name: str,
        run_name: str | None = None,
        num_overlays: int = 16,
        data: TrackedData | None = None,
    ) -> None:
        self.model_dir = Path(model_dir)
        self.folder = Path(folder)
        self.name = name
        self.run_name = run_name
        self.num_overlays = num_overlays
        self.data = data
        self._handler: MLFlowHandler | None = None
        self._run: MlflowRun | None = None

    def attach(self, engine: Engine) -> None:
        """Attach to a BundleEvaluator, behind what writes to the folder and before MLFlowHandler."""
        self._handler = mlflow_handler(cast(BundleEvaluator, engine).val_handlers)
        if self._handler is None:
            return
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.COMPLETED, self._complete)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._fail)

    def _start(self) -> None:
        try:
            self._open()
        except Exception as error:  # of MLflow, its data base and the network
            raise unusable_store(error) from error

    def _open(self) -> None:
        handler = cast(MLFlowHandler, self._handler)
        manifest = read_manifest(self.model_dir)
        name = manifest["run"] if manifest else uuid.uuid4().hex  # a model from before there were manifests
        self._run = MlflowRun(handler, name, self.run_name or self.model_dir.resolve().name)
        self._run.use_in(handler)
        if self.data is not None:
            self.data.log(self._run, self.name)

    def _complete(self) -> None:
        with decoration("MLflow's record of the results"):
            self._log(cast(MlflowRun, self._run))
        with decoration("The end of MLflow's record"):
            self._leave()

    def _log(self, run: MlflowRun) -> None:
        run.log_files([self.folder / name for name in (EXECUTED_CONFIG_NAME, MANIFEST_NAME, *REPORT_NAMES)], self.name)
        for kind in ("overlays", CONFIDENCE_NAME):
            run.log_files(sorted((self.folder / kind).glob("*.png"))[: self.num_overlays], f"{self.name}/{kind}")
        summary = self.folder / SUMMARY_NAME
        if summary.exists():
            run.log_metrics([(0, _means(json.loads(summary.read_text()), self.name))])

    def _fail(self, engine: Engine, error: BaseException) -> None:
        if self._run is not None:
            self._leave()
        raise error

    def _leave(self) -> None:
        """Before MLFlowHandler, which would end the run as finished."""
        cast(MLFlowHandler, self._handler).cur_run = None
        cast(MlflowRun, self._run).leave()


def _means(summary: Mapping[str, Any], name: str) -> dict[str, float]:
    """The defined means of a summary, flat, with what else was measured."""
    groups = {"mean_foreground": summary["mean_foreground"], **summary["classes"]}
    for group, calibration in summary.get("calibration", {}).get("classes", {}).items():
        groups[group] = groups[group] | {metric: calibration[metric] for metric in ("ece", "ace", "brier")}
    for part, prefix in (("raters", ""), ("lesions", "lesion_")):
        found = summary.get(part, {"mean_foreground": {}, "classes": {}})
        for group, metrics in {"mean_foreground": found["mean_foreground"], **found["classes"]}.items():
            groups[group] = groups[group] | {prefix + name: value for name, value in metrics.items() if "mean" in value}
    stability = summary.get("noise_stability")
    spread = {f"{name}_dice_std_noise_seeds": stability["mean_foreground"]["dice"]["std"]} if stability else {}
    numbers = {f"{name}_{key}": summary[key]["n"] for key in ("predicted_empty", "false_positives") if key in summary}
    means = {
        f"{name}_{metric}_{group}": interval["mean"]
        for group, metrics in groups.items()
        for metric, interval in metrics.items()
        if interval["mean"] is not None
    }
    ranking = summary.get("ranking", {}).get("spearman", {}).get("rho")
    ranks = {} if ranking is None else {f"{name}_spearman_expected_dice": ranking}
    nll = summary.get("calibration", {}).get("nll")
    likelihood = {f"{name}_nll": nll["mean"]} if nll else {}
    area = summary.get("risk_coverage", {}).get("aurc")
    ranks |= {f"{name}_aurc": area["mean"]} if area else {}
    for group, found in summary.get("sizes", {}).get("classes", {}).items():
        ranks[f"{name}_size_coverage_{group}"] = found["within"]["share"]
    return spread | ranks | likelihood | numbers | means
