"""Loads the files of a case."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import ImageReader, MetaTensor
from monai.transforms import LoadImaged

from leaf_seg.image_io.lossy import lossy_coding
from leaf_seg.image_io.memory import DEFAULT_MEMORY_LIMIT_GB, memory_limit_bytes
from leaf_seg.image_io.reading import read_image
from leaf_seg.image_io.reading_options import DEFAULT_READING, ReadingOptions
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike
from leaf_seg.runtime.text import printable
from leaf_seg.transforms.same_grid import distance, tolerance

_Load = Callable[[PathLike], MetaTensor]


class LoadCase(LoadImaged):
    """Load pictures and volumes as channel-first float32 MetaTensors, values as in the file.

    Which formats there are, and which a file has, :mod:`leaf_seg.image_io.formats` says. Pictures become [C, H, W],
    C = 1 or 3; their transparency is dropped, palettes become colours. Volumes become [C, X, Y, Z] in the voxel order
    of the file, with C = 1 unless channels are chosen. Under the key "label", palette pictures keep their indices,
    volumes have all channels of their file, and a list of files becomes the channels of one label; files whose coding
    has changed values are refused there. The file's path, of several the first one's, is in
    ``meta["filename_or_obj"]``.

    A ``LoadImaged``, because MONAI Label looks for one.

    Args:
        keys: keys whose paths are loaded.
        allow_missing_keys: whether a case may lack one of them, as a case without a label does.
        memory_limit_gb: gigabytes that reading and scaling a file may take; None is no limit, for files that have been
            loaded before.
        reading: how files are read that can be read in several ways.

    Raises:
        InputError: For a file that is missing, unreadable, of an unsupported kind or shape, too large, or with
            non-finite values; when the limit is no number above 0.
    """

    def __init__(
        self,
        keys: KeysCollection = ("image", "label"),
        allow_missing_keys: bool = False,
        memory_limit_gb: float | None = DEFAULT_MEMORY_LIMIT_GB,
        reading: ReadingOptions = DEFAULT_READING,
    ) -> None:
        with _without_talk():
            super().__init__(keys, image_only=True, ensure_channel_first=True, allow_missing_keys=allow_missing_keys)
        memory_limit_bytes(memory_limit_gb)
        self.memory_limit_gb = memory_limit_gb
        self.reading = reading

    def __call__(self, data: Mapping[Any, Any], reader: ImageReader | None = None) -> dict[Any, Any]:
        """Load every key of ``data``; ``reader`` reads the files in place of their format."""
        load = None if reader is None else partial(self._load_with, reader)
        loaded = dict(data)
        for key in self.key_iterator(loaded):
            loaded[key] = self._label(loaded[key], load) if key == "label" else self._image(loaded[key], load)
        return loaded

    def _image(self, path: PathLike, load: _Load | None, is_label: bool = False) -> MetaTensor:
        return read_image(path, is_label, load, self.memory_limit_gb, self.reading)

    def _label(self, paths: PathLike | Sequence[PathLike], load: _Load | None) -> MetaTensor:
        """A label of one file, or of one for each class."""
        is_list = isinstance(paths, (list, tuple))
        files = cast(Sequence[PathLike], paths) if is_list else [cast(PathLike, paths)]
        for file in files:
            _check_lossless(file)
        parts = [self._image(file, load, is_label=True) for file in files]
        return _joined(parts) if is_list else parts[0]

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


def _check_lossless(file: PathLike) -> None:
    """Refuse a label whose file says that its values were changed."""
    coding = lossy_coding(file)
    if coding is not None:
        raise InputError(
            f"{printable(file)}: the label is saved as {coding}, which changes values, so that its classes cannot be "
            "told; expected a format that keeps them. Save the original label as PNG. If there is only this file, and "
            "black and white: make a PNG of 0 and 255 of it by a threshold at half, and look at it."
        )


def _joined(parts: Sequence[MetaTensor]) -> MetaTensor:
    """The label whose channels are the files of its classes."""
    first = parts[0]
    for part in parts:
        if part.shape != first.shape or (part.ndim == 4 and distance(part, first) > tolerance(first)):
            names = " and ".join(printable(one.meta["filename_or_obj"]) for one in (first, part))
            raise InputError(f"{names} are of one label and differ in size or affine; expected the same. Correct them.")
        if len(part) != 1:
            name = printable(part.meta["filename_or_obj"])
            raise InputError(f"{name}: the mask of one class has {len(part)} channels; expected one. Save it in grey.")
    return MetaTensor(torch.cat([part.as_tensor() for part in parts]), meta=first.meta)
