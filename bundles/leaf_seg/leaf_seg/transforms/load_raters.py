"""Loads the labels of several raters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Transform

from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.image_io.memory import DEFAULT_MEMORY_LIMIT_GB
from leaf_seg.transforms.check_pair import CheckPair
from leaf_seg.transforms.label_values import LabelValues
from leaf_seg.transforms.load_case import LoadCase
from leaf_seg.transforms.mask_value import MaskValue

RATERS = "raters"


class LoadRaters(Transform):
    """Load what each rater marked, read, coded and checked as the label is; a case without raters stays as it is.

    The paths under "raters" become class numbers, uint8 [R, *spatial], in the grid of the image; they take the place of
    the label where they are trained on.

    Args:
        settings: classes and their coding.
        mask_value: of the data set; without one this transform has its own.
        memory_limit_gb: gigabytes that reading one file may take; None is no limit.
        key: "raters", or "label" to put them in its place, as a MetaTensor.

    Raises:
        InputError: For a rater's label that a case's own label could not be.
    """

    def __init__(
        self,
        settings: ModelSettings,
        mask_value: MaskValue | None = None,
        memory_limit_gb: float | None = DEFAULT_MEMORY_LIMIT_GB,
        key: str = RATERS,
    ) -> None:
        self.key = key
        self.steps = (
            LoadCase(["label"], memory_limit_gb=memory_limit_gb, reading=settings.reading),
            LabelValues("label", settings, mask_value),
            CheckPair(("image", "label"), num_classes=settings.num_classes, class_names=settings.class_names),
        )

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """Load the raters of ``data``, whose "image" is as in its file."""
        if RATERS not in data:
            return dict(data)
        raters = torch.cat([self._label(data["image"], path) for path in data[RATERS]])
        if self.key == RATERS:
            return {**data, RATERS: raters}
        others = {key: value for key, value in data.items() if key != RATERS}
        return {**others, self.key: MetaTensor(raters).copy_meta_from(data[self.key])}

    def _label(self, image: torch.Tensor, path: Any) -> torch.Tensor:
        """Class numbers of one rater, uint8 [1, *spatial]."""
        case: dict[Any, Any] = {"image": image, "label": path}
        for step in self.steps:
            case = step(case)
        return case["label"].as_tensor().to(torch.uint8)
