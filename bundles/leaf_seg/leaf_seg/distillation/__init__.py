"""Feature distillation: a frozen vision encoder guides the U-Net's features during training."""

from leaf_seg.distillation.feature_distillation import Alignment, FeatureDistillation, alignment_loss, match_tokens
from leaf_seg.distillation.projector import ConvProjector, Projector
from leaf_seg.distillation.recipes import RECIPES, spatially_normalized
from leaf_seg.distillation.teacher import Teacher, load_teacher

__all__ = [
    "RECIPES",
    "Alignment",
    "ConvProjector",
    "FeatureDistillation",
    "Projector",
    "Teacher",
    "alignment_loss",
    "load_teacher",
    "match_tokens",
    "spatially_normalized",
]
