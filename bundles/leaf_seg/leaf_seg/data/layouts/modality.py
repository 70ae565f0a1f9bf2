"""Which of several images of a case is taken."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import nearest, printable


def choose_modality(names: Sequence[str], wanted: str | None, root: Path) -> str:
    """The one of a data set's modalities that is taken: that which is wanted, or the only one.

    Raises:
        InputError: When several are there and none is chosen, or the chosen one is not there.
    """
    if wanted is None and len(names) == 1:
        return names[0]
    same = [name for name in names if wanted is not None and name.casefold() == wanted.casefold()]
    if same:
        return same[0]
    listed = ", ".join(map(printable, names))
    if wanted is None:
        raise InputError(
            f"{printable(root)}: each case has {len(names)} images ({listed}); a network sees one of them. Choose: "
            f"--modality {printable(names[0])}."
        )
    hint = nearest(wanted, names)
    raise InputError(f"modality is {wanted!r}, but {printable(root)} has {listed}; expected one of them{hint}")
