"""The MLflow store in the folder of a training, also where the folder was moved: the store holds whole paths."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlparse
from urllib.request import url2pathname

from leaf_seg.runtime.claim import is_claimed_by_another
from leaf_seg.runtime.errors import InputError

logger = logging.getLogger(__name__)

STORE_NAME = "mlruns.db"
FILES_NAME = "mlruns"  # folder of the files, beside the data base
_SQLITE = "sqlite:///"
_BUSY_SECONDS = 30.0  # how long another process may be writing
_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)


def server_command(folder: str | os.PathLike[str], port: int) -> list[str]:
    """The command that shows the store of a training in the browser, once the store knows where its files are.

    Args:
        folder: of the training.
        port: of the server, on this machine only.

    Raises:
        InputError: When there is no store in the folder, or it would have to be changed and cannot be.
    """
    file = Path(folder) / STORE_NAME
    if not file.is_file():
        raise InputError(f"No {file}; expected the store of a training with --tracking mlflow. Correct the folder.")
    uri = local_store(folder)
    follow_move(uri)
    return [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--port", str(port), "--workers", "1"]


def local_store(folder: str | os.PathLike[str]) -> str:
    """URI of the MLflow store in the folder of a training, an SQLite data base."""
    # Only what has a meaning in a URI is quoted: MLflow makes the folder under the name that stands here, too.
    path = (Path(folder).expanduser() / STORE_NAME).absolute().as_posix()
    return _SQLITE + re.sub("[%?#]", lambda found: f"%{ord(found[0]):02X}", path)


def shown(tracking_uri: str) -> str:
    """The URI of a store for people: without name and password."""
    return re.sub(r"//[^/@]*@", "//", tracking_uri)


def sqlite_file(tracking_uri: str) -> Path | None:
    """The file of an SQLite store; None for other stores."""
    _, is_sqlite, quoted = tracking_uri.partition(_SQLITE)
    return Path(unquote(quoted)) if is_sqlite else None


def follow_move(tracking_uri: str) -> None:
    """Let an SQLite store find its files again where its folder was moved or copied together with them.

    MLflow keeps the whole path of every run's and model's files. Those that lead to a folder ``mlruns`` elsewhere are
    changed to the one beside the data base, if the runs' folders are there. Does nothing for other stores than that of
    a training's folder, nor while another process trains there.

    Args:
        tracking_uri: of the store.

    Raises:
        InputError: When the paths are to be changed, and the data base cannot be written to.
    """
    file = sqlite_file(tracking_uri)
    if file is None or file.name != STORE_NAME or not file.is_file():
        return
    here = (file.parent / FILES_NAME).absolute()
    if not here.is_dir() or is_claimed_by_another(file.parent):
        return
    try:
        with closing(sqlite3.connect(file, timeout=_BUSY_SECONDS)) as connection, connection:
            for location in _locations(connection):
                if _is_elsewhere(location, here) and _has_files(connection, location, here):
                    _replace(connection, location, here.as_uri() if location.startswith("file:") else str(here))
                    logger.info("The files of MLflow's store %s are now found in %s.", file, here)
    except sqlite3.DatabaseError as error:
        raise InputError(
            f"{file}: the paths in it lead to where its folder was before, and cannot be changed ({error}); expected "
            "MLflow's SQLite store in a folder that can be written to. Correct its permissions, or copy the folder."
        ) from error


def _locations(connection: sqlite3.Connection) -> Iterator[str]:
    """Where the files of each experiment go."""
    if _has(connection, "experiments", "artifact_location"):
        rows = connection.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
        yield from (location for (location,) in rows if location)


def _is_elsewhere(location: str, here: Path) -> bool:
    """Whether it is a folder of files beside another data base; not MLflow's own in the folder it was started in."""
    parts = urlparse(location)
    if parts.scheme not in ("", "file"):
        return False
    path = Path(url2pathname(parts.path) if parts.scheme else location)
    if path.name != FILES_NAME or not path.is_absolute() or path == here:
        return False
    return not (path.exists() and os.path.samefile(path, here))


def _has_files(connection: sqlite3.Connection, location: str, here: Path) -> bool:
    """Whether the folder of a run that the store looks for elsewhere is here."""
    rows = (
        connection.execute("SELECT artifact_uri FROM runs").fetchall()
        if _has(connection, "runs", "artifact_uri")
        else []
    )
    names = [uri.removeprefix(location).strip("/") for (uri,) in rows if uri and uri.startswith(f"{location}/")]
    return any((here / name).parent.is_dir() for name in names) or not names


def _replace(connection: sqlite3.Connection, old: str, new: str) -> None:
    """Change the beginning of paths."""
    for table, column in _COLUMNS:
        if _has(connection, table, column):
            rest, begins = f"substr({column}, {len(old) + 1})", f"substr({column}, 1, {len(old) + 1})"
            statement = f"UPDATE {table} SET {column} = ? || {rest} WHERE {column} = ? OR {begins} = ?"
            connection.execute(statement, (new, old, f"{old}/"))


def _has(connection: sqlite3.Connection, table: str, column: str) -> bool:
    """Whether this version of MLflow keeps it."""
    return column in {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
