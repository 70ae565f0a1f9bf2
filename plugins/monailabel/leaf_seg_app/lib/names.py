"""Names that clients give: of images, tags and uploaded files. Paths are made of them, so they must be plain."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from leaf_seg.image_io import format_of, image_suffix
from leaf_seg.runtime.errors import InputError

# What 3D Slicer is sent; other formats that the package reads are not served.
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".nii.gz", ".nii")
# JPEG would alter class numbers; NRRD is what 3D Slicer writes.
LABEL_SUFFIXES = (*(suffix for suffix in IMAGE_SUFFIXES if suffix not in (".jpg", ".jpeg")), ".nrrd")
_MAX_BYTES = 200  # file systems take 255, with suffixes and what temporary files add
_SHOWN = 60
_TAG = re.compile(r"\w[\w-]{0,63}")
_SESSION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def brief(value: object) -> str:
    """A value of a request as messages show it."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def is_plain(name: str) -> bool:
    """Whether it names a file in a folder, and nothing else."""
    return (
        0 < len(name.encode(errors="replace")) <= _MAX_BYTES
        and not name.startswith((".", " "))
        and not name.endswith(" ")
        and not any(letter in "/\\" for letter in name)
        and all(letter.isprintable() or unicodedata.category(letter) == "Zs" for letter in name)
    )


def check_image_id(name: object) -> str:
    """The name of an image, which is its file's without suffix.

    Raises:
        InputError: For what is no plain file name.
    """
    if not isinstance(name, str) or not is_plain(name):
        raise InputError(
            f"The name of the image is {brief(name)}; expected a file name without its suffix, of at most {_MAX_BYTES} "
            "bytes: no / or \\, no control characters, and no dot or space to begin with."
        )
    return name


def check_tag(tag: object) -> str:
    """The tag of a label, which names its folder.

    Raises:
        InputError: For what is no word.
    """
    if not isinstance(tag, str) or not _TAG.fullmatch(tag):
        raise InputError(
            f"The tag of the label is {brief(tag)}; expected letters, digits, _ and -, at most 64, as in 'final'."
        )
    return tag


def check_session_id(session: object) -> str:
    """The name of a session, as the server gives them.

    Raises:
        InputError: For another one.
    """
    if not isinstance(session, str) or not _SESSION.fullmatch(session):
        raise InputError(f"The session is {brief(session)}; expected the session_id that PUT /session/ answered.")
    return session


def check_client(params: Mapping[str, Any]) -> None:
    """What 3D Slicer's user calls themselves, which is kept.

    Raises:
        InputError: For what is no short text.
    """
    client = params.get("client_id")
    if client is not None and not (isinstance(client, str) and len(client) <= 100):
        raise InputError(f"client_id is {brief(client)}; expected a text of at most 100 characters.")


def split_suffix(name: str, known: Sequence[str]) -> tuple[str, str]:
    """Stem and suffix, as it stands in the name; the suffix is empty where it is none of the known ones."""
    length = max((len(suffix) for suffix in known if name.lower().endswith(suffix)), default=0)
    cut = len(name) - length
    return name[:cut], name[cut:]


def check_upload_name(name: str | None, known: Sequence[str]) -> tuple[str, str]:
    """Stem and suffix, in small letters, of an uploaded file; without a name it is a .nii.gz, as MONAI Label has it.

    Raises:
        InputError: For another suffix.
    """
    stem, suffix = split_suffix(Path(name or "image.nii.gz").name, known)
    if not suffix:
        raise InputError(f"The file is called {brief(name)}; expected a name that ends in {', '.join(known)}.")
    return stem, suffix.lower()


def check_content(file: str | Path) -> None:
    """See that an image's content is what its name says.

    Raises:
        InputError: For content of another or of an unknown format.
    """
    form, suffix = format_of(file), image_suffix(file).lower()
    if suffix not in form.suffixes:
        raise InputError(
            f"The file is called {suffix} and its content is {form.name}; expected the same. Give it the suffix "
            f"{form.suffixes[0]}."
        )
