"""Volumes, as ITK reads and writes them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from leaf_seg.image_io.affine import check_affine
from leaf_seg.image_io.format import ImageFormat
from leaf_seg.image_io.grid import Grid
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike

if TYPE_CHECKING:
    import numpy as np
    from monai.data import MetaTensor

_READ_BYTES = 8  # of a value at most, as ITK reads it


class ItkVolume(ImageFormat):
    """A format of volumes that one class of ITK reads, and no other, whatever the file is called.

    Results are files of the same format in the same place, maps with float32 values.

    Attributes:
        reader: name of the class.
    """

    reader: ClassVar[str]

    def check_header(self, path: PathLike) -> None:
        """Refuse what is no volume."""
        information = self._information(path)
        found = information.GetNumberOfDimensions()
        if found != 3:
            raise InputError(f"{found} dimensions; expected a volume of three. Save each volume as a file of its own.")
        check_affine(self._affine(information, path))

    def grid(self, path: PathLike) -> Grid:
        """Voxels and affine, in RAS+ and mm."""
        information = self._information(path)
        return Grid(tuple(information.GetDimensions(axis) for axis in range(3)), self._affine(information, path))

    def num_channels(self, path: PathLike) -> int:
        """Values of a voxel."""
        return int(self._information(path).GetNumberOfComponents())

    def memory(self, path: PathLike) -> int:
        """What the voxels take as ITK reads them, all channels, and as floats."""
        return super().memory(path) + _READ_BYTES * self.num_channels(path) * math.prod(self.grid(path).shape)

    def read(self, path: PathLike, is_label: bool) -> MetaTensor:
        """Read the voxels in the order of the file."""
        import itk

        from leaf_seg.image_io.meta_tensor import as_meta_tensor

        self.check_content(path)
        affine = self.grid(path).affine
        information = self._information(path)
        component = information.GetComponentTypeAsString(information.GetComponentType())
        kind = itk.D if component == "long_long" else None  # for which ITK has no image
        chosen = self.chosen_channels(path)
        with last_line():
            if information.GetNumberOfComponents() == 1:
                image: Any = itk.imread(os.fspath(path), pixel_type=kind, imageio=self._reader())
                return as_meta_tensor(itk.array_view_from_image(image).T, path, affine)
            reader = itk.ImageFileReader[itk.VectorImage[itk.F, 3]].New(FileName=os.fspath(path))
            reader.SetImageIO(self._reader())
            reader.Update()
        voxels = itk.array_view_from_image(reader.GetOutput()).transpose(2, 1, 0, 3)  # from [Z, Y, X, C]
        return as_meta_tensor(voxels[..., chosen[0] if len(chosen) == 1 else list(chosen)], path, affine)

    def create(self, array: np.ndarray, path: PathLike, affine: np.ndarray | None) -> None:
        """Write [X, Y, Z], or [X, Y, Z, K] with K values for each voxel, packed."""
        self._write(array, path, affine, {})

    def _write(self, array: np.ndarray, path: PathLike, affine: np.ndarray | None, texts: Mapping[str, str]) -> None:
        """Write a volume, and texts by their keys in its header."""
        import itk
        import numpy as np

        assert affine is not None
        is_vector = array.ndim == 4
        ordered = array.transpose(2, 1, 0, 3) if is_vector else array.T
        image: Any = itk.image_from_array(np.ascontiguousarray(ordered), is_vector=is_vector)
        lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
        spacing = np.linalg.norm(lps[:3, :3], axis=0)
        image.SetOrigin(lps[:3, 3].tolist())
        image.SetSpacing(spacing.tolist())
        image.SetDirection(itk.matrix_from_array(lps[:3, :3] / spacing))
        for key, text in texts.items():
            image[key] = text
        with last_line():
            itk.imwrite(image, os.fspath(path), imageio=self._reader(), compression=True)

    def result_suffix(self, source: PathLike) -> str:
        """The usual one."""
        return self.suffixes[0]

    def write_label(self, label: np.ndarray, source: PathLike, path: PathLike, class_names: Sequence[str] = ()) -> None:
        """Write class indices, with what the format has for the names of the classes."""
        self._write(label, path, self.grid(source).affine, self._naming(class_names))

    def write_map(self, values: np.ndarray, source: PathLike, path: PathLike, maximum: float) -> None:
        """Write values as they are."""
        self.create(values.astype("float32"), path, self.grid(source).affine)

    def _naming(self, class_names: Sequence[str]) -> dict[str, str]:
        """What the header says of the classes; here nothing."""
        return {}

    def _millimetres(self, path: PathLike) -> float:
        """How many a unit of the file's sizes has."""
        return 1.0

    def _reader(self) -> Any:
        import itk

        reader = getattr(itk, self.reader).New()
        reader.GlobalWarningDisplayOff()
        return reader

    def _information(self, path: PathLike) -> Any:
        """ITK's reader, with what it knows of the file from its header."""
        reader = self._reader()
        reader.SetFileName(os.fspath(path))
        with last_line():
            reader.ReadImageInformation()
        return reader

    def _affine(self, information: Any, path: PathLike) -> np.ndarray:
        """The affine in RAS+; ITK's is LPS+."""
        import numpy as np

        affine = np.eye(4)
        for axis in range(3):
            affine[:3, axis] = np.array(information.GetDirection(axis)) * information.GetSpacing(axis)
            affine[axis, 3] = information.GetOrigin(axis)
        scale = self._millimetres(path)
        return np.diag([-scale, -scale, scale, 1.0]) @ affine


@contextmanager
def last_line() -> Iterator[None]:
    """Leave the places in C++ out of ITK's errors."""
    try:
        yield
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ValueError(lines[-1] if lines else "ITK failed") from error
