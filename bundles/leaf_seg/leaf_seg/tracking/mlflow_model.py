"""The trained network as an MLflow model."""

from __future__ import annotations

import os
from pathlib import Path

import mlflow
import numpy as np
import torch
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from leaf_seg.networks import LatentSegmenter
from leaf_seg.tracking.mlflow_run import MlflowRun
from leaf_seg.weights import load_network

MODEL_NAME = "model"


def log_model(run: MlflowRun, folder: str | os.PathLike[str]) -> None:
    """Log the network of a model folder, exported by ``torch.export``, so that it runs without leaf_seg.

    Args:
        run: that the model belongs to.
        folder: of the model.
    """
    network = load_network(folder)
    example = torch.zeros(2, 3, *network.image_size)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(run.client.tracking_uri)
    try:
        with mlflow.start_run(run_id=run.id):
            mlflow.pytorch.log_model(
                network,
                name=MODEL_NAME,
                signature=model_signature(network),
                input_example=example.numpy(),
                serialization_format="pt2",
                pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}", f"numpy=={np.__version__}"],
                extra_files=[str(Path(folder) / name) for name in ("config.json",)],
            )
    finally:
        mlflow.set_tracking_uri(before)


def model_signature(network: LatentSegmenter) -> ModelSignature:
    """Image [B, 3, H, W] in [0, 1] to class probabilities [B, K, H, W], both float32."""
    size = network.image_size
    inputs = TensorSpec(np.dtype(np.float32), (-1, 3, *size), "image")
    outputs = TensorSpec(np.dtype(np.float32), (-1, network.num_classes, *size), "pred")
    return ModelSignature(inputs=Schema([inputs]), outputs=Schema([outputs]))
