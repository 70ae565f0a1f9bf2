"""What the server has answered, so that an answer that comes back as a label is recognised."""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import numpy as np

from leaf_seg.image_io import ReadingOptions, read_image

logger = logging.getLogger(__name__)

T = TypeVar("T")

_KEPT = 50  # answers of each image, the latest
_TABLE = """CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY AUTOINCREMENT, image TEXT NOT NULL, digest TEXT NOT NULL, UNIQUE (image, digest)
)"""
# Result codes of SQLite that say nothing of the file's content; with others it is damaged, or no such database.
_PASSING = (
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM),
    *(sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT),
)


def label_digest(label: np.ndarray) -> str:
    """A hash of a label map's size and class indices [*spatial]."""
    values = np.ascontiguousarray(label, np.uint8)
    return hashlib.sha256(repr(values.shape).encode() + values.tobytes()).hexdigest()


def content_of(image: str) -> str:
    """What stands for an image's content, whatever its name and the compression of its file; no image is called so."""
    values = read_image(image, options=ReadingOptions(all_channels=True)).numpy()
    digest = hashlib.sha256(repr(values.shape).encode())
    digest.update(np.ascontiguousarray(values).data)
    return f"/{digest.hexdigest()}"


class Predictions:
    """Hashes of the latest answers for each image, in a file that several processes may use.

    A file that is damaged is set aside, and a new one begun: what it held is no more than a help.

    Args:
        file: SQLite database; made with the first answer.
        image: file of the image that labels are asked about; its answers count whatever name it had.
    """

    def __init__(self, file: Path, image: str | None = None) -> None:
        self.file = file
        self._image = image

    def about(self, image: str) -> Predictions:
        """The same answers, where those to the content of this file count, too."""
        return Predictions(self.file, image)

    def add(self, image: str, digest: str) -> None:
        """Remember an answer; the oldest ones of the image are forgotten.

        Args:
            image: its content, as :func:`content_of` says it, so that it is known under any name.
            digest: of the answer.

        Raises:
            OSError: When the database cannot be written.
        """

        def work(database: sqlite3.Connection) -> None:
            database.execute("INSERT OR REPLACE INTO answers (image, digest) VALUES (?, ?)", (image, digest))
            latest = "SELECT number FROM answers WHERE image = ? ORDER BY number DESC LIMIT ?"
            database.execute(f"DELETE FROM answers WHERE image = ? AND number NOT IN ({latest})", (image, image, _KEPT))

        self._do(work)

    def forget(self, image: str) -> None:
        """Forget the answers that former versions kept by an image's name."""
        if self.file.exists():
            self._do(lambda database: database.execute("DELETE FROM answers WHERE image = ?", (image,)))

    def __contains__(self, answer: tuple[str, str]) -> bool:
        """Whether the server has given this answer, (name of the image, digest).

        Raises:
            OSError: When the database cannot be read.
        """
        if not self.file.exists():
            return False
        name, digest = answer
        keys = (name, content_of(self._image) if self._image else name)
        query = "SELECT 1 FROM answers WHERE image IN (?, ?) AND digest = ?"
        return self._do(lambda database: database.execute(query, (*keys, digest)).fetchone()) is not None

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            try:
                return self._once(work)
            except sqlite3.DatabaseError as error:
                if not self._is_damaged(error):
                    raise
                self._set_aside(error)
                return self._once(work)
        except sqlite3.Error as error:  # such as a full disk, or one that others have locked for long
            raise OSError(f"{self.file}: {error}") from error

    def _once(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with closing(sqlite3.connect(self.file, timeout=30)) as database, database:
            database.execute(_TABLE)
            return work(database)

    def _is_damaged(self, error: sqlite3.DatabaseError) -> bool:
        if self.file.is_dir():
            return True
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_IOERR) & 0xFF  # the lower byte of extended codes
        if code == sqlite3.SQLITE_READONLY:  # of a header that says so, where the file system does not
            return os.access(self.file, os.W_OK) and os.access(self.file.parent, os.W_OK)
        return code not in _PASSING

    def _set_aside(self, error: Exception) -> None:
        damaged = self.file.with_name(f"{self.file.stem}_damaged_{time.time_ns()}{self.file.suffix}")
        logger.error("%s is damaged (%s): set aside as %s, and begun anew", self.file, error, damaged.name)
        self.file.rename(damaged)
        for ending in ("-journal", "-wal", "-shm"):  # SQLite would apply it to the new one
            self.file.with_name(f"{self.file.name}{ending}").unlink(missing_ok=True)
