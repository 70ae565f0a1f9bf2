"""A trained model for arrays and files, without configs or engines."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils import convert_to_tensor

from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.image_io.memory import DEFAULT_MEMORY_LIMIT_GB
from leaf_seg.inference.inferers import HypothesisMaps, inferer_for
from leaf_seg.networks import SavedNetwork
from leaf_seg.runtime.devices import select_device
from leaf_seg.runtime.errors import InputError, input_error_in
from leaf_seg.transforms.preprocessing import preprocessing, undone
from leaf_seg.weights import load_network, load_settings


@dataclass(frozen=True)
class Segmentation:
    """A segmented image, in the grid of the image given.

    Attributes:
        label: class indices, uint8 [*spatial].
        probabilities: class probabilities, float32 [K, *spatial], background first.
        class_names: K names.
        variance: variance over the hypotheses, summed over the classes, float32 [*spatial]; None for one hypothesis.
        entropy: entropy of the mean probabilities in nats, float32 [*spatial]; None for one hypothesis.
    """

    label: np.ndarray
    probabilities: np.ndarray
    class_names: tuple[str, ...]
    variance: np.ndarray | None = None
    entropy: np.ndarray | None = None


class Segmenter:
    """Segments pictures and volumes of any size with a trained model.

    Args:
        network: the model.
        settings: how its images are prepared.
        device: "auto", "cuda", "cuda:N", "mps" or "cpu".
        precision: "fp32", "bf16" or "fp16".
        batch_size: slices at a time.
        memory_limit_gb: gigabytes that reading, scaling and resampling one file may take.
    """

    def __init__(
        self,
        network: SavedNetwork,
        settings: ModelSettings,
        device: str = "auto",
        precision: str = "fp32",
        batch_size: int = 16,
        memory_limit_gb: float = DEFAULT_MEMORY_LIMIT_GB,
    ) -> None:
        self.device = select_device(device)
        self.network = network.to(self.device).eval()
        self.settings = settings
        self.precision = precision
        self.batch_size = batch_size
        self.memory_limit_gb = memory_limit_gb

    def __call__(
        self,
        image: str | os.PathLike[str] | np.ndarray,
        affine: np.ndarray | None = None,
        num_samples: int = 1,
        noise_seed: int | None = None,
    ) -> Segmentation:
        """Segment one image.

        Args:
            image: file (PNG, JPEG, TIFF, NIfTI); picture [H, W] or [H, W, 3], uint8, uint16 or float in [0, 1]; or
                volume [X, Y, Z] in the intensities that the model was trained on.
            affine: voxel-to-world matrix of a volume array, 4 x 4 in mm, RAS+ as nibabel gives it; without meaning for
                files and pictures.
            num_samples: hypotheses; from 2 on the result has variance and entropy.
            noise_seed: of the first hypothesis; the model's own unless given.

        Raises:
            InputError: When the file or the array cannot be segmented.
        """
        is_file = not isinstance(image, np.ndarray)
        prepare = preprocessing(self.settings, from_files=is_file, memory_limit_gb=self.memory_limit_gb)
        source = _as_meta_tensor(image, affine) if isinstance(image, np.ndarray) else os.fspath(image)
        try:
            data = prepare({"image": source})
        except RuntimeError as error:  # MONAI wraps what a transform raises
            raise input_error_in(error) or error from None
        inferer = inferer_for(self.settings, self.batch_size, num_samples, num_samples > 1, self.precision, noise_seed)
        with torch.inference_mode():
            result = inferer(data["image"][None].to(self.device), self.network)
        maps = vars(result) if isinstance(result, HypothesisMaps) else {"probabilities": result}
        data |= {
            name: MetaTensor(convert_to_tensor(array, track_meta=False)[0].cpu().clone())
            for name, array in maps.items()
        }
        data = undone(prepare, list(maps))(data)
        native = {name: np.asarray(data[name]) for name in maps}
        return Segmentation(
            label=native["probabilities"].argmax(axis=0).astype(np.uint8),
            class_names=self.settings.class_names,
            probabilities=native.pop("probabilities"),
            **{name: array[0] for name, array in native.items()},
        )


def load(
    folder: str | os.PathLike[str],
    device: str = "auto",
    precision: str = "fp32",
    batch_size: int = 16,
    memory_limit_gb: float = DEFAULT_MEMORY_LIMIT_GB,
) -> Segmenter:
    """Load a trained model.

    Args:
        folder: with ``config.json`` and ``model.pt``, as training leaves it.
        device: "auto", "cuda", "cuda:N", "mps" or "cpu".
        precision: "fp32", "bf16" or "fp16".
        batch_size: slices at a time.
        memory_limit_gb: gigabytes that reading, scaling and resampling one file may take.

    Raises:
        InputError: When the folder is no complete model.
    """
    path = Path(folder)
    return Segmenter(load_network(path), load_settings(path), device, precision, batch_size, memory_limit_gb)


def _as_meta_tensor(image: np.ndarray, affine: np.ndarray | None) -> MetaTensor:
    """Channel-first MetaTensor of a picture or volume array."""
    if not np.isfinite(image).all():
        raise InputError("The array has values that are NaN or infinite; expected finite numbers. Replace them first.")
    if image.ndim == 3 and affine is not None:
        return MetaTensor(torch.from_numpy(np.ascontiguousarray(image))[None], affine=torch.as_tensor(affine))
    if image.ndim == 2:
        return MetaTensor(torch.from_numpy(np.ascontiguousarray(image))[None])
    if image.ndim == 3 and image.shape[2] == 3:
        return MetaTensor(torch.from_numpy(np.ascontiguousarray(image)).movedim(2, 0))
    raise InputError(
        f"Found an array of shape {image.shape}; expected a picture [H, W] or [H, W, 3], or a volume [X, Y, Z] "
        "together with its affine (numpy.eye(4) when it is in RAS order with 1 mm voxels)."
    )
