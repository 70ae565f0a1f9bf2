"""Official downloads of public data sets, made into folders to train on; one data set a file."""

from __future__ import annotations

from leaf_seg.data.prepare.preparing import SOURCES, prepare

__all__ = ["SOURCES", "prepare"]
