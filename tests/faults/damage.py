"""Damaged and hostile variants of a file, the same in every run.

``for damage in damages(whole): damage.make(path)``
"""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

Make = Callable[[Path], None]

REFUSED, SOUND, EITHER = "refused", "sound", "either"

GZIP = b"\x1f\x8b"
PNG = b"\x89PNG\r\n\x1a\n"

# Offsets in a NIfTI-1 header, and how the field there is packed.
_NIFTI_FIELDS = {
    "sizeof_hdr": (0, "<i"),
    "dims": (40, "<h"),
    "x": (42, "<h"),
    "y": (44, "<h"),
    "z": (46, "<h"),
    "t": (48, "<h"),
    "datatype": (70, "<h"),
    "bitpix": (72, "<h"),
    "qfac": (76, "<f"),
    "pixdim_x": (80, "<f"),
    "pixdim_z": (88, "<f"),
    "vox_offset": (108, "<f"),
    "scl_slope": (112, "<f"),
    "scl_inter": (116, "<f"),
    "qform_code": (252, "<h"),
    "sform_code": (254, "<h"),
    "quatern_b": (256, "<f"),
    "srow_x": (280, "<f"),
    "srow_y": (300, "<f"),
    "srow_z": (320, "<f"),
    "extension": (348, "<i"),
}
_WHOLE_VALUES = (0, -1, 1, 2, 9, 127, -32768, 32767)
_REAL_VALUES = (0.0, -1.0, float("nan"), float("inf"), 1e-38, 3e38)


@dataclass(frozen=True)
class Damage:
    """A variant of a whole file.

    Attributes:
        name: says what was done.
        make: puts it at a path, under which there is nothing yet.
        expected: what comes of it: :data:`REFUSED`; :data:`SOUND`, the same as of the whole file; or :data:`EITHER`, a
            refusal or an image, where a format cannot show the damage or leaves it to its readers.
    """

    name: str
    make: Make
    expected: str


def damages(whole: Path) -> Iterator[Damage]:
    """Every variant of a whole PNG, JPEG, TIFF or NIfTI file, those for any kind of file first."""
    content = whole.read_bytes()
    detects = content.startswith((PNG, GZIP))
    yield from _of_bytes(content, detects)
    yield from _of_other_kind(content)
    yield from _no_file(whole)
    if content.startswith(PNG):
        yield from _of_png(content)
    elif content.startswith(b"\xff\xd8"):
        yield from _of_jpeg(content)
    elif content.startswith((b"II", b"MM")):
        yield from _of_tiff(content)
    elif content.startswith(GZIP):
        yield from _of_gzip(content)
    else:
        yield from _of_nifti(content)


def _of(name: str, content: bytes, expected: str = REFUSED) -> Damage:
    return Damage(name, lambda path: _write(path, content), expected)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _either(may_pass: bool) -> str:
    return EITHER if may_pass else REFUSED


