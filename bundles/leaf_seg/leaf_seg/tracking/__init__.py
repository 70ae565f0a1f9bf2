"""What a run leaves for people to read, compare and repeat: run folder, manifest, curves, MLflow."""

from leaf_seg.runtime.mlflow_folder import local_store
from leaf_seg.tracking.mlflow_data import TrackedData
from leaf_seg.tracking.mlflow_registry import Registration
from leaf_seg.tracking.mlflow_results import MlflowResults
from leaf_seg.tracking.mlflow_store import prepare_store
from leaf_seg.tracking.mlflow_training import MlflowTraining
from leaf_seg.tracking.run_folder import (
    check_unoccupied,
    checkpoints_of,
    clear_run_folder,
    end_log,
    prepare_empty_folder,
    prepare_run_folder,
    store_of,
)
from leaf_seg.tracking.run_manifest import RunManifest
from leaf_seg.tracking.train import train
from leaf_seg.tracking.training_log import TrainingLog

__all__ = [
    "MlflowResults",
    "MlflowTraining",
    "Registration",
    "RunManifest",
    "TrackedData",
    "TrainingLog",
    "check_unoccupied",
    "checkpoints_of",
    "clear_run_folder",
    "end_log",
    "local_store",
    "prepare_empty_folder",
    "prepare_run_folder",
    "prepare_store",
    "store_of",
    "train",
]
