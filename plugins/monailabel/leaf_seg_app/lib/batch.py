"""Segmentation of many images, on a machine with or without GPUs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from fastapi import HTTPException
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.batch_infer import BatchInferTask

logger = logging.getLogger(__name__)


class BatchInference(BatchInferTask):
    """MONAI Label's, which divides by the number of GPUs even where there is none, and stops at the first bad image."""

    def __call__(self, request: dict[str, Any], datastore: Datastore, infer: Callable[..., Any]) -> dict[str, Any]:
        """Segment the images that the request asks for, and save their labels.

        Returns:
            For each image what its segmentation returned, or {"error": message}.
        """
        several = bool(request.get("multi_gpu", True)) and torch.cuda.device_count() > 1

        def infer_or_tell(item: dict[str, Any], store: Datastore) -> dict[str, Any]:
            try:
                return infer(item, store)
            except HTTPException as error:
                logger.error("%s: %s", item["image"], error.detail)
                return {"error": error.detail}

        return super().__call__({**request, "multi_gpu": several}, datastore, infer_or_tell)
