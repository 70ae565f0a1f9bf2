"""Handlers: progress, what is saved of a model, reports and segmentations."""

from leaf_seg.handlers.autoencoder_saver import AutoencoderSaver
from leaf_seg.handlers.case_report import CaseReport
from leaf_seg.handlers.final_validation import FinalValidation
from leaf_seg.handlers.model_saver import ModelSaver
from leaf_seg.handlers.noise_stability import NoiseStability
from leaf_seg.handlers.progress import EvaluationProgress, TrainingProgress
from leaf_seg.handlers.segmentation_saver import SegmentationSaver

__all__ = [
    "AutoencoderSaver",
    "CaseReport",
    "EvaluationProgress",
    "FinalValidation",
    "ModelSaver",
    "NoiseStability",
    "SegmentationSaver",
    "TrainingProgress",
]