def _of_bytes(content: bytes, detects: bool) -> Iterator[Damage]:
    """Truncations, flips and blocks of zeros; where formats have checksums flips of what these cover must be seen."""
    size = len(content)
    yield _of("empty", b"")
    for count in (1, 10, size // 4, size // 2, 3 * size // 4, size - 9, size - 1):
        # Nothing of the picture is in the last bytes of a PNG, and perhaps of a JPEG or TIFF.
        lost_nothing = content.startswith(PNG) and count >= size - len(chunk(b"IEND", b""))
        may_pass = lost_nothing or (not detects and count >= 3 * size // 4)
        yield _of(f"truncated to {count}", content[:count], _either(may_pass))
    chance = random.Random(0)
    for position in sorted(chance.sample(range(size), 10)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << chance.randrange(8)
        yield _of(f"bit flipped at {position}", bytes(flipped), _either(not detects))
    for start in (0, size // 3, 2 * size // 3):
        zeroed = content[:start] + bytes(min(64, size - start)) + content[start + 64 :]
        yield _of(f"zeros at {start}", zeroed, _either(not detects and start > 0))
    yield _of("followed by more", content + b"more" * 100, EITHER)
    yield _of("twice", content * 2, EITHER)


def _of_other_kind(content: bytes) -> Iterator[Damage]:
    """Other formats under this suffix, and content of none."""
    picture = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    for form in ("GIF", "WEBP", "TGA", "BMP", "PPM", "EPS", "PDF", "ICO", "PCX", "SGI"):
        stream = io.BytesIO()
        picture.save(stream, form)
        yield _of(f"a {form}", stream.getvalue(), _either(form in ("WEBP", "BMP")))
    yield _of("random", random.Random(1).randbytes(2000))
    yield _of("text", b"patient;label\n1;2\n")
    yield _of("packed", gzip.compress(content, mtime=0), SOUND if content[344:347] == b"n+1" else REFUSED)
    yield _of("zip", b"PK\x03\x04" + bytes(100))


def _no_file(whole: Path) -> Iterator[Damage]:
    """What is at a path and no file."""
    yield Damage("nothing", lambda path: None, REFUSED)
    yield Damage("a folder", Path.mkdir, REFUSED)
    yield Damage("a pipe", os.mkfifo, REFUSED)
    yield Damage("a circle of links", lambda path: path.symlink_to(path), REFUSED)
    yield Damage("a link to nowhere", lambda path: path.symlink_to(path.with_name("nowhere")), REFUSED)
    yield Damage("a device", lambda path: path.symlink_to("/dev/zero"), REFUSED)
    yield Damage("a sound link", lambda path: path.symlink_to(whole), SOUND)


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of PNG with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int, bits: int = 8, colour: int = 0, interlace: int = 0) -> bytes:
    """Signature and first chunk of a PNG."""
    return PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace))


def _of_png(content: bytes) -> Iterator[Damage]:
    rest = content[33:]  # after signature and IHDR
    for width, height in ((0, 5), (5, 0), (2**31 - 1, 2**31 - 1), (60000, 60000), (3, 3)):
        # Fewer rows than there are data for make a sound picture of Pillow's.
        yield _of(f"PNG of {width} x {height}", png_header(width, height) + rest, _either(width == 3))
    for bits, colour in ((3, 0), (8, 9), (16, 3), (1, 2)):
        yield _of(f"PNG of {bits} bits, colour {colour}", png_header(8, 8, bits, colour) + rest)
    for kind in (b"zTXt", b"iCCP"):
        bomb = chunk(kind, b"a\0\0" + zlib.compress(bytes(50_000_000), 9))
        yield _of(f"PNG with a bomb in {kind.decode()}", content[:33] + bomb + rest)
    yield _of("PNG of two frames", content[:33] + chunk(b"acTL", struct.pack(">II", 2, 0)) + rest)
    yield _of("PNG with a chunk longer than the file", content[:33] + struct.pack(">I", 2**31 - 1) + b"tEXt" + rest)
    yield _of("PNG with wrong checksum", content[:-20] + bytes([content[-20] ^ 255]) + content[-19:])


def _of_jpeg(content: bytes) -> Iterator[Damage]:
    frame = content.index(b"\xff\xc0") + 5
    for height, width in ((0, 5), (5, 0), (65500, 65500), (65500, 1)):
        size = struct.pack(">HH", height, width)
        # A narrow picture of which rows are missing is grey there for some decoders, refused by others.
        yield _of(f"JPEG of {height} x {width}", content[:frame] + size + content[frame + 4 :], _either(width == 1))
    yield _of("JPEG of 12 bits", content[: frame - 1] + b"\x0c" + content[frame:])
    yield _of("JPEG of 9 components", content[: frame + 4] + b"\x09" + content[frame + 5 :])
    bomb = tiff_bomb(entries=4000, size=10_000_000)
    parts = [b"\xff\xe1" + struct.pack(">H", len(part) + 8) + b"Exif\0\0" + part for part in _parts(bomb, 60_000)]
    yield _of("JPEG with Exif entries that share their bytes", content[:2] + b"".join(parts) + content[2:], SOUND)
    yield _of("JPEG without tables", content[:2] + content[content.index(b"\xff\xc0") :])


def _parts(content: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def tiff_bomb(entries: int = 60000, size: int = 100_000) -> bytes:
    """A TIFF of one directory whose entries all point to the same bytes."""
    values = 8 + 2 + 12 * entries + 4
    directory = b"".join(struct.pack("<HHII", 1 + tag, 7, size, values) for tag in range(entries))
    return b"II*\0" + struct.pack("<IH", 8, entries) + directory + bytes(4 + size)


def _of_tiff(content: bytes) -> Iterator[Damage]:
    """Hostile values of every entry of a little-endian TIFF's directory."""
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    for entry in range(count):
        offset = start + 2 + 12 * entry
        tag, kind = struct.unpack_from("<HH", content, offset)
        for value in (0, 2**32 - 1):
            changed = bytearray(content)
            struct.pack_into("<I", changed, offset + 8, value)
            yield _of(f"TIFF with {tag} = {value}", bytes(changed), EITHER)
        changed = bytearray(content)
        struct.pack_into("<HHI", changed, offset, tag, kind, 2**31)
        yield _of(f"TIFF with 2**31 times {tag}", bytes(changed), EITHER)
    yield _of("TIFF whose entries share their bytes", tiff_bomb())
    yield _of("TIFF of a far directory", content[:4] + struct.pack("<I", 2**31) + content[8:])
    changed = bytearray(content)
    struct.pack_into("<I", changed, start + 2 + 12 * count, start)
    yield _of("TIFF whose pages go in a circle", bytes(changed), EITHER)


def nifti_with(content: bytes, **fields: float) -> bytes:
    """An unpacked little-endian NIfTI-1 with other values in its header."""
    changed = bytearray(content)
    for name, value in fields.items():
        offset, form = _NIFTI_FIELDS[name]
        struct.pack_into(form, changed, offset, value)
    return bytes(changed)


def _of_nifti(content: bytes) -> Iterator[Damage]:
    for name, (_, form) in _NIFTI_FIELDS.items():
        for value in _REAL_VALUES if form == "<f" else _WHOLE_VALUES:
            yield _of(f"NIfTI with {name} = {value}", nifti_with(content, **{name: value}), EITHER)
    yield _of("NIfTI of huge size", nifti_with(content, x=32767, y=32767, z=32767))
    yield _of("NIfTI of more than it has", nifti_with(content, x=300, y=300, z=300))
    yield _of("NIfTI of no rows", nifti_with(content, y=0))
    yield _of("NIfTI of negative columns", nifti_with(content, x=-5))
    yield _of("NIfTI that lies in a plane", nifti_with(content, srow_x=0.0, srow_y=0.0, srow_z=0.0, sform_code=1))
    yield _of("NIfTI that lies nowhere", nifti_with(content, srow_x=float("nan"), sform_code=1))


def _of_gzip(content: bytes) -> Iterator[Damage]:
    unpacked = gzip.decompress(content)
    crc, length = content[-8:-4], content[-4:]
    yield _of("gzip with a wrong checksum", content[:-8] + bytes([crc[0] ^ 1]) + crc[1:] + length)
    yield _of("gzip with a wrong length", content[:-4] + bytes([length[0] ^ 1]) + length[1:])
    yield _of("gzip without trailer", content[:-8])
    yield _of("gzip without half the trailer", content[:-4])
    yield _of("gzip of two members", _packed(unpacked[:400]) + _packed(unpacked[400:]), SOUND)
    yield _of("gzip followed by zeros", content + bytes(512), SOUND)
    yield _of("gzip with 100 MB after the voxels", _packed(unpacked + bytes(100_000_000)), SOUND)
    yield _of("gzip in gzip", _packed(content))
    huge = nifti_with(unpacked, x=30000, y=30000, z=10)
    yield _of("gzip of 9 000 million voxels", _packed(huge + bytes(10_000_000)))
    yield _of("gzip of missing voxels", _packed(unpacked[:-100]))


def _packed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)
