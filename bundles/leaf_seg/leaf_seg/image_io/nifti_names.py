"""Names of classes in the header of a NIfTI, as an extension."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

_COMMENT = 6  # code of extensions that hold plain ASCII text


def add_class_names(header: Any, class_names: Sequence[str]) -> None:
    """Put the names of the classes into nibabel's header of a NIfTI, as a comment in ASCII.

    The text is JSON as lists of cases have it: ``{"labels": {"0": "background", "1": "liver"}}``.

    Args:
        header: of NIfTI-1 or NIfTI-2.
        class_names: K names, background first; none to leave them out.
    """
    from nibabel.nifti1 import Nifti1Extension

    if class_names:
        text = json.dumps({"labels": {str(value): name for value, name in enumerate(class_names)}})
        header.extensions.append(Nifti1Extension(_COMMENT, text.encode("ascii")))
