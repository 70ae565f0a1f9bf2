"""Training on the labels of the datastore."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigWorkflow
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.utils.others.generic import device_list

from leaf_seg import Segmenter, load
from leaf_seg.handlers import TrainingCheckpoint
from leaf_seg.image_io import case_name
from leaf_seg.metrics import ForegroundDice
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import ensure_writable_folder
from leaf_seg.runtime.plain import plain_message
from leaf_seg.runtime.scratch import remove_abandoned, scratch_folder
from leaf_seg.tracking import end_log, local_store
from leaf_seg.transforms.load_case import LoadCase
from lib import options
from lib.background import is_pending
from lib.datastore import DurableDatastore
from lib.progress import TrainingStats, add_to_stats, read_stats
from lib.training_data import Dataset, labelled_cases, write_dataset
from lib.versions import INITIAL, SERVED, ModelVersions

logger = logging.getLogger(__name__)

STATS_NAME = "training_stats.json"
_WORK_PREFIX = ".training_"
_SCRATCH = "scratch"
_MAX_EPOCHS, _VAL_SPLIT, _LEARNING_RATE = 20, 0.2, 0.0002  # unless the client says otherwise
_TRACKING = ("mlflow", "None")

_RECIPE: dict[str, Any] = {"empty_slice_rate": 0.2, "batch_size": 16}


@dataclass(frozen=True)
class TrainingOptions:
    """What a client can choose.

    Attributes:
        start_from: "served", "initial" or "scratch".
        max_epochs: number of epochs.
        val_split: share of the labels that are for validation.
        learning_rate: of AdamW.
        device: to compute on.
        tracking: "mlflow" or "None".
    """

    start_from: str
    max_epochs: int
    val_split: float
    learning_rate: float
    device: str
    tracking: str


class TrainingTask(TrainTask):
    """Trains on the final labels; every training that ends well becomes a version, and the better one is served.

    Runs ``configs/train.json`` of the bundle in a folder of its own. When it has ended, the new model and the served
    one are compared on the same validation cases; the new one is served unless it is worse.

    Args:
        versions: models of the server.
        bundle: folder of the MONAI bundle.
    """

    def __init__(self, versions: ModelVersions, bundle: Path) -> None:
        super().__init__("Trains on the submitted labels, from the served model, the initial one or from scratch")
        self.versions = versions
        self.bundle = bundle

    def config(self) -> dict[str, Any]:
        """Options as 3D Slicer shows them."""
        return {
            "start_from": self._starts(),
            "max_epochs": _MAX_EPOCHS,
            "val_split": _VAL_SPLIT,
            "learning_rate": _LEARNING_RATE,
            "device": device_list(),
            "tracking": list(_TRACKING),
        }

    def stats(self) -> dict[str, Any]:
        """Epoch, number of epochs and best metric of the training that runs or has ended; {} where there is none."""
        return read_stats(self.versions.store / STATS_NAME, is_pending("train"))

    def check(self, request: Mapping[str, Any], datastore: DurableDatastore) -> TrainingOptions:
        """The options of a request.

        Raises:
            InputError: For values that do not fit, and when there is no label.
        """
        options.refuse_unknown(request, self.config())
        chosen = TrainingOptions(
            start_from=options.choice(request, "start_from", self._starts()),
            max_epochs=options.whole_number(request, "max_epochs", _MAX_EPOCHS, 1, 100_000),
            val_split=options.number(request, "val_split", _VAL_SPLIT, 0, 0.9),
            learning_rate=options.number(request, "learning_rate", _LEARNING_RATE, 1e-7, 1),
            device=options.device(request),
            tracking=options.choice(request, "tracking", _TRACKING),
        )
        labelled_cases(datastore)
        return chosen

    def __call__(self, request: dict[str, Any], datastore: DurableDatastore) -> dict[str, Any]:
        """Train.

        Returns:
            The version's name and record.

        Raises:
            InputError: For options and labels that do not fit.
        """
        chosen = self.check(request, datastore)
        store = ensure_writable_folder(self.versions.store)
        self.remove_killed()
        with scratch_folder(store, _WORK_PREFIX) as scratch:
            work = scratch / "model"
            try:
                version, record = self._make_version(work, scratch / "data", chosen, datastore)
            except BaseException as error:
                end_log(work)
                message = plain_message(error)
                if message is None:
                    raise
                # MONAI wraps it; of a long traceback clients are shown the last lines.
                raise InputError(message) from None
        if record["served"]:
            self.versions.serve(version)
        told = ("served", "dice", "former_dice", "untouched_predictions", "note")
        add_to_stats(store / STATS_NAME, version=version, **{key: record[key] for key in told})
        logger.info("Saved as %s: %s", version, record)
        return {"version": version, **record}

    def remove_killed(self) -> None:
        """Remove what trainings that were killed have left, copies of images among it."""
        remove_abandoned(self.versions.store, _WORK_PREFIX)

    def _make_version(
        self, work: Path, data: Path, chosen: TrainingOptions, datastore: DurableDatastore
    ) -> tuple[str, dict[str, Any]]:
        """Train in ``work`` on what is written to ``data``, and make a version of it; its name and record."""
        served = self.versions.served()
        seen = self.versions.record(served).get("training", []) if served else []
        dataset = write_dataset(datastore, self.versions.class_names, chosen.val_split, data, seen)
        for name, reason in dataset.left_out.items():
            logger.warning("Not trained on: %s: %s", name, reason)
        self._train(work, dataset.datalist, chosen)
        end_log(work)
        record = self._compare(work, dataset, chosen)
        shutil.rmtree(work / "checkpoints")
        return self.versions.publish(work, record), record

    def _starts(self) -> list[str]:
        return [*([SERVED] if self.versions.served() else []), INITIAL, _SCRATCH]

    def _train(self, work: Path, datalist: Path, chosen: TrainingOptions) -> None:
        """Run the bundle's training."""
        base = self.versions.served() if chosen.start_from == SERVED else INITIAL
        assert base is not None  # _starts offers it only where there is one
        settings = self.versions.settings(base).to_dict()
        keys = ("image_size", "axis", "num_slices", "window", "spacing", "mirror_axes", "channels")
        every = max(1, chosen.max_epochs // 10)
        tracked: dict[str, Any] = {}
        if chosen.tracking == "mlflow":
            tracked = {
                "tracking": "mlflow",
                "tracking_uri": local_store(self.versions.store),
                "run_name": f"{self.versions.store.name} {time.strftime('%Y-%m-%d %H:%M:%S')}",
            }
        workflow = ConfigWorkflow(
            config_file=str(self.bundle / "configs" / "train.json"),
            meta_file=str(self.bundle / "configs" / "metadata.json"),
            logging_file=False,  # MONAI Label's own logging
            run_id="training",
            workflow_type="train",
            bundle_root=str(self.bundle),
            dataset_dir=str(datalist),
            class_names=list(self.versions.class_names),
            output_dir=str(work),
            init_dir=None if chosen.start_from == _SCRATCH else str(self.versions.folder(base)),
            device_name=chosen.device,
            max_epochs=chosen.max_epochs,
            val_interval=every,
            learning_rate=chosen.learning_rate,
            warmup_steps=10,
            **{"train#dataset#cache_dir": str(datalist.parent)},  # which does not become part of the version
            **{key: settings[key] for key in keys if key in settings},
            **_RECIPE,
            **tracked,
        )
        # Of an error it says how the command could be resumed, and there is no command.
        logging.getLogger(TrainingCheckpoint.__module__).setLevel(logging.CRITICAL)
        workflow.initialize()
        trainer = workflow.parser.get_parsed_content("train#trainer")
        validator = workflow.parser.get_parsed_content("validate#evaluator")
        TrainingStats(self.versions.store / STATS_NAME, validator).attach(trainer)
        workflow.run()
        workflow.finalize()

    def _compare(self, work: Path, dataset: Dataset, chosen: TrainingOptions) -> dict[str, Any]:
        """Dice of the new model and of the served one, on the same cases and in the same way."""
        splits = json.loads(dataset.datalist.read_text())
        compared = [case for case in splits["validation"] if case_name(case["image"]) not in dataset.predictions]
        served = self.versions.served()
        new_dice = former_dice = None
        if compared:
            new_dice = _foreground_dice(load(work, chosen.device), compared)
            former_dice = _foreground_dice(self.versions.segmenter(served, chosen.device), compared) if served else None
        is_better = served is None or (new_dice is not None and former_dice is not None and new_dice >= former_dice)
        return {
            "dice": new_dice,
            "former": served,
            "former_dice": former_dice,
            "served": is_better,
            "note": _note(served, len(compared), len(dataset.predictions), is_better),
            "untouched_predictions": len(dataset.predictions),
            "left_out": dataset.left_out,
            "start_from": chosen.start_from,
            "max_epochs": chosen.max_epochs,
            "training": [case_name(case["image"]) for case in splits["training"]],
            "validation": [case_name(case["image"]) for case in splits["validation"]],
            "compared": [case_name(case["image"]) for case in compared],
        }


def _note(served: str | None, compared: int, predictions: int, is_better: bool) -> str:
    """Why the new version is served or is not, in words."""
    left_out = f"; {predictions} labels are untouched answers of the server, and left out" if predictions else ""
    if served is None:
        return f"It is the first version{left_out}."
    if not compared:
        return f"Nothing to compare on{left_out}: {served} stays served. Correct some of the labels, and train again."
    outcome = "it is served" if is_better else f"it is worse, and {served} stays served"
    return f"Compared with {served} on {compared} labels{left_out}: {outcome}."


def _foreground_dice(segmenter: Segmenter, cases: list[dict[str, str]]) -> float:
    """The score that training chooses its best model by; 0 for a model that finds nothing."""
    score = ForegroundDice(len(segmenter.settings.class_names))
    for case in cases:
        truth = LoadCase("label")({"label": case["label"]})["label"][0]
        pred = torch.from_numpy(segmenter(case["image"]).label)
        score(pred[None, None], truth[None, None])
    return float(score.aggregate())
