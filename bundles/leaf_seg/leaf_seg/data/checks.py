"""A look at every case before the work begins."""

from __future__ import annotations

from collections.abc import Sequence

from torch.utils.data import Dataset
from tqdm import tqdm

from leaf_seg.runtime.errors import InputError


def check_cases(dataset: Dataset, mirror_axes: Sequence[int] = ()) -> None:
    """Load every case once, so that an unfit one is found before training and not at the first validation.

    Args:
        dataset: whose transforms load and check a case with an "image".
        mirror_axes: spatial axes along which the images are to be mirrored.

    Raises:
        InputError: From those transforms, for the first unfit case; when a picture is to be mirrored along axis 2.
    """
    for index in tqdm(range(len(dataset)), desc="Checking validation cases", unit="case", leave=False):  # type: ignore[arg-type]
        spatial = dataset[index]["image"].ndim - 1
        if any(axis >= spatial for axis in mirror_axes):
            raise InputError(f"mirror_axes is {list(mirror_axes)}; the images are pictures, with the axes 0 and 1.")
