"""Labels in the grid of the image's file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.transforms import Invertd, MapTransform

from leaf_seg.transforms.most_probable import most_probable


class NativeLabel(MapTransform):
    """Bring an image's answer into the grid of its file, as labels and without the class probabilities of that grid.

    Labels are turned as they are. Of class probabilities one class after the other is brought there, because the most
    probable class is known only where they have been resampled.

    Args:
        undo: brings maps of one channel under this key into the grid of the file.
        key: of labels, uint8 [1, *spatial], or probabilities [K, *spatial]; gets labels, uint8 [1, *spatial].
    """

    def __init__(self, undo: Invertd, key: str = "pred") -> None:
        super().__init__(key)
        self.undo = undo

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """Bring the answer of ``data`` there, whose "image" knows what was done with it."""
        result = dict(data)
        for key in self.key_iterator(result):
            answer = result[key]
            if answer.dtype == torch.uint8:
                result[key] = self._native(data, key, answer)
            else:
                result[key] = most_probable(self._native(data, key, channel[None]) for channel in answer)
        return result

    def _native(self, data: Mapping[Any, Any], key: Any, channel: torch.Tensor) -> torch.Tensor:
        native: torch.Tensor = self.undo({**data, key: channel})[key]
        return native
