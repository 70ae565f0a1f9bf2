"""How MONAI Label wants label maps: its generic app ``monaibundle`` of the bundle, and pictures of every app."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Invertd, InvertibleTransform

# 3D Slicer shows a picture as a volume of one slice, in ITK's coordinates; NIfTI's run the other way along x and y.
PICTURE_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])


class ToLabelMap(Invertd):
    """Undo the preprocessing of class probabilities and take the most probable class.

    A picture's label map becomes a volume of one slice, as 3D Slicer reads pictures, in a NIfTI file unless the request
    says otherwise: MONAI Label would write it as a picture of floats, which fails. One transform, and an ``Invertd``,
    because the app leaves out transforms of that kind when it scores images, for which it needs the probabilities.

    Args:
        keys: key of the probabilities.
        transform: preprocessing to undo.
        orig_keys: key of the image.
    """

    def __init__(self, keys: KeysCollection, transform: InvertibleTransform, orig_keys: KeysCollection) -> None:
        super().__init__(keys, transform, orig_keys, nearest_interp=False)

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """From probabilities [K, *spatial] to a label map [1, X, Y, Z], of a picture [1, W, H, 1]."""
        answer: dict[Any, Any] = super().__call__(data)
        answer["result_dtype"] = np.uint8
        for key, image_key in zip(self.keys, self.orig_keys, strict=True):
            label: torch.Tensor = answer[key].argmax(dim=0, keepdim=True)
            image: MetaTensor = answer[image_key]
            if image.ndim == 3:
                label = label.transpose(1, 2)[..., None]
                image.meta.update(spatial_shape=np.array(label.shape[1:]), original_affine=PICTURE_AFFINE)
                answer["result_extension"] = answer.get("result_extension") or ".nii.gz"
            answer[key] = label
        return answer
