"""Files that gzip may have packed, whatever they are called."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike

_GZIP = b"\x1f\x8b"
_CHUNK_BYTES = 2**20
_MOST_FOLLOWING_BYTES = 10**9  # which takes some seconds to unpack


def unpacked_head(head: bytes, count: int) -> bytes:
    """The first bytes of a file; where they are gzip's, up to ``count`` of what is packed, as far as they can be."""
    if not head.startswith(_GZIP):
        return head
    try:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(head, count)
    except zlib.error:
        return b""


@contextmanager
def opened(path: PathLike) -> Iterator[Any]:
    """The stream of the unpacked file, within the block."""
    with open(path, "rb") as file:
        is_packed = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        yield gzip.GzipFile(fileobj=file) if is_packed else file


def read_to_the_end(stream: Any) -> None:
    """Unpack what follows the voxels without keeping it, so that gzip compares its checksum and length."""
    if not isinstance(stream, gzip.GzipFile):
        return
    following = 0
    while chunk := stream.read(_CHUNK_BYTES):
        following += len(chunk)
        if following > _MOST_FOLLOWING_BYTES:
            raise InputError(
                f"more than {_MOST_FOLLOWING_BYTES // 10**6} MB follow the voxels; expected the end of the file there. "
                "Export the volume again."
            )
