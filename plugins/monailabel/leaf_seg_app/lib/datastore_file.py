"""The file of what is known of images and labels."""

from __future__ import annotations

import json
from pathlib import Path

from monailabel.datastore.local import LocalDatastoreModel
from pydantic import ValidationError

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import replacing
from leaf_seg.runtime.text import first_line


def read_known(file: Path) -> LocalDatastoreModel:
    """Read it.

    Raises:
        InputError: When it cannot be read.
    """
    try:
        return LocalDatastoreModel.model_validate_json(file.read_text())
    except (OSError, ValueError, ValidationError) as error:
        raise InputError(f"{file} cannot be read ({first_line(error)}); restore it, or remove it.") from error


def write_known(datastore: LocalDatastoreModel, file: Path) -> None:
    """Write it, in place of the former one."""
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(datastore.model_dump(exclude={"base_path"}), indent=2, default=str))
