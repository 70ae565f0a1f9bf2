"""Engines: trainer and evaluator on MONAI's, and what they need at each step."""

from typing import TYPE_CHECKING

from leaf_seg.engines.budget import Budget
from leaf_seg.engines.ema import WeightAverage, trainable_parameters
from leaf_seg.engines.evaluator import BundleEvaluator
from leaf_seg.engines.events import TrainingEvents
from leaf_seg.engines.parameter_groups import parameter_groups
from leaf_seg.engines.prepare_batch import (
    PrepareDenoisingBatch,
    PrepareImageBatch,
    PreparePosteriorBatch,
    PrepareSegmentationBatch,
)
from leaf_seg.engines.prepare_class_batch import PrepareClassBatch
from leaf_seg.engines.random_state import random_state, set_random_state
from leaf_seg.engines.share_of_steps import ShareOfSteps
from leaf_seg.engines.step_losses import StepLosses, StepRecord
from leaf_seg.engines.tolerant_evaluator import TolerantEvaluator
from leaf_seg.engines.trainer import BundleTrainer
from leaf_seg.engines.training_state import Stateful, training_state
from leaf_seg.moved import names_of

if not TYPE_CHECKING:
    __getattr__ = names_of(__name__)

__all__ = [
    "Budget",
    "BundleEvaluator",
    "BundleTrainer",
    "PrepareClassBatch",
    "PrepareDenoisingBatch",
    "PrepareImageBatch",
    "PreparePosteriorBatch",
    "PrepareSegmentationBatch",
    "ShareOfSteps",
    "Stateful",
    "StepLosses",
    "StepRecord",
    "TolerantEvaluator",
    "TrainingEvents",
    "WeightAverage",
    "parameter_groups",
    "random_state",
    "set_random_state",
    "trainable_parameters",
    "training_state",
]
