"""The folder layouts in which people keep data sets, one a file."""

from __future__ import annotations

from leaf_seg.data.layouts.layout import Choices, Layout
from leaf_seg.data.layouts.reading import no_data_set, read_layout

__all__ = ["Choices", "Layout", "no_data_set", "read_layout"]
