"""Which cases several raters have labelled."""

from __future__ import annotations

from collections.abc import Sequence

from leaf_seg.data.splits import Case


def have_raters(cases: Sequence[Case]) -> bool:
    """Whether any case has the labels of several raters, paths under "raters"."""
    return any("raters" in case for case in cases)
