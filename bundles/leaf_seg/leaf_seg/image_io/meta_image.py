"""MetaImage, a format of ITK's own."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from leaf_seg.image_io.itk_volume import ItkVolume
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike

_MOST_HEADER_BYTES = 4096  # what the format is known by
_LOCAL = "LOCAL"
_FIELD = re.compile(rb"^(\w+)[ \t]*=[ \t]*([^\x00-\x1f]*?)[ \t]*\r?\n", re.MULTILINE)
_BYTES = {
    "CHAR": 1,
    "UCHAR": 1,
    "SHORT": 2,
    "USHORT": 2,
    "INT": 4,
    "UINT": 4,
    "FLOAT": 4,
    "DOUBLE": 8,
    "LONG_LONG": 8,
    "ULONG_LONG": 8,
}
_CHUNK_BYTES = 2**20


class MetaImage(ItkVolume):
    """One file (``.mha``), or a header (``.mhd``) with a file of voxels beside it; results are one file."""

    name = "MetaImage"
    suffixes = (".mha", ".mhd")
    reader = "MetaImageIO"

    def matches(self, head: bytes) -> bool:
        """Whether the fields are there that every header has."""
        names = {name for name, _ in _FIELD.findall(head)}
        return {b"NDims", b"DimSize", b"ElementType", b"ElementDataFile"} <= names

    def files(self, path: PathLike) -> list[Path]:
        """The file, and that of its voxels where it is another."""
        voxels, _ = self._voxels(path)
        return list(dict.fromkeys([Path(path), voxels]))

    def check_header(self, path: PathLike) -> None:
        """Also refuse voxels anywhere but in the file, or beside it."""
        self._voxels(path)
        super().check_header(path)

    def check_content(self, path: PathLike) -> None:
        """Refuse voxels that are too few; unpack packed ones, which proves their checksum."""
        fields = _fields(path)
        file, start = self._voxels(path)
        values = 1
        for size in fields["DimSize"].split():
            values *= int(size)
        expected = values * _BYTES[fields["ElementType"].removeprefix("MET_")]
        with open(file, "rb") as stream:
            stream.seek(start)
            if fields.get("CompressedData", "False").lower() != "true":
                found = file.stat().st_size - start
            else:
                inflater, found = zlib.decompressobj(), 0
                while not inflater.eof and (chunk := stream.read(_CHUNK_BYTES)):
                    while chunk and found <= expected:
                        found += len(inflater.decompress(chunk, _CHUNK_BYTES))
                        chunk = inflater.unconsumed_tail
                found = found if inflater.eof else -1
        if found < 0 or found < expected:
            raise InputError(f"its voxels end early; expected {expected} bytes of them. Copy or export the file again.")

    def _voxels(self, path: PathLike) -> tuple[Path, int]:
        """The file with the voxels, and where they begin there."""
        fields = _fields(path)
        name = fields["ElementDataFile"]
        kind = fields["ElementType"]
        if kind.removeprefix("MET_") not in _BYTES:
            raise InputError(f"its ElementType is {kind}; expected one of integers or floats. Convert the volume.")
        if name == _LOCAL:
            return Path(path), int(fields["start"])
        if not re.fullmatch(r"[^/\\%]+", name) or name.startswith(".") or name.split()[0] == "LIST":
            raise InputError(
                f"its ElementDataFile is {name!r}; expected LOCAL, or the name of a file beside it. Save it as .mha."
            )
        if fields.get("HeaderSize", "0") != "0":
            raise InputError(f"its HeaderSize is {fields['HeaderSize']}; expected 0. Save it as .mha.")
        beside = Path(path).parent / name
        if not beside.is_file():
            raise InputError(f"the file of its voxels, {name}, is missing; expected it beside the header. Copy it.")
        return beside, 0


def _fields(path: PathLike) -> dict[str, str]:
    """The fields of the header; under "start" where it ends.

    ITK's rules for lines are wider. Those are refused by which a field could be hidden from what is checked here.
    """
    with open(path, "rb") as file:
        head = file.read(_MOST_HEADER_BYTES)
    fields: dict[str, str] = {}
    start = 0
    while (end := head.find(b"\n", start)) >= 0:
        found = _FIELD.fullmatch(head, start, end + 1)
        name = found[1].decode() if found else ""
        if found is None or name in fields:
            raise InputError("its header has lines that are not NAME = VALUE, or a name twice. Save it again.")
        fields[name] = found[2].decode(errors="replace")
        start = end + 1
        if name == "ElementDataFile":  # the last one
            return fields | {"start": str(start)}
    raise InputError("its header does not end within 4096 bytes; expected ElementDataFile there. Save it again.")
