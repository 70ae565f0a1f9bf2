"""The trained network as an MLflow model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
import torch
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from leaf_seg.networks import SavedNetwork
from leaf_seg.tracking.mlflow_run import MlflowRun
from leaf_seg.weights import load_network
from leaf_seg.weights.model_folder import MODEL_CONFIG_NAME

MODEL_NAME = "model"
_VARIABLE = "MLFLOW_TRACKING_URI"


def log_model(run: MlflowRun, folder: str | os.PathLike[str]) -> None:
    """Log the network of a model folder, exported by ``torch.export``, so that it runs without leaf_seg.

    Args:
        run: that the model belongs to.
        folder: of the model.
    """
    network = load_network(folder)
    example = torch.zeros(2, 3, *network.image_size)
    with _fluent_functions_on(run.client.tracking_uri), mlflow.start_run(run_id=run.id, nested=True):
        mlflow.pytorch.log_model(
            network,
            name=MODEL_NAME,
            signature=model_signature(network),
            input_example=example.numpy(),
            serialization_format="pt2",
            pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}", f"numpy=={np.__version__}"],
            extra_files=[str(Path(folder) / MODEL_CONFIG_NAME)],
        )


def model_signature(network: SavedNetwork) -> ModelSignature:
    """Image [B, 3, H, W] in [0, 1] to class probabilities [B, K, H, W], both float32."""
    size = network.image_size
    inputs = TensorSpec(np.dtype(np.float32), (-1, 3, *size))  # with a name a served model would get a dictionary
    outputs = TensorSpec(np.dtype(np.float32), (-1, network.num_classes, *size))
    return ModelSignature(inputs=Schema([inputs]), outputs=Schema([outputs]))


@contextmanager
def _fluent_functions_on(tracking_uri: str) -> Iterator[None]:
    """Let MLflow's module functions, of which logging a model is one, use a store; they know theirs by a global.

    MLflow writes the global to the environment, too, where MLFlowHandler would find it.
    """
    variable = os.environ.get(_VARIABLE)
    mlflow.set_tracking_uri(tracking_uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # its own reset
        if variable is not None:
            os.environ[_VARIABLE] = variable
