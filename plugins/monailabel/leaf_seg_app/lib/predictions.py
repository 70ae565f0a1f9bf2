"""What the server has answered, so that an answer that comes back as a label is recognised."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

_KEPT = 50  # answers of each image, the latest
_TABLE = """CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY AUTOINCREMENT, image TEXT NOT NULL, digest TEXT NOT NULL, UNIQUE (image, digest)
)"""


def label_digest(label: np.ndarray) -> str:
    """A hash of a label map's size and class indices [*spatial]."""
    values = np.ascontiguousarray(label, np.uint8)
    return hashlib.sha256(repr(values.shape).encode() + values.tobytes()).hexdigest()


class Predictions:
    """Hashes of the latest answers for each image, in a file that several processes may use.

    Args:
        file: SQLite database; made with the first answer.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def add(self, image: str, digest: str) -> None:
        """Remember an answer; the oldest ones of the image are forgotten."""
        with self._connected() as database:
            database.execute("INSERT OR REPLACE INTO answers (image, digest) VALUES (?, ?)", (image, digest))
            latest = "SELECT number FROM answers WHERE image = ? ORDER BY number DESC LIMIT ?"
            database.execute(f"DELETE FROM answers WHERE image = ? AND number NOT IN ({latest})", (image, image, _KEPT))

    def forget(self, image: str) -> None:
        """Forget the answers of an image."""
        if self.file.exists():
            with self._connected() as database:
                database.execute("DELETE FROM answers WHERE image = ?", (image,))

    def __contains__(self, answer: tuple[str, str]) -> bool:
        """Whether the server has given this answer, (image, digest)."""
        if not self.file.exists():
            return False
        with self._connected() as database:
            found = database.execute("SELECT 1 FROM answers WHERE image = ? AND digest = ?", answer)
            return found.fetchone() is not None

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.file, timeout=30)) as database, database:
            database.execute(_TABLE)
            yield database
