"""NRRD, 3D Slicer's format of volumes."""

from __future__ import annotations

from collections.abc import Sequence

from leaf_seg.image_io.itk_volume import ItkVolume
from leaf_seg.image_io.nrrd import check_nrrd_data, nrrd_fields
from leaf_seg.image_io.remarks import remark
from leaf_seg.runtime.files import PathLike

_MILLIMETRES = {"m": 1e3, "cm": 10.0, "mm": 1.0, "um": 1e-3, "µm": 1e-3, "microns": 1e-3, "nm": 1e-6}


class Nrrd(ItkVolume):
    """One file, packed by gzip or not, with an axis for each dimension in space."""

    name = "NRRD"
    suffixes = (".nrrd",)
    reader = "NrrdImageIO"

    def matches(self, head: bytes) -> bool:
        """Whether it begins with the mark."""
        return head.startswith(b"NRRD000")

    def check_header(self, path: PathLike) -> None:
        """Also refuse what refers to other files, and what ITK could read in another way."""
        fields = nrrd_fields(path)
        super().check_header(path)
        if "space" not in fields:
            remark("no place", path, "its header names no space, so that left and right are not known; taken as LPS.")

    def check_content(self, path: PathLike) -> None:
        """Unpack packed voxels to their end."""
        check_nrrd_data(path)

    def _naming(self, class_names: Sequence[str]) -> dict[str, str]:
        """The fields by which 3D Slicer names the segments of a segmentation."""
        texts: dict[str, str] = {}
        for value, name in enumerate(class_names[1:], start=1):
            segment = f"Segment{value - 1}_"
            texts |= {
                f"{segment}ID": f"Segment_{value}",
                f"{segment}Name": name,
                f"{segment}LabelValue": str(value),
                f"{segment}Layer": "0",
            }
        return texts

    def _millimetres(self, path: PathLike) -> float:
        units = {unit.strip('"') for unit in nrrd_fields(path).get("spaceunits", "").split()}
        scale = _MILLIMETRES.get(units.pop(), 1.0) if len(units) == 1 else 1.0
        if scale != 1:
            remark("units", path, f"its header has other units than mm; its sizes are taken times {scale:g}, in mm.")
        return scale
