"""A trained model for arrays and files, without configs or engines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from monai.utils import convert_to_tensor

from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.data.slicing import check_mirror_axes
from leaf_seg.export import ExportedNetwork, is_exported, load_exported
from leaf_seg.image_io.memory import DEFAULT_MEMORY_LIMIT_GB
from leaf_seg.inference.answers import Answers
from leaf_seg.inference.inferers import SegmentationInferer
from leaf_seg.inference.model_inferer import inferer_for
from leaf_seg.inference.network_for import network_for
from leaf_seg.inference.structure_statistics import size_intervals
from leaf_seg.networks import SavedNetwork
from leaf_seg.networks.ensemble import Ensemble
from leaf_seg.runtime.devices import select_device
from leaf_seg.runtime.errors import InputError, input_error_in
from leaf_seg.transforms.most_probable import most_probable
from leaf_seg.transforms.native_label import NativeLabel
from leaf_seg.transforms.preprocessing import preprocessing, undone
from leaf_seg.transforms.temperature import tempered
from leaf_seg.weights import load_answering_network, load_settings
from leaf_seg.weights.answering_network import FurtherMembers
from leaf_seg.weights.mlflow_source import opened_model


@dataclass(frozen=True)
class Segmentation:
    """A segmented image, in the grid of the image given.

    Attributes:
        label: class indices, uint8 [*spatial].
        class_names: K names.
        expected_dice: Dice that each structure's segmentation can expect by the model's own probabilities, 0 to 1, by
            name (:class:`~leaf_seg.metrics.ExpectedDice`). The lowest are the ones to look at.
        look_at: whether somebody should look at the image, by the threshold that a calibration has kept with the model;
            None of a model without.
        size_intervals: number of pixels or voxels that each structure has in 90 % of such cases, from and to, by name
            (:func:`~leaf_seg.metrics.size_interval`), by the same; None of a model without.
        variance: variance over the hypotheses, summed over the classes, float32 [*spatial]; None for one hypothesis.
        entropy: entropy of the mean probabilities in nats, float32 [*spatial]; None for one hypothesis.
    """

    label: np.ndarray
    class_names: tuple[str, ...]
    expected_dice: dict[str, float]
    look_at: bool | None = None
    size_intervals: dict[str, tuple[float, float]] | None = None
    variance: np.ndarray | None = None
    entropy: np.ndarray | None = None
    _probabilities: np.ndarray | None = None

    @property
    def probabilities(self) -> np.ndarray:
        """Class probabilities, float32 [K, *spatial], background first.

        Raises:
            ValueError: When the image was segmented without.
        """
        if self._probabilities is None:
            raise ValueError("the image was segmented with probabilities=False; segment it without that argument.")
        return self._probabilities


class Segmenter:
    """Segments pictures and volumes of any size with a trained model.

    Args:
        network: the model, or what was exported of it.
        settings: how its images are prepared.
        device: "auto", "cuda", "cuda:N", "mps" or "cpu"; of an exported model "auto" or "cpu".
        precision: "fp32", "bf16", "fp16" or "auto"; of an exported model "fp32".
        batch_size: slices at a time.
        memory_limit_gb: gigabytes that reading, scaling and resampling one file may take.

    Attributes:
        num_samples: hypotheses of an image where no number is given: as many as an ensemble has members, else 1.

    Raises:
        InputError: When the device is not there, or device or precision are none of an exported model.
    """

    def __init__(
        self,
        network: SavedNetwork | ExportedNetwork,
        settings: ModelSettings,
        device: str = "auto",
        precision: str = "fp32",
        batch_size: int = 16,
        memory_limit_gb: float = DEFAULT_MEMORY_LIMIT_GB,
    ) -> None:
        if isinstance(network, ExportedNetwork):
            device = _exported_device(device, precision)
        self.num_samples = len(network.members) if isinstance(network, Ensemble) else 1
        self._checked: set[int] = set()  # numbers of hypotheses
        self.device = select_device(device)
        self.network = (
            network.eval() if isinstance(network, ExportedNetwork) else network_for(network, self.device, precision)
        )
        self.settings = settings
        self.precision = precision
        self.batch_size = batch_size
        self.memory_limit_gb = memory_limit_gb

    def check(self, num_samples: int | None = None) -> None:
        """Find out before the first image what would go wrong with every one.

        Raises:
            InputError: When precision, batch size or number of hypotheses do not fit device or network.
        """
        number = self.num_samples if num_samples is None else num_samples
        self._inferer(number).check(self.network, self.device)
        self._checked.add(number)

    def __call__(
        self,
        image: str | os.PathLike[str] | np.ndarray,
        affine: np.ndarray | None = None,
        num_samples: int | None = None,
        noise_seed: int | None = None,
        probabilities: bool = True,
        mirrored: Sequence[int] = (),
    ) -> Segmentation:
        """Segment one image.

        Args:
            image: file (PNG, JPEG, TIFF, NIfTI); picture [H, W] or [H, W, 3], uint8, uint16 or float in [0, 1]; or
                volume [X, Y, Z], or [X, Y, Z, C] of the channels that the model sees, in the intensities that it was
                trained on.
            affine: voxel-to-world matrix of a volume array, 4 x 4 in mm, RAS+ as nibabel gives it; without meaning for
                files and pictures.
            num_samples: hypotheses, from 2 on the result has variance and entropy; :attr:`num_samples` unless given.
            noise_seed: of the first hypothesis; the model's own unless given.
            probabilities: False leaves the result without class probabilities, which for a large image or volume take
                many times the memory of its labels.
            mirrored: spatial axes along which the network sees the image mirrored, as of ``mirror_axes``; the result is
                mirrored back. How far it differs from that of the image as it is tells how sure the model is.

        Raises:
            InputError: When the file or the array cannot be segmented, or has no such axis.
        """
        num_samples = self.num_samples if num_samples is None else num_samples
        if noise_seed is None and num_samples not in self._checked:
            self.check(num_samples)
        is_file = not isinstance(image, np.ndarray)
        prepare = preprocessing(self.settings, from_files=is_file, memory_limit_gb=self.memory_limit_gb)
        source = _as_meta_tensor(image, affine) if isinstance(image, np.ndarray) else os.fspath(image)
        try:
            data = prepare({"image": source})
        except RuntimeError as error:  # MONAI wraps what a transform raises
            raise input_error_in(error) or error from None
        inferer = self._inferer(num_samples, noise_seed, probabilities)
        dimensions = _dimensions(mirrored, data["image"])
        with torch.no_grad():
            answers = inferer(_flipped(data["image"], dimensions)[None].to(self.device), self.network)
        assert isinstance(answers, Answers)
        expected_dice = answers.expected_dice[0].tolist()
        maps = {"probabilities": answers.pred, "variance": answers.variance, "entropy": answers.entropy}
        del answers
        for name in list(maps):
            if (values := maps.pop(name)) is not None:
                native = convert_to_tensor(values, track_meta=False)[0].cpu()
                data[name] = MetaTensor(_flipped(native, dimensions))
            native = values = None  # before the next one is made
        return self._in_native_grid(data, prepare, probabilities, expected_dice)

    def _inferer(
        self, num_samples: int, noise_seed: int | None = None, probabilities: bool = True
    ) -> SegmentationInferer:
        return inferer_for(
            self.settings,
            self.batch_size,
            num_samples,
            num_samples > 1,
            self.precision,
            noise_seed,
            probabilities,
            expected_dice=True,
            resizes=getattr(self.network, "resizes", False),
        )

    def _in_native_grid(
        self, data: dict[Any, Any], prepare: Compose, probabilities: bool, expected_dice: list[float]
    ) -> Segmentation:
        """The result, from maps of the prepared image, or labels of it under the name of probabilities."""
        names = [name for name in ("probabilities", "variance", "entropy") if name in data]
        if not probabilities:
            data = NativeLabel(undone(prepare, ["probabilities"]), "probabilities")(data)
        for name in names[0 if probabilities else 1 :]:
            data = undone(prepare, [name])(data)
        native = {name: convert_to_tensor(data[name], track_meta=False) for name in names}
        main = native.pop("probabilities")
        label = (most_probable(main) if probabilities else main[0]).numpy()
        confidence = self.settings.confidence
        return Segmentation(
            label=label,
            class_names=self.settings.class_names,
            look_at=None if confidence is None else confidence.is_low(expected_dice),
            size_intervals=size_intervals(label, self.settings.class_names, confidence),
            expected_dice=dict(zip(self.settings.class_names[1:], expected_dice, strict=True)),
            _probabilities=tempered(main, self.settings.temperature).numpy() if probabilities else None,
            **{name: array[0].numpy() for name, array in native.items()},
        )


def load(
    model: str | os.PathLike[str],
    device: str = "auto",
    precision: str = "fp32",
    batch_size: int = 16,
    memory_limit_gb: float = DEFAULT_MEMORY_LIMIT_GB,
    mc_dropout: bool = False,
    ensemble: FurtherMembers | None = None,
) -> Segmenter:
    """Load a trained model.

    Args:
        model: folder with ``config.json`` and ``model.pt``, as training leaves it; a file that was exported; or a model
            in MLflow, as ``models:/NAME@ALIAS``, in the store that MLFLOW_TRACKING_URI names.
        device: "auto", "cuda", "cuda:N", "mps" or "cpu"; of an exported file "auto" or "cpu".
        precision: "fp32", "bf16", "fp16" or "auto"; of an exported file "fp32".
        batch_size: slices at a time.
        memory_limit_gb: gigabytes that reading, scaling and resampling one file may take.
        mc_dropout: draw hypotheses by the dropout that the model was trained with.
        ensemble: folders of further members beside the model, or patterns such as ``runs/wbc_*``.

    Raises:
        InputError: When the folder is no complete model, the file none that was exported, or MLflow has no such model;
            when the model has no dropout, or members do not fit together.
    """
    network: SavedNetwork | ExportedNetwork
    with opened_model(model) as path:
        if not is_exported(path):
            network = load_answering_network(path, mc_dropout, ensemble)
            settings = load_settings(path, mc_dropout=mc_dropout, ensemble=ensemble)
        elif mc_dropout or ensemble is not None:
            raise InputError(
                f"{path} is an exported file, which has one answer to an image; leave mc_dropout and ensemble out, or "
                "segment with the folder of the model."
            )
        else:
            network, settings = load_exported(path)
    return Segmenter(network, settings, device, precision, batch_size, memory_limit_gb)


def _exported_device(device: str, precision: str) -> str:
    """The device of an exported model."""
    if device not in ("auto", "cpu") or precision != "fp32":
        raise InputError(
            f"The device is {device!r} and the precision {precision!r}; an exported file runs on the CPU in fp32: "
            "leave them out, or segment with the folder of the model."
        )
    return "cpu"


def _dimensions(mirrored: Sequence[int], image: torch.Tensor) -> list[int]:
    """Dimensions of an image [C, *spatial] that its spatial axes are."""
    axes = check_mirror_axes(mirrored, "mirrored")
    if any(axis >= image.ndim - 1 for axis in axes):
        raise InputError(f"mirrored is {list(axes)}; a picture has the axes 0 and 1.")
    return [1 + axis for axis in axes]


def _flipped(image: torch.Tensor, dimensions: list[int]) -> torch.Tensor:
    return image.flip(dimensions) if dimensions else image  # flip copies, in any case


def _as_meta_tensor(image: np.ndarray, affine: np.ndarray | None) -> MetaTensor:
    """Channel-first MetaTensor of a picture or volume array."""
    if not np.isfinite(image).all():
        raise InputError("The array has values that are NaN or infinite; expected finite numbers. Replace them first.")
    if image.ndim == 3 and affine is not None:
        return MetaTensor(torch.from_numpy(np.ascontiguousarray(image))[None], affine=torch.as_tensor(affine))
    if image.ndim == 4 and affine is not None:
        volume = torch.from_numpy(np.ascontiguousarray(image)).movedim(3, 0)
        return MetaTensor(volume, affine=torch.as_tensor(affine))
    if image.ndim == 2:
        return MetaTensor(torch.from_numpy(np.ascontiguousarray(image))[None])
    if image.ndim == 3 and image.shape[2] == 3:
        return MetaTensor(torch.from_numpy(np.ascontiguousarray(image)).movedim(2, 0))
    raise InputError(
        f"Found an array of shape {image.shape}; expected a picture [H, W] or [H, W, 3], or a volume [X, Y, Z] "
        "or [X, Y, Z, C] together with its affine (numpy.eye(4) when it is in RAS order with 1 mm voxels)."
    )
