"""Segmentation of one image, as the server offers it to its clients."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from monai.transforms import KeepLargestConnectedComponent
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from monailabel.utils.others.generic import device_list

from leaf_seg import Segmentation
from leaf_seg.image_io import read_grid
from leaf_seg.metrics import describe_structures
from lib import options
from lib.label_files import EXTENSIONS, write_result
from lib.predictions import label_digest
from lib.versions import SERVED, ModelVersions

logger = logging.getLogger(__name__)

DIGEST = "digest"  # of the answer, which the app takes out
_HYPOTHESES = ("1", "3", "5", "10")
_MAX_HYPOTHESES = 100
_MOST_PROBABLE = "most probable"
_THRESHOLDS = (_MOST_PROBABLE, *(f"0.{digit}" for digit in range(1, 10)))


@dataclass(frozen=True)
class SegmentationOptions:
    """What a client can choose.

    Attributes:
        version: of the model.
        device: to compute on.
        hypotheses: number of hypotheses, whose mean is the answer.
        threshold: probability, 0 to 1, from which on a voxel is given to a structure, the most probable one; None lets
            the background compete like a structure.
        largest_component: keep only the largest connected part of each structure.
        extension: of the file that is returned.
    """

    version: str
    device: str
    hypotheses: int
    threshold: float | None
    largest_component: bool
    extension: str


class SegmentationTask(InferTask):
    """Segments volumes and pictures with a version of the model; the answer lies in the grid of the image.

    Beside the label map it returns the volume, confidence, entropy and expected Dice of each structure; of a calibrated
    model also an interval for the volume, and whether somebody should look at the image.

    Args:
        versions: models of the server.
    """

    def __init__(self, versions: ModelVersions) -> None:
        self.versions = versions
        super().__init__(
            InferType.SEGMENTATION,
            labels={name: index for index, name in enumerate(versions.class_names) if index},
            dimension=3,
            description="Segmentation by latent diffusion (LEAF), of volumes and of pictures",
        )

    def is_valid(self) -> bool:
        """Whether there is a model that segments the app's structures."""
        return self.versions.served() is not None

    def config(self) -> dict[str, Any]:
        """Options as 3D Slicer shows them: lists as menus, of which the first entry is the default."""
        return {
            "device": device_list(),
            "version": [SERVED, *self.versions.names()],
            "hypotheses": list(_HYPOTHESES),
            "threshold": list(_THRESHOLDS),
            "largest_component": False,
        }

    def check(self, request: Mapping[str, Any]) -> SegmentationOptions:
        """The options of a request.

        Raises:
            InputError: For values that do not fit.
        """
        options.refuse_unknown(request, self.config())
        version = options.choice(request, "version", [SERVED, *self.versions.names()])
        served = self.versions.served()
        threshold: float | None = None
        if request.get("threshold") not in (None, "", _MOST_PROBABLE, list(_THRESHOLDS)):
            threshold = options.number(request, "threshold", 0.5, 0, 1)
        return SegmentationOptions(
            version=served if version == SERVED and served else version,
            device=options.device(request),
            hypotheses=options.whole_number(request, "hypotheses", 1, 1, _MAX_HYPOTHESES),
            threshold=threshold,
            largest_component=options.flag(request, "largest_component", False),
            extension=options.choice(request, "result_extension", EXTENSIONS),
        )

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Segment ``request["image"]``, a file.

        Returns:
            A new temporary file, and what there is to say of the result.

        Raises:
            InputError: When options or image do not fit.
        """
        started = time.monotonic()
        chosen = self.check(request)
        source = str(request["image"])
        segmenter = self.versions.segmenter(chosen.version, chosen.device)
        result = segmenter(source, num_samples=chosen.hypotheses)
        label = _post_process(result, chosen)
        structures = _structures(label, result, source)
        digest = label_digest(label)
        answer = self._answer(label, result)
        file = write_result(answer, source, chosen.extension, result.class_names)  # the last that can fail
        seconds = round(time.monotonic() - started, 2)
        logger.info("%s segmented %s in %s s", chosen.version, source, seconds)
        return file, {
            "label_names": self.labels,
            "version": chosen.version,
            "device": chosen.device,
            "hypotheses": chosen.hypotheses,
            "structures": structures,
            "look_at": result.look_at,
            "latencies": {"total": seconds},
            DIGEST: digest,
        }

    def _answer(self, label: np.ndarray, result: Segmentation) -> np.ndarray:
        return label


class ConfidenceTask(SegmentationTask):
    """The probability of the class that each voxel is given, as an image: clients take one file for each answer."""

    def __init__(self, versions: ModelVersions) -> None:
        super().__init__(versions)
        self.type = InferType.OTHERS  # 3D Slicer would take the map for labels
        self.description = "Confidence of the segmentation, an image of values from 0 to 1"

    def _answer(self, label: np.ndarray, result: Segmentation) -> np.ndarray:
        return np.take_along_axis(result.probabilities, label[None].astype(np.int64), axis=0)[0]


def _post_process(result: Segmentation, chosen: SegmentationOptions) -> np.ndarray:
    """Label map [*spatial], uint8, by threshold and connected components."""
    label = result.label
    if chosen.threshold is not None:
        foreground = 1 - result.probabilities[0] >= chosen.threshold
        label = np.where(foreground, 1 + result.probabilities[1:].argmax(axis=0), 0).astype(np.uint8)
    if chosen.largest_component:
        keep = KeepLargestConnectedComponent(applied_labels=range(1, len(result.class_names)), is_onehot=False)
        label = keep(torch.from_numpy(label)[None])[0].numpy().astype(np.uint8)
    return label


def _structures(label: np.ndarray, result: Segmentation, source: str) -> dict[str, dict[str, float | None]]:
    """Volume in mL (of pictures the area in pixels), confidence and entropy in nats of each structure.

    Expected Dice and the interval of the size are those of the model's own answer: None where another was made of it.
    """
    affine = read_grid(source).affine
    size, unit = (1.0, "area_px") if affine is None else (_voxel_volume(affine) / 1000, "volume_ml")
    structures = describe_structures(label, result.probabilities, result.class_names, size)
    is_own = np.array_equal(label, result.label)
    found: dict[str, dict[str, float | None]] = {}
    for name, structure in structures.items():
        values = {unit if key == "size" else key: value for key, value in asdict(structure).items()}
        values["expected_dice"] = result.expected_dice[name] if is_own else None
        if result.size_intervals is not None:
            ends = result.size_intervals[name] if is_own else (None, None)
            low, high = (None if end is None else end * size for end in ends)
            values |= {f"{unit}_low": low, f"{unit}_high": high}
        found[name] = values
    return found


def _voxel_volume(affine: np.ndarray) -> float:
    """In mm^3."""
    return float(abs(np.linalg.det(affine[:3, :3])))
