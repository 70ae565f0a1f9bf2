"""What was downloaded: a folder, an archive, or a folder of archives."""

from __future__ import annotations

import logging
import tarfile
import zipfile
from pathlib import Path

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.paths import FILE, FOLDER, absolute, kind_of
from leaf_seg.runtime.text import one_line, printable

logger = logging.getLogger(__name__)

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")


def unpacked(download: str, scratch: Path) -> Path:
    """The folder of a download; archives are unpacked.

    Args:
        download: folder, .zip or .tar file, or a folder with such files in it.
        scratch: folder to unpack to.

    Returns:
        The folder as it is where it holds no archives, else ``scratch``.

    Raises:
        InputError: When there is nothing, or an archive is damaged or holds what leads out of it.
    """
    path = absolute(download)
    kind = kind_of(path)
    if kind not in (FILE, FOLDER):
        raise InputError(f"{printable(download)}: {kind}; expected the download, a folder or an archive. Correct it.")
    archives = [path] if kind == FILE else sorted(file for file in path.iterdir() if _is_archive(file))
    if not archives:
        return path
    for archive in archives:
        logger.info("Unpacking %s.", printable(archive))
        try:
            _unpack(archive, scratch)
        except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, tarfile.TarError) as error:
            raise InputError(
                f"{printable(archive)}: cannot be unpacked ({one_line(error)}); expected a whole file of "
                f"{', '.join(_ARCHIVES)}. Download it again, or unpack it yourself and give the folder."
            ) from error
    return scratch


def _is_archive(file: Path) -> bool:
    return file.name.lower().endswith(_ARCHIVES) and not file.name.startswith(".") and kind_of(file) == FILE


def _unpack(archive: Path, scratch: Path) -> None:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(scratch)  # which leaves out .. and drives
    else:
        with tarfile.open(archive) as tape:
            tape.extractall(scratch, filter="data")
