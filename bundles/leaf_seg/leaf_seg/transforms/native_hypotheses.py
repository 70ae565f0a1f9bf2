"""Labels of several hypotheses in the grid of the image's file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.transforms import Invertd, MapTransform
from monai.utils import convert_to_tensor

from leaf_seg.transforms.native_label import NativeLabel

HYPOTHESES = "hypotheses"


class NativeHypotheses(MapTransform):
    """Bring an image's hypotheses, where there are some, into the grid of its file, as labels.

    Each becomes what it would be alone, by :class:`~leaf_seg.transforms.native_label.NativeLabel`.

    Args:
        undo: brings maps of one channel under this key into the grid of the file.
        key: of class probabilities [N, K, *spatial]; gets labels, uint8 [N, *spatial].
    """

    def __init__(self, undo: Invertd, key: str = HYPOTHESES) -> None:
        super().__init__(key, allow_missing_keys=True)
        self.native = NativeLabel(undo, key)

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """Bring the hypotheses of ``data`` there, whose "image" knows what was done with it."""
        result = dict(data)
        for key in self.key_iterator(result):
            labels = [self.native({**data, key: hypothesis})[key] for hypothesis in result[key]]
            result[key] = torch.cat([convert_to_tensor(label, track_meta=False) for label in labels])
        return result
