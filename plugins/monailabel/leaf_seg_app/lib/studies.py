"""The folder of images and labels: which of its files count, and how files get into it."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import remove_unfinished, scratch_beside
from lib.names import is_plain, split_suffix

logger = logging.getLogger(__name__)

_told: set[Path] = set()  # files that were left out, of which the log has a line


def files_by_name(folder: Path, suffixes: Sequence[str]) -> list[tuple[str, str]]:
    """Names and suffixes of the images or labels directly in a folder, sorted.

    Hidden files do not count. What is no file, names that are not plain, and links that lead out of the folder are left
    out, and the log says so once.

    Args:
        folder: to look in.
        suffixes: of the files that are meant.
    """
    found = []
    root = folder.resolve()
    for file in sorted(folder.iterdir()):
        name, suffix = split_suffix(file.name, suffixes)
        if not suffix or file.name.startswith("."):
            continue
        if is_plain(name) and file.is_file() and (not file.is_symlink() or file.resolve().is_relative_to(root)):
            found.append((name, suffix))
        elif file not in _told:
            _told.add(file)
            logger.warning("Left out: %r, which is no file, has no plain name or is a link that leads out", str(file))
    return found


def check_different_names(folder: Path, suffixes: Sequence[str]) -> None:
    """See that images can be told apart by their names.

    Raises:
        InputError: When two have the same name but for their extension.
    """
    images: dict[str, str] = {}
    for name, suffix in files_by_name(folder, suffixes):
        other = images.setdefault(name, suffix)
        if other != suffix:
            raise InputError(
                f"{folder} holds {name}{other} and {name}{suffix}; expected names that differ without the extension, "
                "by which the server knows images. Rename one."
            )


def check_target(target: Path, studies: Path) -> None:
    """See that a file can be put into the studies.

    Raises:
        InputError: When its folder is a link that leads out of them, and when it is a folder itself.
    """
    if not target.parent.resolve().is_relative_to(studies.resolve()):
        raise InputError(f"{target.parent} leads out of the studies; nothing is written there.")
    if target.is_dir():
        raise InputError(f"{target} is a folder; expected a file, or none. Rename the folder.")


def put(source: str, target: Path, studies: Path) -> None:
    """Copy a file into the studies, in place of a former one; it is there as a whole or not at all.

    A link of that name is replaced and not followed.

    Raises:
        InputError: When the target's folder is a link that leads out of the studies, and when it is a folder itself.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    check_target(target, studies)
    with scratch_beside(target.parent) as folder:
        temporary = folder / target.name
        shutil.copy(source, temporary)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, target)


def remove_broken_off_uploads(studies: Path) -> None:
    """Remove what uploads have left that a killed server was at."""
    for folder in (studies, *studies.glob("labels/*/")):
        remove_unfinished(folder)
