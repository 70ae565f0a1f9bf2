"""Engines: trainer and evaluator on MONAI's, and what they need at each step."""

from leaf_seg.engines.ema import WeightAverage, trainable_parameters
from leaf_seg.engines.evaluator import LeafEvaluator
from leaf_seg.engines.prepare_batch import PrepareDenoising, PrepareImage, PrepareSegmentation
from leaf_seg.engines.random_state import random_state, set_random_state
from leaf_seg.engines.trainer import LeafTrainer, TrainingEvents
from leaf_seg.engines.training_state import Stateful, training_state

__all__ = [
    "LeafEvaluator",
    "LeafTrainer",
    "PrepareDenoising",
    "PrepareImage",
    "PrepareSegmentation",
    "Stateful",
    "TrainingEvents",
    "WeightAverage",
    "random_state",
    "set_random_state",
    "trainable_parameters",
    "training_state",
]
