"""Figures: overlays, curves, reliability diagrams."""

from leaf_seg.visual.case_overlay import CaseOverlay
from leaf_seg.visual.curves import save_curves
from leaf_seg.visual.overlay import save_overlay
from leaf_seg.visual.reliability import save_reliability

__all__ = ["CaseOverlay", "save_curves", "save_overlay", "save_reliability"]
