"""Loads the files of a case."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import ImageReader, MetaTensor
from monai.transforms import LoadImaged

from leaf_seg.image_io.memory import DEFAULT_MEMORY_LIMIT_GB, memory_limit_bytes
from leaf_seg.image_io.reading import read_image
from leaf_seg.runtime.files import PathLike


class LoadCase(LoadImaged):
    """Load pictures and volumes as channel-first float32 MetaTensors, values as in the file.

    Which formats there are, and which a file has, :mod:`leaf_seg.image_io.formats` says. Pictures become [C, H, W],
    C = 1 or 3; their transparency is dropped, palettes become colours. Volumes become [1, X, Y, Z] in the voxel order
    of the file. Under the key "label", palette pictures keep their indices. The file's path is in
    ``meta["filename_or_obj"]``.

    A ``LoadImaged``, because MONAI Label looks for one.

    Args:
        keys: keys whose paths are loaded.
        allow_missing_keys: whether a case may lack one of them, as a case without a label does.
        memory_limit_gb: gigabytes that reading and scaling a file may take; None is no limit, for files that have been
            loaded before.

    Raises:
        InputError: For a file that is missing, unreadable, of an unsupported kind or shape, too large, or with
            non-finite values; when the limit is no number above 0.
    """

    def __init__(
        self,
        keys: KeysCollection = ("image", "label"),
        allow_missing_keys: bool = False,
        memory_limit_gb: float | None = DEFAULT_MEMORY_LIMIT_GB,
    ) -> None:
        with _without_talk():
            super().__init__(keys, image_only=True, ensure_channel_first=True, allow_missing_keys=allow_missing_keys)
        memory_limit_bytes(memory_limit_gb)
        self.memory_limit_gb = memory_limit_gb

    def __call__(self, data: Mapping[Any, Any], reader: ImageReader | None = None) -> dict[Any, Any]:
        """Load every key of ``data``; ``reader`` reads the files in place of their format."""
        load = None if reader is None else partial(self._load_with, reader)
        loaded = dict(data)
        for key in self.key_iterator(loaded):
            loaded[key] = read_image(loaded[key], key == "label", load, self.memory_limit_gb)
        return loaded

    def _load_with(self, reader: ImageReader, path: PathLike) -> MetaTensor:
        loaded = self._loader(path, reader)
        image: MetaTensor = loaded[0] if isinstance(loaded, tuple) else loaded  # MONAI Label also wants the metadata
        image.meta["spatial_shape"] = np.array(image.shape[1:])  # PILReader puts the width first
        return image


@contextmanager
def _without_talk() -> Iterator[None]:
    """Keep MONAI from saying, wherever pydicom is installed, that a decoder for GPUs is not; it is not used here."""
    talker = logging.getLogger("monai.data.nvimgcodec_pydicom_plugin")
    before = talker.disabled
    talker.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="NvImgCodecPydicomReader")
            yield
    finally:
        talker.disabled = before
