"""Prepared cases on disk that the next training finds again, up to a limit."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike, ensure_writable_folder, remove_unfinished, scratch_beside, writing
from leaf_seg.runtime.overrides import check_not_overridden

logger = logging.getLogger(__name__)

STORE_NAME = "prepared_slices"
_RECORD_NAME = "entry.json"
_USES_NAME = "uses.json"  # names of the entries that a run needs, in its own folder
_LOCK_NAME = ".lock"
_ENTRY = re.compile(r"[0-9a-f]{64}")  # other folders are somebody else's
_SECONDS = 60.0  # to wait for another process, which holds the lock only to look for what can be removed
_SPARE = 0.9  # of the limit, to which a run makes room: not for one entry at a time


def case_store(cache_dir: PathLike | None, cache_gb: float) -> CaseStore | None:
    """The store in a folder that the user has given; None without one.

    Args:
        cache_dir: the folder, made where needed.
        cache_gb: what the store may take, in 10^9 bytes.

    Raises:
        InputError: When the command line gives the limit, and there is no folder.
    """
    if cache_dir is None:
        check_not_overridden(("cache_gb",), "no cache_dir is given, so that prepared slices are not kept")
        return None
    return CaseStore(Path(cache_dir) / STORE_NAME, cache_gb)


class CaseStore:
    """A folder of entries, each a folder with the slices of a case and what is known of them.

    An entry is whole or not there, also when a process is killed: it is made beside the others and then renamed.
    Several processes may share the folder. When its entries exceed the limit, those go that no run needs and that were
    not used for the longest time. What a run needs stays until its end, whatever the limit is.

    Args:
        folder: made when it is used.
        limit_gb: 10^9 bytes that the entries may take.
    """

    def __init__(self, folder: PathLike, limit_gb: float) -> None:
        self.folder = Path(folder)
        self.limit_gb = limit_gb

    def use(self, names: Collection[str]) -> StoreUse:
        """Begin a run that needs the entries of these names, those that are not there yet as well.

        Raises:
            InputError: When the folder cannot be made, written to or locked.
        """
        return StoreUse(self, names)


class StoreUse:
    """What one run has of a :class:`CaseStore`, from :meth:`CaseStore.use` to :meth:`close`.

    Attributes:
        own: a folder of the run's own in the store, removed at its end.
    """

    def __init__(self, store: CaseStore, names: Collection[str]) -> None:
        self.folder = ensure_writable_folder(store.folder)
        self.limit_gb = store.limit_gb
        self._stack = ExitStack()
        self._is_over = False
        self._count = 0  # of folders that were made in the own one
        self._writing = 0  # bytes of the entry that is being made
        remove_unfinished(self.folder)
        with writing(self.folder):
            self.own = self._stack.enter_context(scratch_beside(self.folder))
            try:
                with self._locked(_SECONDS):  # nobody removes what is named here from now on
                    (self.own / _USES_NAME).write_text(json.dumps(sorted(names)))
                self._size = self._measure()
                self.reserve(0)
            except BaseException:
                self._stack.close()
                raise

    def get(self, name: str) -> tuple[Path, dict[str, Any]] | None:
        """The folder of an entry and what is known of it; None when there is none.

        An entry that is damaged is removed, which is told.

        Raises:
            InputError: When the folder cannot be locked.
        """
        entry = self.folder / name
        record = _record_of(entry)
        if record is None and entry.exists():
            with self._locked(_SECONDS):  # another process may just have made it anew
                record = _record_of(entry)
                if record is None and entry.exists():
                    logger.warning("%s is damaged: the slices of its case are prepared again.", entry)
                    self._remove(entry)
        if record is None:
            return None
        with suppress(OSError):  # somebody else's
            os.utime(entry / _RECORD_NAME)
        return entry, record

    def reserve(self, size: int) -> None:
        """Make room for so many bytes, as far as there are entries that no run needs."""
        self._writing += size
        if self._is_over or not self._is_full(self.limit_gb):
            return
        self._trim(_SECONDS, self.limit_gb * _SPARE)
        self._is_over = self._is_full(self.limit_gb)
        if self._is_over:
            logger.warning(
                "The prepared slices in %s take more than %g GB (cache_gb), since trainings that run need them; what "
                "is too much is removed at their end.",
                self.folder,
                self.limit_gb,
            )

    def new_folder(self) -> Path:
        """A folder to make an entry in, which is removed at the end of the run unless it is published."""
        return self._place("new")

    def publish(self, folder: Path, name: str, record: dict[str, Any]) -> Path:
        """Make an entry of a folder's files; another process may have been faster, whose entry then stands.

        Args:
            folder: of :meth:`new_folder`.
            name: of the entry.
            record: plain values that are known of it.

        Returns:
            The entry's folder.

        Raises:
            InputError: When it cannot be written.
        """
        entry = self.folder / name
        files = {file.name: _digest(file) for file in sorted(folder.iterdir())}
        with writing(entry):
            (folder / _RECORD_NAME).write_text(json.dumps(_sealed({"files": files, "record": record})))
            try:
                os.rename(folder, entry)
            except OSError:
                if self.get(name) is None:  # it was damaged, and is gone now
                    os.rename(folder, entry)
        self._size, self._writing = self._size + self._writing, 0
        return entry

    def close(self) -> None:
        """End the run: its entries may be removed, and what exceeds the limit is."""
        try:
            self._writing = 0
            with suppress(OSError, InputError):  # no reason to fail; the next run does it
                (self.own / _USES_NAME).unlink()
                self._trim(1.0, self.limit_gb)
        finally:
            self._stack.close()

    def _is_full(self, limit_gb: float) -> bool:
        return self._size + self._writing > limit_gb * 1e9

    def _trim(self, seconds: float, limit_gb: float) -> None:
        """Remove entries, oldest first, until a limit is met or only such are left as some run needs."""
        removed = freed = 0
        with self._locked(seconds) as is_alone:
            needed = self._needed() if is_alone else None
            self._size = self._measure()
            for _, size, name in sorted(self._entries()):
                if not self._is_full(limit_gb) or needed is None:
                    break
                if name not in needed and self._remove(self.folder / name):
                    removed, freed, self._size = removed + 1, freed + size, self._size - size
        if removed:
            logger.info(
                "Removed %d prepared cases (%.3f GB), those not used for longest, from %s to keep to %g GB (cache_gb).",
                removed,
                freed / 1e9,
                self.folder,
                self.limit_gb,
            )

    def _measure(self) -> int:
        return sum(size for _, size, _ in self._entries())

    def _entries(self) -> Iterator[tuple[float, int, str]]:
        """Time of the last use, bytes and name of each entry."""
        for entry in os.scandir(self.folder):
            with suppress(OSError):  # just removed by another process
                if _ENTRY.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                    files = {file.name: file.stat() for file in os.scandir(entry)}
                    used = files[_RECORD_NAME].st_mtime if _RECORD_NAME in files else 0.0
                    yield used, sum(status.st_size for status in files.values()), entry.name

    def _needed(self) -> set[str] | None:
        """Names that the runs have said to need; None when that cannot be known."""
        names: set[str] = set()
        for own in self.folder.glob(".*/"):  # a pattern with the file's name would pass over folders of other users
            try:
                names.update(json.loads((own / _USES_NAME).read_text()))
            except FileNotFoundError:  # that run has just ended, or needs nothing yet
                continue
            except (OSError, ValueError):
                return None
        return names

    def _remove(self, entry: Path) -> bool:
        """Remove an entry, of which never a half stays; False where it is not ours to remove."""
        gone = self._place("gone")
        try:
            os.rename(entry, gone)
        except OSError:
            return False
        shutil.rmtree(gone, ignore_errors=True)
        return True

    def _place(self, kind: str) -> Path:
        """A new folder in the run's own."""
        self._count += 1
        folder = self.own / f"{kind}_{self._count}"
        with writing(folder):
            folder.mkdir()
        return folder

    @contextmanager
    def _locked(self, seconds: float) -> Iterator[bool]:
        """Let no other run say what it needs, or look for what nobody does; False where there are no locks."""
        lock = FileLock(self.folder / _LOCK_NAME, mode=0o666)
        try:
            with suppress(NotImplementedError):  # of such a file system
                lock.acquire(timeout=seconds)
        except Timeout:
            raise InputError(f"Another process holds {lock.lock_file} for long; expected it free. Stop it.") from None
        except OSError as error:
            raise InputError(
                f"Cannot lock {lock.lock_file} ({error.strerror}); expected a folder of your own, or one that its "
                "owner lets others write to. Choose another --cache_dir."
            ) from error
        try:
            yield lock.is_locked
        finally:
            lock.release()


def _record_of(entry: Path) -> dict[str, Any] | None:
    """What is known of an entry, if all of it is as it was written."""
    try:
        found = json.loads((entry / _RECORD_NAME).read_text())
        content = found["content"]
        is_whole = found == _sealed(content)
        is_whole = is_whole and all(_digest(entry / name) == digest for name, digest in content["files"].items())
        return content["record"] if is_whole else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sealed(content: dict[str, Any]) -> dict[str, Any]:
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return {"content": content, "sha256": digest}


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
