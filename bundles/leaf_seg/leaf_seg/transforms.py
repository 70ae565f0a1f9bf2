"""MONAI transforms that load, check and scale images and labels."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import ImageReader, MetaTensor, NibabelReader, PILReader
from monai.transforms import LoadImaged, MapTransform
from monai.transforms.utils_pytorch_numpy_unification import percentile
from PIL import Image

from leaf_seg.data.files import PICTURE_SUFFIXES, VOLUME_SUFFIXES, is_picture, is_volume
from leaf_seg.errors import InputError

# Configs hand pictures and volumes alike to MONAI's Orientationd, which leaves a picture as it is, but not silently.
warnings.filterwarnings("ignore", message="axcodes .* length is smaller than number of input spatial dimensions")

# Greatest value that a pixel of a PIL mode can have. PNG files of 16 bits are read as one of the last four.
_MODE_MAXIMA = {"L": 255, "RGB": 255, "I": 65535, "I;16": 65535, "I;16L": 65535, "I;16B": 65535}
_DTYPE_MAXIMA = {torch.uint8: 255, torch.uint16: 65535}

_AFFINE_TOLERANCE = 1e-3  # mm: headers written by different programs differ by rounding
_PERCENTILES = (0.5, 99.5)


class LoadCased(LoadImaged):
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


class CheckPaird(MapTransform):
    """Check that an image and its label belong together and that the label holds classes only; changes nothing.

    Args:
        keys: the image's key and the label's.
        num_classes: K, background included; labels are 0 .. K - 1.
        class_names: names of the classes for messages, background first.

    Raises:
        InputError: When spatial shapes differ, when affines of volumes differ by more than 0.001, or when label values
            are not whole or not in 0 .. K - 1.
    """

    def __init__(
        self,
        keys: KeysCollection = ("image", "label"),
        *,
        num_classes: int,
        class_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__(keys)
        if len(self.keys) != 2:
            raise ValueError(f"CheckPaird takes two keys, the image's and the label's, not {self.keys}.")
        self.num_classes = num_classes
        self.class_names = class_names

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """Check the MetaTensors image [C, *spatial] and label [1, *spatial] of ``data``."""
        image, label = (data[key] for key in self.keys)
        pair = f"Image {_file_name(image)} and label {_file_name(label)}"
        if image.shape[1:] != label.shape[1:]:
            raise InputError(
                f"{pair}: sizes {_size(image)} and {_size(label)}; expected the same size. Check that the two belong "
                "together, and resample the label onto the image with nearest neighbours."
            )
        if image.ndim == 4:
            _check_affines(image, label, pair)
        self._check_values(label, pair)
        return dict(data)

    def _check_values(self, label: torch.Tensor, pair: str) -> None:
        """Raise unless every value of the label is the number of a class."""
        if not ((label >= 0) & (label < self.num_classes) & (label == label.round())).all():
            values = torch.unique(label).tolist()
            raise InputError(
                f"{pair}: the label holds the values {_listed(values)}; expected {self._expected_values()}. "
                f"{_label_remedy(values)}"
            )

    def _expected_values(self) -> str:
        """The classes by number, with their names where known."""
        if self.class_names is None:
            return f"whole numbers 0 to {self.num_classes - 1} ({self.num_classes} classes with the background)"
        return ", ".join(f"{number} ({name})" for number, name in enumerate(self.class_names))


class ScaleImaged(MapTransform):
    """Scale images to float32 in [0, 1].

    With a window, linearly from its lower end to its upper end. Without one, pictures by the greatest value that their
    file can hold (255, or 65535 for 16 bits), so that pictures stay comparable; volumes from the 0.5th to the 99.5th
    percentile of the volume, as their units differ from scanner to scanner. What lies outside is clipped; a constant
    volume becomes 0.

    Args:
        keys: keys of the images, MetaTensors [C, H, W] (pictures) or [C, X, Y, Z] (volumes).
        window: (lower, upper) in the file's units, Hounsfield units for CT; None as said above.
        allow_missing_keys: whether a case may lack one of the keys.

    Raises:
        InputError: For a window that is not ascending, and for a picture in memory whose float values leave [0, 1].
    """

    def __init__(
        self,
        keys: KeysCollection = ("image",),
        window: Sequence[float] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if window is not None and not (len(window) == 2 and window[0] < window[1]):
            raise InputError(f"The intensity window is {window}; expected [lower, upper] with lower < upper, or null.")
        self.window = window

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """Scale the images of ``data``."""
        scaled = dict(data)
        for key in self.key_iterator(scaled):
            low, high = self._limits(scaled[key])
            image = scaled[key].to(torch.float32)
            scaled[key] = ((image - low) / (high - low)).clamp(0, 1)
        return scaled

    def _limits(self, image: torch.Tensor) -> tuple[float, float]:
        """Values of ``image`` that become 0 and 1."""
        if self.window is not None:
            return self.window[0], self.window[1]
        return (0.0, _picture_maximum(image)) if image.ndim == 3 else _volume_limits(image)


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
    if picture.mode in _MODE_MAXIMA:
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


def _check_affines(image: MetaTensor, label: MetaTensor, pair: str) -> None:
    """Raise when two volumes lie differently in space."""
    difference = float((torch.as_tensor(image.affine) - torch.as_tensor(label.affine)).abs().max())
    if difference > _AFFINE_TOLERANCE:
        raise InputError(
            f"{pair}: affine matrices that differ by up to {difference:.4g}; expected the same within "
            f"{_AFFINE_TOLERANCE}. Resample the label onto the image, or copy the image's header to the label if only "
            "the header is wrong."
        )


def _label_remedy(values: Sequence[float]) -> str:
    """What to do about label values, in ascending order, that are not classes."""
    if any(value != round(value) for value in values):
        return "Fractions come from resampling with interpolation: use nearest neighbours."
    if values[0] < 0:
        return "Negative values are often an 'ignore' mark: set them to 0, the background, or to a class."
    if len(values) == 2 and values[0] == 0:
        return f"A mask stored as 0 and {values[1]:.0f}: store it as 0 and 1 (or set --num_classes if it is a class)."
    if len(values) <= values[-1] / 2:
        return "Renumber the classes 0, 1, 2, ...; if the label was saved as JPEG, save it as PNG, JPEG changes values."
    return f"Set --num_classes {int(values[-1]) + 1}, or correct the label."


def _picture_maximum(image: torch.Tensor) -> float:
    """Greatest value that the picture's file, or its dtype in memory, can hold."""
    mode = image.meta.get("mode") if isinstance(image, MetaTensor) else None
    if mode in _MODE_MAXIMA:
        return _MODE_MAXIMA[mode]
    if image.dtype in _DTYPE_MAXIMA:
        return _DTYPE_MAXIMA[image.dtype]
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > 1:
        raise InputError(
            f"A picture in memory has {image.dtype} values from {low:.4g} to {high:.4g}; expected 0 to 1, or uint8 or "
            "uint16 values. Scale it, or give an intensity window."
        )
    return 1.0


def _volume_limits(image: torch.Tensor) -> tuple[float, float]:
    """Robust minimum and maximum of a volume; never equal."""
    values = torch.as_tensor(image).float()
    low, high = (float(percentile(values, q)) for q in _PERCENTILES)
    if low == high:  # a few voxels in a constant background
        low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else (low, low + 1.0)


def _file_name(image: torch.Tensor) -> str:
    """Path of the file that the image was read from."""
    return str(image.meta.get("filename_or_obj", "in memory")) if isinstance(image, MetaTensor) else "in memory"


def _size(image: torch.Tensor) -> str:
    """Spatial size as text: ``120 x 118``."""
    return " x ".join(map(str, image.shape[1:]))


def _listed(values: Sequence[float], limit: int = 8) -> str:
    """The first values as text."""
    text = ", ".join(f"{value:g}" for value in values[:limit])
    return f"{text}, ... ({len(values)} values)" if len(values) > limit else text
