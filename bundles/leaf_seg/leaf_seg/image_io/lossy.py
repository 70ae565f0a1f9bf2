"""Files whose values were changed to make them small, which says their own header: no place for class numbers."""

from __future__ import annotations

import os
import struct

from leaf_seg.runtime.files import PathLike

_HEAD_BYTES = 2**16
# Values of the tag Compression of TIFF whose codecs change values.
_TIFF_COMPRESSION = 259
_TIFF_LOSSY = {6: "JPEG", 7: "JPEG", 33003: "JPEG 2000", 34892: "JPEG", 50001: "WebP"}
_MOST_TAGS = 1000
# Transfer syntaxes of DICOM, as they stand in its file meta information.
_DICOM_LOSSY = {
    **dict.fromkeys((b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.4.51"), "JPEG"),
    b"1.2.840.10008.1.2.4.81": "JPEG-LS",
    **dict.fromkeys((b"1.2.840.10008.1.2.4.91", b"1.2.840.10008.1.2.4.93"), "JPEG 2000"),
    b"1.2.840.10008.1.2.4.112": "JPEG XL",
}
_COD, _IRREVERSIBLE = b"\xff\x52", 0  # JPEG 2000's marker of the coding style, and its wavelet 9-7


def lossy_coding(path: PathLike) -> str | None:
    """The coding by which a file's values were changed; None where they are kept, and where there is no such file.

    Args:
        path: of a picture or volume, of which the header is read.
    """
    if not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
        if head.startswith(b"\xff\xd8\xff"):
            return "JPEG"
        if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
            return "lossy WebP" if _is_lossy_webp(head) else None
        if head.startswith((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")):
            return "lossy JPEG 2000" if _is_lossy_jpeg2000(head) else None
        if head[128:132] == b"DICM":
            syntax = next((uid for uid in _DICOM_LOSSY if _has_uid(head[132:1024], uid)), None)
            return None if syntax is None else f"{_DICOM_LOSSY[syntax]} in a DICOM file"
        if head.startswith((b"II*\0", b"MM\0*")) and len(head) >= 8:
            file.seek(struct.unpack(_order(head) + "I", head[4:8])[0])
            coding = _TIFF_LOSSY.get(_tiff_compression(file.read(2 + 12 * _MOST_TAGS), _order(head)) or 0)
            return None if coding is None else f"{coding} in a TIFF file"
    return None


def _is_lossy_webp(head: bytes) -> bool:
    """Whether the picture's chunk is VP8 and not VP8L; with more features than pixels other chunks come first."""
    position = 12
    while position + 8 <= len(head):
        kind, size = head[position : position + 4], struct.unpack("<I", head[position + 4 : position + 8])[0]
        if kind in (b"VP8 ", b"VP8L"):
            return kind == b"VP8 "
        if kind == b"ANMF":  # a picture of an animation, with chunks of its own
            position += 8 + 16
            continue
        position += 8 + size + size % 2
    return False


def _is_lossy_jpeg2000(head: bytes) -> bool:
    start = head.find(b"\xff\x4f\xff\x51")  # where the code stream begins
    position = head.find(_COD, max(start, 0))
    return start >= 0 and 0 <= position < len(head) - 13 and head[position + 13] == _IRREVERSIBLE


def _has_uid(head: bytes, uid: bytes) -> bool:
    position = head.find(uid)
    return position >= 0 and not head[position + len(uid) : position + len(uid) + 1].isdigit()


def _order(head: bytes) -> str:
    return "<" if head.startswith(b"II") else ">"


def _tiff_compression(directory: bytes, order: str) -> int | None:
    """The value of that tag in a directory of TIFF; None without it."""
    if len(directory) < 2:
        return None
    (count,) = struct.unpack(order + "H", directory[:2])
    for position in range(2, min(2 + 12 * count, len(directory) - 11), 12):
        tag, _, _, value = struct.unpack(order + "HHIH", directory[position : position + 10])
        if tag == _TIFF_COMPRESSION:
            return int(value)
    return None
