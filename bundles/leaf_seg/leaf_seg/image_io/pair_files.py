"""Volumes in two files of one name, a header (``.hdr``) and its voxels (``.img``)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike

HEADERS = (".hdr", ".hdr.gz")
VOXELS = (".img", ".img.gz")


def pair_of(path: PathLike) -> tuple[Path, Path]:
    """The header and the voxels that belong together, of which one is given.

    Args:
        path: of the voxels, where it is called so; else of the header.

    Raises:
        InputError: When the other one is missing. The message need not name the file.
    """
    given, stem, suffix = Path(path), *_parted(path)
    if suffix in VOXELS:
        header = _beside(given, stem, HEADERS)
        if header is None:
            raise InputError(f"its header, {stem}.hdr, is missing; expected it beside the voxels. Copy it.")
        return header, given
    voxels = _beside(given, stem, VOXELS)
    if voxels is None:
        raise InputError(f"the file of its voxels, {stem}.img, is missing; expected it beside the header. Copy it.")
    return given, voxels


def voxels_of(path: PathLike) -> Path:
    """The voxels beside a file that is called as a header; other files themselves."""
    stem, suffix = _parted(path)
    return (_beside(Path(path), stem, VOXELS) if suffix in HEADERS else None) or Path(path)


def stem_of(path: PathLike) -> str:
    """The name that both files of a pair have."""
    return _parted(path)[0]


def without_headers(files: Iterable[Path]) -> list[Path]:
    """The files of a folder without the headers whose voxels are among them: a pair is one image."""
    listed = list(files)
    voxels = {stem for stem, suffix in map(_parted, listed) if suffix in VOXELS}
    return [file for file in listed if (parts := _parted(file))[1] not in HEADERS or parts[0] not in voxels]


def _parted(path: PathLike) -> tuple[str, str]:
    """A file's name without its suffix, and the suffix in small letters; of other files the last one."""
    name = Path(path).name
    suffix = next((s for s in (*HEADERS, *VOXELS) if name.lower().endswith(s)), Path(name).suffix.lower())
    return name[: len(name) - len(suffix)], suffix


def _beside(file: Path, stem: str, suffixes: Iterable[str]) -> Path | None:
    names = [f"{stem}{written}" for suffix in suffixes for written in (suffix, suffix.upper())]
    return next((file.with_name(name) for name in names if file.with_name(name).is_file()), None)
