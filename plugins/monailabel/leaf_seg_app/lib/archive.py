"""All images with labels as one file."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def write_archive(pairs: Sequence[Mapping[str, str]], limit: int | None, metadata: str) -> str:
    """Write a ZIP archive as MONAI Label's, of files of any age; it leaves nothing where that fails.

    Args:
        pairs: files by kind, {"image", "label"}; the kinds are the archive's folders.
        limit: number of pairs that are written; None or less than 1 is all.
        metadata: JSON, which becomes ``metadata.json``.

    Returns:
        A new temporary file, which the caller removes.

    Raises:
        OSError: When it cannot be written.
    """
    handle, name = tempfile.mkstemp(suffix=".zip")
    os.close(handle)
    try:
        with zipfile.ZipFile(name, "w", strict_timestamps=False) as archive:  # which knows no years before 1980
            for pair in pairs[: max(limit or 0, 0) or None]:
                for kind, file in pair.items():
                    archive.write(file, f"{kind}/{Path(file).name}")
            archive.writestr("metadata.json", metadata)
    except BaseException:
        os.unlink(name)
        raise
    return name
