"""Where the bundle's configurations and shipped weights lie."""

from __future__ import annotations

from pathlib import Path

from leaf_seg.runtime.errors import InputError

_PACKAGE = Path(__file__).resolve().parents[1]


def bundle_folder() -> Path:
    """The folder with ``configs/`` and ``models/``: in an installed wheel within the package, else around it.

    Raises:
        InputError: When it is in neither place.
    """
    for folder in (_PACKAGE / "bundle", _PACKAGE.parent):
        if (folder / "configs" / "metadata.json").is_file():
            return folder
    raise InputError(
        f"No bundle in {_PACKAGE / 'bundle'} or {_PACKAGE.parent}; expected configs/ and models/ there. Install "
        "leaf_seg from its wheel or with pip install -e from a clone, or keep the package in the bundle's folder."
    )
