"""A look at every case before the work begins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial

from monai.utils import convert_to_tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from leaf_seg.data.class_presence import ClassPresence
from leaf_seg.image_io.reading import read_grid
from leaf_seg.image_io.reading_options import DEFAULT_READING, ReadingOptions
from leaf_seg.runtime.distributed import once
from leaf_seg.runtime.errors import InputError


def check_cases(dataset: Dataset, mirror_axes: Sequence[int] = (), class_names: Sequence[str] = ()) -> None:
    """Load every case once, so that an unfit one is found before training and not at the first validation.

    Args:
        dataset: whose transforms load and check a case with an "image".
        mirror_axes: spatial axes along which the images are to be mirrored.
        class_names: background first; those that no case has are warned of.

    One of several processes does it for all.

    Raises:
        InputError: From those transforms, for the first unfit case; when a picture is to be mirrored along axis 2.
    """
    once(partial(_check_cases, dataset, mirror_axes, class_names))


def _check_cases(dataset: Dataset, mirror_axes: Sequence[int], class_names: Sequence[str]) -> None:
    presence = ClassPresence(class_names, "validation", is_needed=False)
    indices = range(len(dataset))  # type: ignore[arg-type]
    for index in tqdm(indices, desc="Checking validation cases", unit="case", leave=False):
        case = dataset[index]
        spatial = case["image"].ndim - 1
        if any(axis >= spatial for axis in mirror_axes):
            raise _no_third_axis(mirror_axes)
        if "label" in case:
            presence.add(convert_to_tensor(case["label"], track_meta=False))
    presence.check()


def check_mirrored(
    images: Iterable[str], mirror_axes: Sequence[int], reading: ReadingOptions = DEFAULT_READING
) -> None:
    """Refuse what would fail with every image: mirroring along axis 2 where all of them are pictures.

    Args:
        images: files, of which only headers are read, and only where there is that axis; those without a readable one
            do not count.
        mirror_axes: spatial axes along which the images are to be mirrored.
        reading: how they are read.

    Raises:
        InputError: When there are pictures, and no volume.
    """
    any_picture = False
    for image in images if 2 in mirror_axes else ():
        with suppress(InputError):
            if read_grid(image, reading).is_volume:
                return
            any_picture = True
    if any_picture:
        raise _no_third_axis(mirror_axes)


def _no_third_axis(mirror_axes: Sequence[int]) -> InputError:
    return InputError(
        f"mirror_axes is {list(mirror_axes)}; the images are pictures, with the axes 0 and 1. Leave 2 out of "
        "--mirror_axes, or take a model that was trained without."
    )
