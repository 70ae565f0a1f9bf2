"""A model folder as MLflow's pyfunc: what ``mlflow.pyfunc.load_model(uri)`` gives."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from leaf_seg.inference.segmenter import Segmenter, load
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.precision import AUTO, autocast, check_precision
from leaf_seg.runtime.text import one_line
from leaf_seg.transforms.temperature import tempered

_PREFIX = "inference_"  # MLflow adds the options to the run's parameters, where training has some of the same name
OPTIONS: dict[str, Any] = {f"{_PREFIX}device": "auto", f"{_PREFIX}precision": "fp32", f"{_PREFIX}batch_size": 16}
PARAMS: dict[str, Any] = {"num_samples": 1}  # of predict
_PICTURE_DIMENSIONS = (2, 3)


class PyfuncModel:
    """Segments images for MLflow.

    Args:
        segmenter: of the model.
        precision: that it was loaded with: "fp32", "bf16", "fp16" or "auto".
    """

    def __init__(self, segmenter: Segmenter, precision: str = "fp32") -> None:
        self.segmenter = segmenter
        self.precision = "fp32" if precision == AUTO else precision  # the network itself sees to that
        check_precision(self.precision, segmenter.device)

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Segment images of any size, or slices of the network's.

        Args:
            model_input: the path of an image, or a list of paths (also as an array, or a data frame of one column); a
                list of arrays, each a picture [H, W] or [H, W, 3], or a pair of a volume [X, Y, Z] and its affine; or
                one array of slices [B, 3, H, W] of the network's size, in [0, 1].
            params: ``num_samples``, hypotheses that are averaged.

        Returns:
            Of images a list of label maps, uint8 [*spatial], each in its image's grid; of slices class probabilities
            [B, K, H, W].

        Raises:
            InputError: When the input is none of these, or one of the images cannot be segmented.
        """
        num_samples = int((params or {}).get("num_samples", 1))
        if isinstance(model_input, np.ndarray) and model_input.ndim == 4:
            return self._probabilities(model_input, num_samples)
        return [self._label(image, num_samples) for image in _images(model_input)]

    def _label(self, image: Any, num_samples: int) -> np.ndarray:
        array, affine = image if isinstance(image, tuple) else (image, None)
        return self.segmenter(array, affine, num_samples=num_samples, probabilities=False).label

    def _probabilities(self, slices: np.ndarray, num_samples: int) -> np.ndarray:
        network, size = self.segmenter.network, tuple(self.segmenter.settings.image_size)
        if slices.shape[1:] != (3, *size):
            raise InputError(
                f"The slices are an array {list(slices.shape)}; expected {['B', 3, *size]}. Give images of other sizes "
                "as a list of arrays or of paths."
            )
        if num_samples != 1:
            raise InputError(f"num_samples is {num_samples} for slices; expected 1. Give the images as a list.")
        low, high = (slices.min(), slices.max()) if slices.size else (0, 0)
        if not (low >= 0 and high <= 1):  # NaN is neither
            raise InputError(
                f"The slices have values from {low:g} to {high:g}; expected 0 to 1. Scale them, or give the images "
                "as a list."
            )
        with torch.no_grad(), autocast(self.segmenter.device, self.precision):
            parts = torch.from_numpy(np.ascontiguousarray(slices, np.float32)).split(self.segmenter.batch_size)
            found = torch.cat([network(part.to(self.segmenter.device)).float().cpu() for part in parts])
        return tempered(found.movedim(1, 0), self.segmenter.settings.temperature).movedim(0, 1).numpy()


def _images(model_input: Any) -> Sequence[Any]:
    """The images of an input, each a path, an array, or a pair of an array and an affine."""
    if isinstance(model_input, (str, os.PathLike)):
        return [os.fspath(model_input)]
    if hasattr(model_input, "iloc"):  # a data frame, which a served model gets
        model_input = model_input.iloc[:, 0] if model_input.ndim == 2 and model_input.shape[1] == 1 else model_input
        model_input = list(model_input)
    if isinstance(model_input, np.ndarray) and model_input.dtype.kind in "OU":
        model_input = model_input.ravel().tolist()
    images = [_image(item) for item in model_input] if isinstance(model_input, (list, tuple)) else []
    if not images:
        raise InputError(
            f"The input is {one_line(type(model_input).__name__)}; expected paths of images, a list of arrays, or "
            "slices [B, 3, H, W]."
        )
    return images


def _image(item: Any) -> Any:
    if isinstance(item, (str, os.PathLike)):
        return os.fspath(item)
    if isinstance(item, tuple) and len(item) == 2:
        return np.asarray(item[0]), np.asarray(item[1])
    if isinstance(item, np.ndarray) and item.ndim in _PICTURE_DIMENSIONS:
        return item
    raise InputError(
        f"An image is {one_line(repr(item), 80)}; expected a path, an array [H, W] or [H, W, 3], or a pair of a volume "
        "[X, Y, Z] and its affine."
    )


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> PyfuncModel:
    """What MLflow calls.

    Args:
        path: of the model folder.
        model_config: ``inference_device``, ``inference_precision`` and ``inference_batch_size``, as of
            :func:`leaf_seg.load`; MLflow has none but these.

    Raises:
        InputError: When one does not fit.
    """
    options = {key.removeprefix(_PREFIX): value for key, value in {**OPTIONS, **(model_config or {})}.items()}
    return PyfuncModel(load(path, **options), options["precision"])
