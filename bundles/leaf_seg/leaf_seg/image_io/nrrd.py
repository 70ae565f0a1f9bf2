"""NRRD files: what their headers may hold, and label maps that 3D Slicer sends."""

from __future__ import annotations

import gzip
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from leaf_seg.image_io.memory import DEFAULT_MEMORY_LIMIT_GB, FLOAT_BYTES, check_memory, memory_limit_bytes
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike
from leaf_seg.runtime.paths import FILE, kind_of
from leaf_seg.runtime.text import first_line, printable

if TYPE_CHECKING:
    import numpy as np

_MAGIC = b"NRRD000"
_MOST_HEADER_BYTES = 2**20
_STORED_BYTES = 2 * 8  # of a value at most, as ITK reads it and MONAI copies it
_CHUNK_BYTES = 2**20
_MOST_AXES = 4  # one of channels


def is_nrrd(path: PathLike) -> bool:
    """Whether a file is NRRD, by its content."""
    if kind_of(path) != FILE:
        return False
    try:
        with open(path, "rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def read_nrrd(path: PathLike, memory_limit_gb: float | None = DEFAULT_MEMORY_LIMIT_GB) -> tuple[np.ndarray, np.ndarray]:
    """Read a label map of three dimensions by ITK's reader of NRRD, and by no other.

    Args:
        path: file of which :func:`is_nrrd` holds.
        memory_limit_gb: gigabytes that reading may take, as the header says; None is no limit.

    Returns:
        Values [X, Y, Z], and the affine in mm, RAS+.

    Raises:
        InputError: When the file is damaged, larger than allowed, of other dimensions, or refers to another file.
    """
    limit = memory_limit_bytes(memory_limit_gb)
    with _named(path):
        with open(path, "rb") as file:
            fields = _header(file)
            check_memory((FLOAT_BYTES + _STORED_BYTES) * math.prod(_sizes(fields)), "a label of this size", limit)
            _check_data(fields, file)
        return _read_by_itk(path)


def read_nrrd_shape(path: PathLike) -> tuple[int, ...]:
    """Shape (X, Y, Z) of a label map, from the file's header only: what follows it may be damaged.

    Raises:
        InputError: When the file is no NRRD, has no readable header or other dimensions.
    """
    if not is_nrrd(path):
        raise InputError(f"{printable(path)}: is no NRRD file; expected one, by its name. Save the label again.")
    with _named(path), open(path, "rb") as file:
        return tuple(_sizes(_header(file)))


def nrrd_fields(path: PathLike) -> dict[str, str]:
    """The header's fields, by their names in small letters and without spaces.

    Raises:
        InputError: As :func:`read_nrrd`, without naming the file.
    """
    with open(path, "rb") as file:
        fields = _header(file)
    _sizes(fields, _MOST_AXES)
    return fields


def check_nrrd_data(path: PathLike) -> None:
    """Unpack packed data to their end.

    Raises:
        InputError: As :func:`read_nrrd`, without naming the file.
    """
    with open(path, "rb") as file:
        _check_data(_header(file), file)


@contextmanager
def _named(path: PathLike) -> Iterator[None]:
    """Let errors say which file they are about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{printable(path)}: {error}") from None
    except Exception as error:  # a damaged file makes ITK, gzip and MONAI raise many kinds of error
        raise InputError(
            f"{printable(path)}: cannot be read ({type(error).__name__}: {printable(first_line(error))}); expected "
            "a complete NRRD file. Save the label again."
        ) from error


def _header(file: BinaryIO) -> dict[str, str]:
    """The fields of the header; the file is then where the data begin.

    ITK ends lines, and the header, by rules of its own, by which a field could be hidden from what is checked here. So
    lines are refused that could be read in two ways.
    """
    fields: dict[str, str] = {}
    left = _MOST_HEADER_BYTES
    while (line := file.readline(left)) not in (b"", b"\n", b"\r\n"):
        left -= len(line)
        if not line.strip() or any(byte < 32 and byte != 9 for byte in line.removesuffix(b"\n").removesuffix(b"\r")):
            raise InputError("its header holds blank lines or control characters. Save the label again.")
        name, colon, value = line.decode("utf-8", errors="replace").partition(":")
        if colon and not value.startswith("=") and not name.startswith("#"):
            fields[re.sub(r"\s", "", name).lower()] = value.strip()
    if not line.endswith(b"\n"):
        raise InputError("its header does not end; expected a complete NRRD file. Save the label again.")
    if "datafile" in fields:  # which could be any file of the machine
        raise InputError("its data are in another file; expected a single file. Save the label as .nrrd or NIfTI.")
    return fields


def _sizes(fields: dict[str, str], most: int = 3) -> list[int]:
    """Sizes along three axes, or up to ``most`` where one may be of channels, as whoever reads the file has to see."""
    sizes = [int(size) for size in fields.get("sizes", "").split()]
    if not 3 <= len(sizes) <= most or min(sizes) < 1:
        raise InputError(f"its sizes are {fields.get('sizes', '(none)')!r}; expected a volume of three dimensions.")
    return sizes


def _check_data(fields: dict[str, str], file: BinaryIO) -> None:
    """Refuse encodings that are not meant, and unpack packed data to their end once."""
    encoding = fields.get("encoding", "").lower()
    if encoding not in ("raw", "gz", "gzip"):
        raise InputError(f"its encoding is {encoding!r}; expected raw or gzip. Save the label again.")
    if encoding != "raw":
        most = 2 * _STORED_BYTES * math.prod(_sizes(fields, _MOST_AXES))
        with gzip.GzipFile(fileobj=file) as unpacked:
            while chunk := unpacked.read(_CHUNK_BYTES):
                most -= len(chunk)
                if most < 0:
                    raise InputError("more data follow than its sizes say. Save the label again.")


def _read_by_itk(path: PathLike) -> tuple[np.ndarray, np.ndarray]:
    from leaf_seg.image_io.nrrd_volume import Nrrd

    form = Nrrd()
    form.check_header(path)
    label = form.read(path, is_label=True)
    return label[0].numpy(), label.affine.numpy()
