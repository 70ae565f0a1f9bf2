"""Loads the files of a case."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import ImageReader, MetaTensor, NibabelReader, PILReader
from monai.transforms import LoadImaged
from PIL import Image

from leaf_seg.image_io.files import PICTURE_SUFFIXES, VOLUME_SUFFIXES, is_picture, is_volume
from leaf_seg.runtime.errors import InputError
from leaf_seg.transforms.scale_image import MODE_MAXIMA


class LoadCase(LoadImaged):
    """Load pictures (PNG, JPEG, TIFF) and volumes (NIfTI) as channel-first float32 MetaTensors, values as in the file.

    Pictures become [C, H, W], C = 1 or 3; their transparency is dropped, palettes become colours. Volumes become
    [1, X, Y, Z] in the voxel order of the file. Under the key "label", palette pictures keep their indices. The file's
    path is in ``meta["filename_or_obj"]``, the mode of a picture in ``meta["mode"]``.

    Args:
        keys: keys whose paths are loaded.
        allow_missing_keys: whether a case may lack one of them, as a case without a label does.

    Raises:
        InputError: For a file that is missing, unreadable, of an unsupported kind or shape, or with non-finite values.
    """

    def __init__(self, keys: KeysCollection = ("image", "label"), allow_missing_keys: bool = False) -> None:
        super().__init__(keys, image_only=True, ensure_channel_first=True, allow_missing_keys=allow_missing_keys)

    def __call__(self, data: Mapping[Any, Any], reader: ImageReader | None = None) -> dict[Any, Any]:
        """Load every key of ``data``; ``reader`` replaces the reader that is chosen by suffix."""
        loaded = dict(data)
        for key in self.key_iterator(loaded):
            loaded[key] = self._load(loaded[key], key == "label", reader)
        return loaded

    def _load(self, path: str | os.PathLike[str], is_label: bool, reader: ImageReader | None) -> MetaTensor:
        _check_file(path)
        try:
            if is_volume(path):
                _check_volume_header(path)
            loaded = self._loader(path, reader or _reader(path, is_label))
            image = loaded[0] if isinstance(loaded, tuple) else loaded  # MONAI Label asks loaders for metadata, too
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        except Exception as error:  # a damaged file makes PIL, nibabel and zlib raise many kinds of error
            reason = " ".join(str(error).split())  # on one line
            kind = "picture" if is_picture(path) else "NIfTI volume"
            raise InputError(
                f"{path}: cannot be read ({type(error).__name__}: {reason}); expected a complete {kind}. Copy or "
                "export the file again, or remove the case."
            ) from error
        image.meta["spatial_shape"] = np.array(image.shape[1:])  # PILReader puts the width first
        _check_finite(image, path)
        return image


def _check_file(path: str | os.PathLike[str]) -> None:
    """Raise unless ``path`` is a file of a supported kind."""
    if not (is_picture(path) or is_volume(path)):
        raise InputError(
            f"{path}: the file type {Path(path).suffix or '(no suffix)'!r} is not supported; expected one of "
            f"{', '.join(PICTURE_SUFFIXES + VOLUME_SUFFIXES)}. Convert the file."
        )
    if not Path(path).is_file():
        found = "is a folder" if Path(path).is_dir() else "does not exist"
        raise InputError(f"{path}: {found}; expected a file. Check the path and the dataset's list of cases.")


def _check_volume_header(path: str | os.PathLike[str]) -> None:
    """Raise unless the NIfTI file holds one volume of real numbers; reads its header only."""
    header: Any = nib.load(path).header
    dtype, shape = header.get_data_dtype(), header.get_data_shape()
    if dtype.names is not None or dtype.kind == "c":
        found = "complex numbers" if dtype.names is None else "RGB colours"
        raise InputError(f"the voxels are {found} ({dtype}); expected one real number each. Convert the volume.")
    if len(shape) != 3:
        raise InputError(
            f"a {len(shape)}D NIfTI of shape {tuple(shape)}; expected a 3D volume (X, Y, Z). Split channels or time "
            "points into volumes of their own, and save single slices as PNG."
        )


def _reader(path: str | os.PathLike[str], is_label: bool) -> ImageReader:
    """MONAI's reader for the file: values as stored, rows of pictures first."""
    if is_picture(path):
        return PILReader(converter=partial(_convert_picture, is_label=is_label), reverse_indexing=False)
    return NibabelReader()


def _convert_picture(picture: Image.Image, is_label: bool) -> Image.Image:
    """Decode a picture and bring it to one or three channels."""
    _check_picture(picture)
    picture.load()
    if is_label:
        if picture.mode in ("RGB", "RGBA", "CMYK", "YCbCr"):
            raise InputError(
                f"the label is a colour picture ({picture.mode}); expected class numbers in one channel. Save it as an "
                "8-bit grey or palette PNG."
            )
        return picture.getchannel(0) if picture.mode in ("LA", "PA") else picture
    if picture.mode in MODE_MAXIMA:
        return picture
    return picture.convert("L" if picture.mode in ("1", "LA") else "RGB")


def _check_picture(picture: Image.Image) -> None:
    """Raise for what only TIFF files can hold: several pages, and values of more than 16 bits."""
    pages = getattr(picture, "n_frames", 1)
    if pages != 1:
        raise InputError(f"a picture of {pages} pages; expected one. Save each page as a picture of its own.")
    if picture.format == "TIFF" and picture.mode in ("I", "F"):
        raise InputError("a TIFF of 32 bits per value; expected 8 or 16. Save it with 16 bits, or as a NIfTI volume.")


def _check_finite(image: torch.Tensor, path: str | os.PathLike[str]) -> None:
    """Raise when a value is NaN or infinite."""
    count = int((~torch.isfinite(image)).sum())
    if count:
        raise InputError(
            f"{path}: {count} of {image.numel()} values are NaN or infinite; expected finite numbers. Replace them, "
            "for example by the value of air, or remove the case."
        )
