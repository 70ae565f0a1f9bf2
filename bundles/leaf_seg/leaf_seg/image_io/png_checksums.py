"""Checksums of PNG files, which Pillow leaves out where the pixels are."""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike

_SIGNATURE_BYTES = 8
_PIECE = 1 << 18  # bytes that are read, and inflated, at a time
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the colour type
_WHOLE = ((0, 0, 1, 1),)
# Of the seven passes of an interlaced picture: first column and row, and steps.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def check_png(path: PathLike) -> None:
    """Go through all chunks up to the end mark, and through the compressed pixels.

    Args:
        path: a PNG file whose header Pillow has read.

    Raises:
        InputError: When a checksum is wrong, the file ends early, or has more or fewer pixels than its header says.
        zlib.error: When the pixels cannot be inflated.
    """
    with open(path, "rb") as file:
        file.seek(_SIGNATURE_BYTES)
        pixels = _Pixels()
        expected, name = 0, b""
        while name != b"IEND":
            length, name = struct.unpack(">I4s", _read(file, 8))
            checksum = zlib.crc32(name)
            while length:
                piece = _read(file, min(length, _PIECE))
                length -= len(piece)
                checksum = zlib.crc32(piece, checksum)
                if name == b"IHDR":
                    expected = _size(piece)
                elif name == b"IDAT":
                    pixels.take(piece, expected)
            if struct.unpack(">I", _read(file, 4))[0] != checksum:
                raise InputError(_damaged(f"the checksum of its part {name!r} is wrong"))
    if pixels.size != expected or not pixels.inflater.eof:
        raise InputError(_damaged(f"its pixels take {pixels.size} bytes, or more, not {expected} as its header says"))


class _Pixels:
    """Counts the inflated bytes, and lets zlib check their checksum."""

    def __init__(self) -> None:
        self.inflater, self.size = zlib.decompressobj(), 0

    def take(self, piece: bytes, expected: int) -> None:
        """Inflate a piece; of more than is expected only so much that it shows."""
        while piece and not self.inflater.eof and self.size <= expected:
            self.size += len(self.inflater.decompress(piece, _PIECE))
            piece = self.inflater.unconsumed_tail


def _size(header: bytes) -> int:
    """Bytes of all rows, each with the number of its filter."""
    width, height, bits, colour, _, _, interlace = struct.unpack(">IIBBBBB", header)
    size = 0
    for column, row, step_x, step_y in _ADAM7 if interlace else _WHOLE:
        columns, rows = (
            max(0, -(-(n - first) // step)) for n, first, step in ((width, column, step_x), (height, row, step_y))
        )
        if columns:
            size += rows * (1 + (columns * bits * _CHANNELS[colour] + 7) // 8)
    return size


def _read(file: BinaryIO, length: int) -> bytes:
    data = file.read(length)
    if len(data) < length:
        raise InputError(_damaged("it ends before its end mark"))
    return data


def _damaged(what: str) -> str:
    return f"cannot be read ({what}); expected a complete PNG file. Copy or export the file again, or remove the case."
