"""What is measured of one case; the image itself is not kept."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Orientationd
from nibabel.orientations import aff2axcodes

from leaf_seg.data.label_coding import INDEX
from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.data.splits import Case, files_of_label
from leaf_seg.dataset_check.fingerprint import thumbnail
from leaf_seg.dataset_check.structures import Structures, measure_structures
from leaf_seg.image_io.digest import file_digest
from leaf_seg.image_io.memory import DEFAULT_MEMORY_LIMIT_GB
from leaf_seg.image_io.meta_tensor import MAXIMUM
from leaf_seg.image_io.reading_options import DEFAULT_READING, ReadingOptions
from leaf_seg.transforms.check_pair import CheckPair
from leaf_seg.transforms.label_values import LabelValues
from leaf_seg.transforms.load_case import LoadCase

MOST_CLASSES = 256  # where nobody has said how many there are
_SAMPLE = 500  # intensities of the structures of a case


@dataclass(frozen=True, eq=False)
class CaseFacts:
    """What is known of a sound case.

    Attributes:
        case: its files.
        split: "training", "validation", "testing"; or "unsplit" where the data set is not split.
        digests: SHA-256 of image and label file.
        channels: 1 (grey) or 3 (RGB, or those that are chosen).
        shape: (H, W), or (X, Y, Z) in RAS.
        spacing: mm along each axis in RAS; empty for a picture.
        orientation: voxel order of the file, as "LPS"; empty for a picture.
        limits: least value, 0.5th and 99.5th percentile, greatest value of the image.
        maximum: greatest value that a picture's file can hold; None for volumes.
        foreground: a sample of the intensities where there is a structure.
        counts: pixels or voxels by class, background included.
        structures: of a sample of slices.
        thumbnail: of :func:`~leaf_seg.dataset_check.fingerprint.thumbnail`.
    """

    case: Case
    split: str
    digests: tuple[str, str]
    channels: int
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    orientation: str
    limits: tuple[float, float, float, float]
    maximum: float | None
    foreground: np.ndarray
    counts: dict[int, int]
    structures: Structures
    thumbnail: np.ndarray

    @property
    def is_volume(self) -> bool:
        """Whether the image is a volume, not a picture."""
        return len(self.shape) == 3

    @property
    def is_empty(self) -> bool:
        """Whether there is no structure."""
        return set(self.counts) <= {0}


Loader = Callable[[Case], dict[str, Any]]


def case_loader(
    num_classes: int | None,
    class_names: Sequence[str] | None = None,
    memory_limit_gb: float | None = DEFAULT_MEMORY_LIMIT_GB,
    label_encoding: str = INDEX,
    label_colors: Any = None,
    reading: ReadingOptions = DEFAULT_READING,
) -> Loader:
    """What loads a case as training does, and raises an InputError unless image and label fit each other.

    Of a case without "label" it loads the image.

    Args:
        num_classes: K, background included; None where it is not known.
        class_names: for messages, background first.
        memory_limit_gb: gigabytes that reading one file may take.
        label_encoding: what label files hold, as of :class:`~leaf_seg.data.ModelSettings`.
        label_colors: the colours of the classes there.
        reading: how files are read that can be read in several ways.
    """
    keys = ("image", "label")
    read = LoadCase(keys, allow_missing_keys=True, memory_limit_gb=memory_limit_gb, reading=reading)
    count = num_classes or MOST_CLASSES
    names = class_names or ["background", *(f"class_{number}" for number in range(1, count))]
    settings = ModelSettings(names, (1, 1), label_encoding=label_encoding, label_colors=label_colors)
    meaning = LabelValues("label", settings)
    check = CheckPair(keys, num_classes=count, class_names=class_names)
    return lambda case: check(meaning(read(case))) if "label" in case else read(case)  # Compose would hide InputErrors


def measure_case(case: Case, split: str, load: Loader, image_size: tuple[int, int], axis: str) -> CaseFacts:
    """Load one case and measure it.

    Args:
        case: dictionary with the paths "image" and "label".
        split: that it belongs to.
        load: of :func:`case_loader`.
        image_size: (H, W) at which the structures are measured.
        axis: slicing direction of volumes.

    Raises:
        InputError: When a file cannot be used, or the two do not fit each other.
    """
    loaded = load(case)
    orientation = ""
    if loaded["image"].ndim == 4:
        orientation = "".join(str(code) for code in aff2axcodes(loaded["image"].affine.numpy()))
        loaded = in_ras(loaded)
    image: MetaTensor = loaded["image"]
    label = torch.as_tensor(loaded["label"]).as_subclass(torch.Tensor).to(torch.uint8)
    values = image.as_tensor()
    counts = torch.bincount(label.flatten(), minlength=1)
    return CaseFacts(
        case=case,
        split=split,
        digests=(file_digest(case["image"]), "".join(map(file_digest, files_of_label(case)))),
        channels=image.shape[0],
        shape=tuple(image.shape[1:]),
        spacing=tuple(float(size) for size in image.pixdim) if image.ndim == 4 else (),
        orientation=orientation,
        limits=_limits(values),
        maximum=image.meta.get(MAXIMUM) if image.ndim == 3 else None,
        foreground=_sample(values.mean(dim=0)[label[0] > 0]),
        counts={value: int(counts[value]) for value in counts.nonzero().flatten().tolist()},
        structures=measure_structures(label, image_size, axis),
        thumbnail=thumbnail(values),
    )


def in_ras(loaded: dict[str, Any]) -> dict[str, Any]:
    """A loaded volume with its axes to the right, to the front and up, and its label, where there is one."""
    turn = Orientationd(("image", "label"), axcodes="RAS", labels=None, allow_missing_keys=True)
    return {str(key): value for key, value in turn(cast(Mapping[Hashable, torch.Tensor], loaded)).items()}


def _limits(values: torch.Tensor) -> tuple[float, float, float, float]:
    flat = values.flatten()
    low, high = np.percentile(flat[:: max(1, len(flat) // 1_000_000)].numpy(), (0.5, 99.5)).tolist()
    return float(flat.min()), low, high, float(flat.max())


def _sample(values: torch.Tensor) -> np.ndarray:
    return values[:: max(1, len(values) // _SAMPLE)][:_SAMPLE].numpy().copy()
