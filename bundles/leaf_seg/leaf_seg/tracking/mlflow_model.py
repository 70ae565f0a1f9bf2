"""The trained model as an MLflow model: its folder, once, and the code that segments with it."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import mlflow
from mlflow.entities import LoggedModel, LoggedModelStatus
from mlflow.models import ModelSignature
from mlflow.types import DataType, ParamSchema, ParamSpec

import leaf_seg
from leaf_seg.dataset_check.training_data import TRAINING_DATA_NAME
from leaf_seg.inference import pyfunc_model
from leaf_seg.tracking.mlflow_run import MlflowRun
from leaf_seg.tracking.mlflow_store import fluent_functions_on
from leaf_seg.weights import load_settings
from leaf_seg.weights.mlflow_source import STORED_FOLDER
from leaf_seg.weights.model_config import MODEL_CONFIG_NAME, checksum, read_model

MODEL_NAME = "model"
WEIGHTS_TAG = "leaf_seg.weights"  # checksum of the weights
# What the code for segmenting imports, besides what these need themselves.
_REQUIREMENTS = (
    *("torch", "monai", "diffusers", "safetensors", "numpy", "scipy", "nibabel", "itk", "pillow", "filelock", "fire"),
    "tqdm",
)


def log_model(run: MlflowRun, folder: str | os.PathLike[str], last_step: int) -> LoggedModel:
    """Log a model folder as a pyfunc model, unless the run has it.

    It holds ``config.json`` and the weights, checksums of the training data where the folder has them, the code of
    leaf_seg, and which libraries that needs: it loads where leaf_seg is not installed.

    Args:
        run: that the model belongs to.
        folder: of the model.
        last_step: that the run has metrics of.

    Returns:
        The logged model; its tag ``leaf_seg.weights`` has the checksum of the weights.
    """
    model = read_model(Path(folder))
    digest = checksum(model.weights)
    known = _logged(run, digest)
    if known is not None:
        return known
    settings = load_settings(folder)
    with (
        tempfile.TemporaryDirectory() as scratch,
        warnings.catch_warnings(),
        fluent_functions_on(run.client.tracking_uri),
        mlflow.start_run(run_id=run.id, nested=True),
    ):
        warnings.filterwarnings("ignore", message=".*An input example was not provided")  # the schema needs none
        info = mlflow.pyfunc.log_model(
            name=MODEL_NAME,
            loader_module=pyfunc_model.__name__,
            data_path=str(_copied_model(model.weights, Path(scratch))),
            code_paths=[str(_copied_code(Path(scratch)))],
            pip_requirements=_requirements(),
            signature=_signature(),
            model_config=pyfunc_model.OPTIONS,
            metadata={"class_names": list(settings.class_names), "image_size": list(settings.image_size)},
            tags={WEIGHTS_TAG: digest},
            step=last_step + 1,  # MLflow logs the metrics of this step once more
        )
    return run.client.get_logged_model(info.model_id)


def _logged(run: MlflowRun, digest: str) -> LoggedModel | None:
    """The run's model of these weights, if it has been logged to the end."""
    filters = f"name = '{MODEL_NAME}' AND source_run_id = '{run.id}'"
    for model in run.client.search_logged_models([run.experiment_id], filters):
        if model.tags.get(WEIGHTS_TAG) == digest and model.status == LoggedModelStatus.READY:
            return model
    return None


def _signature() -> ModelSignature:
    """Only what ``predict`` takes besides images: paths, and arrays of any size, have no common schema."""
    specs = [ParamSpec(name, DataType.long, default) for name, default in pyfunc_model.PARAMS.items()]
    return ModelSignature(params=ParamSchema(specs))


def _copied_model(weights: Path, scratch: Path) -> Path:
    """A folder with the files of a model; MLflow copies it, and follows links."""
    folder = scratch / Path(STORED_FOLDER).name
    folder.mkdir()
    record = weights.parent / TRAINING_DATA_NAME
    for file in (weights.parent / MODEL_CONFIG_NAME, weights, *([record] if record.is_file() else [])):
        (folder / file.name).symlink_to(file.resolve())
    return folder


def _copied_code(scratch: Path) -> Path:
    """The package's modules; in an installed wheel its folder also has the bundle's weights."""
    source = Path(leaf_seg.__file__).parent
    for module in sorted(source.rglob("*.py")):
        target = scratch / source.name / module.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(module, target)
    return scratch / source.name


def _requirements() -> list[str]:
    """The libraries with the versions that are installed here."""
    return [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in _REQUIREMENTS]
