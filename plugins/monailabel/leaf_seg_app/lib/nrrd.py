"""What the header of an NRRD file says, before a library allocates what it claims."""

from __future__ import annotations

import re

from leaf_seg.runtime.errors import InputError

_HEADER_BYTES = 1024**2
_MAGIC = re.compile(rb"NRRD000[1-5]\r?\n")
_END = re.compile(rb"\r?\n\r?\n")
_FIELD = re.compile(r"\s*([a-z ]+?)\s*:(?!=)\s*(.*)", re.IGNORECASE)


def read_nrrd_size(file: str) -> tuple[int, ...]:
    """Size of an NRRD image along each axis, from the header.

    Raises:
        InputError: When the file is no NRRD, has its values in another file (which could be any of this machine), or
            values that are no single numbers.
    """
    with open(file, "rb") as stream:
        head = stream.read(_HEADER_BYTES)
    end = _END.search(head)
    if not _MAGIC.match(head) or not end:
        raise InputError("The label is called .nrrd, and has no header of NRRD; save it again, or as NIfTI.")
    fields: dict[str, list[str]] = {}
    for line in head[: end.start()].decode("latin-1").splitlines()[1:]:
        if match := _FIELD.match(line):
            fields.setdefault(match[1].lower().replace(" ", ""), []).append(match[2].strip())
    if "datafile" in fields:
        raise InputError("The label is an NRRD header whose values are in another file; save both in one .nrrd.")
    try:
        if any(word.lower() == "block" for word in fields.get("type", [])):
            raise ValueError
        (sizes,) = fields["sizes"]
        return tuple(int(size) for size in sizes.split())
    except (KeyError, ValueError):
        raise InputError("The label's NRRD header has no sizes of an image of numbers; save it again.") from None
