"""Handlers: progress, checkpoints, what is saved of a model, reports and segmentations."""

from typing import TYPE_CHECKING

from leaf_seg.handlers.autoencoder_saver import AutoencoderSaver
from leaf_seg.handlers.background_saver import BackgroundSaver
from leaf_seg.handlers.calibration_report import CalibrationReport
from leaf_seg.handlers.case_report import CASES_NAME, RATERS_NAME, REPORT_NAMES, SUMMARY_NAME, CaseReport
from leaf_seg.handlers.class_dice import ClassDice
from leaf_seg.handlers.cost_report import CostReport
from leaf_seg.handlers.early_stopping import EarlyStopping
from leaf_seg.handlers.feature_cache_report import FeatureCacheReport
from leaf_seg.handlers.final_validation import FinalValidation
from leaf_seg.handlers.foreground_report import ForegroundReport
from leaf_seg.handlers.html_report import HtmlReport
from leaf_seg.handlers.leakage_report import LeakageReport
from leaf_seg.handlers.lesion_report import LesionReport
from leaf_seg.handlers.model_saver import ModelSaver
from leaf_seg.handlers.noise_stability import NoiseStability
from leaf_seg.handlers.progress import EvaluationProgress, TrainingProgress
from leaf_seg.handlers.ranking_report import RankingReport
from leaf_seg.handlers.rater_report import RaterReport
from leaf_seg.handlers.segmentation_saver import SegmentationSaver
from leaf_seg.handlers.size_report import SizeReport
from leaf_seg.handlers.time_budget import TimeBudget
from leaf_seg.handlers.training_checkpoint import TrainingCheckpoint
from leaf_seg.handlers.training_data_writer import TrainingDataWriter
from leaf_seg.handlers.validation_overlays import ValidationOverlays
from leaf_seg.moved import names_of

if not TYPE_CHECKING:
    __getattr__ = names_of(__name__)

__all__ = [
    "CASES_NAME",
    "RATERS_NAME",
    "REPORT_NAMES",
    "SUMMARY_NAME",
    "AutoencoderSaver",
    "BackgroundSaver",
    "CalibrationReport",
    "CaseReport",
    "ClassDice",
    "CostReport",
    "EarlyStopping",
    "EvaluationProgress",
    "FeatureCacheReport",
    "FinalValidation",
    "ForegroundReport",
    "HtmlReport",
    "LeakageReport",
    "LesionReport",
    "ModelSaver",
    "NoiseStability",
    "RankingReport",
    "RaterReport",
    "SegmentationSaver",
    "SizeReport",
    "TimeBudget",
    "TrainingCheckpoint",
    "TrainingDataWriter",
    "TrainingProgress",
    "ValidationOverlays",
]
