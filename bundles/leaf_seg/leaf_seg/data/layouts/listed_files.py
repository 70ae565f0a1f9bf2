"""The files that a list names, however it writes their paths."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from leaf_seg.data.layouts.names import composed
from leaf_seg.image_io.dicom import holds_dicom
from leaf_seg.image_io.formats import image_suffix
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.paths import FILE, FOLDER, kind_of
from leaf_seg.runtime.text import printable, shortened

logger = logging.getLogger(__name__)


def base_folder(file: Path, listed: Sequence[str]) -> Path:
    """The folder that a list's relative paths are of: its own, or for a link that of what it points to.

    Raises:
        InputError: When files are missing from each of them; names those of the first.
    """
    _entries.cache_clear()  # files may have come since
    bases = list(dict.fromkeys((Path(os.path.realpath(file)).parent, Path(os.path.abspath(file)).parent)))
    missing = [[path for path in listed if not _is_image(listed_file(path, base))] for base in bases]
    complete = [base for base, lacking in zip(bases, missing, strict=True) if not lacking]
    if not complete:
        fewest = min(range(len(bases)), key=lambda index: len(missing[index]))
        lacking = [listed_file(path, bases[fewest]) for path in missing[fewest]]
        raise InputError(
            f"{printable(file)}: {len(lacking)} of its files do not exist or are no files: {shortened(lacking)}. "
            f"Expected paths that are absolute or relative to {printable(bases[fewest])}; correct the list or fetch "
            "the files."
        )
    if len(complete) > 1 and any(listed_file(path, bases[0]) != listed_file(path, bases[1]) for path in listed):
        logger.warning("%s is a link, and its files are there beside it, too; those of %s are used.", file, bases[0])
    return complete[0]


def listed_file(path: str, base: Path) -> str:
    r"""The absolute path of a listed file: ``a\b.png`` is ``a/b.png``, and either normal form of Unicode will do.

    What is not there as it is written is looked for, and the path is returned as it is written where there is none.
    """
    written = os.path.normpath(base / os.path.expanduser(path))
    if _is_image(written):
        return written
    slashed = os.path.normpath(base / path.replace("\\", "/"))
    for candidate in (slashed, f"{slashed}.gz"):  # which volumes lose and gain
        found = as_on_disk(candidate)
        if found is not None and _is_image(found):
            return found
    return written


def _is_image(path: str) -> bool:
    """Whether there is a file, or a folder of a DICOM series."""
    kind = kind_of(path)
    return kind == FILE or (kind == FOLDER and holds_dicom(path))


def as_on_disk(path: str) -> str | None:
    """The path with each part as its folder has it, where they are the same but for normal form and suffix's case.

    None where there is nothing of the kind.
    """
    if os.path.exists(path):
        return path
    parent, name = os.path.split(path)
    folder = parent if os.path.isdir(parent) else as_on_disk(parent) if name else None
    return None if folder is None else _entries(folder).get(_same(name))


@lru_cache(maxsize=1024)
def _entries(folder: str) -> dict[str, str]:
    try:
        return {_same(name): os.path.join(folder, name) for name in sorted(os.listdir(folder))}
    except OSError:
        return {}


def _same(name: str) -> str:
    suffix = image_suffix(name)
    return composed(name[: len(name) - len(suffix)] + suffix.lower())
