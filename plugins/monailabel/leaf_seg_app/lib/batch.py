"""Segmentation of many images, on a machine with or without GPUs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from fastapi import HTTPException
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.batch_infer import BatchInferImageType, BatchInferTask

from leaf_seg.runtime.errors import InputError
from lib import options
from lib.names import brief

logger = logging.getLogger(__name__)

_LEVELS = ("INFO", "DEBUG", "WARNING", "ERROR")


class BatchInference(BatchInferTask):
    """MONAI Label's, which divides by the number of GPUs even where there is none, and stops at the first bad image."""

    def check(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """The options of a request that are not the segmentation's.

        Raises:
            InputError: For values that do not fit, and names of images that are not there.
        """
        images = request.get("images", BatchInferImageType.IMAGES_ALL)
        known = datastore.list_images()
        if isinstance(images, str):
            options.choice({"images": str(getattr(images, "value", images))}, "images", list(BatchInferImageType))
        elif not isinstance(images, list) or not all(image in known for image in images):
            raise InputError(f"images is {brief(images)}; expected all, labeled, unlabeled, or a list of images.")
        return {
            "label_tag": options.prediction_tag(request),
            "multi_gpu": options.flag(request, "multi_gpu", True) and torch.cuda.device_count() > 1,
            "save_label": options.flag(request, "save_label", True),
            "max_batch_size": options.whole_number(request, "max_batch_size", 0, 0, 1_000_000),
            "max_workers": options.whole_number(request, "max_workers", 0, 0, 64),
            "logging": options.choice(request, "logging", _LEVELS),
        }

    def __call__(self, request: dict[str, Any], datastore: Datastore, infer: Callable[..., Any]) -> dict[str, Any]:
        """Segment the images that the request asks for, and save their labels, unless it asks not to.

        Returns:
            For each image what its segmentation returned, or {"error": message}.
        """
        chosen = self.check(request, datastore)

        def infer_or_tell(item: dict[str, Any], store: Datastore) -> dict[str, Any]:
            try:
                return infer({**item, "save_label": chosen["save_label"]}, store)  # MONAI Label's has True in any case
            except HTTPException as error:
                logger.error("%s: %s", item["image"], error.detail)
                return {"error": error.detail}

        return super().__call__({**request, **chosen}, datastore, infer_or_tell)
