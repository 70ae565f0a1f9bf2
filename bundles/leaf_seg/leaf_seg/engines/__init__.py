"""Engines: trainer and evaluator on MONAI's, and what they need at each step."""

from leaf_seg.engines.ema import WeightAverage, trainable_parameters
from leaf_seg.engines.evaluator import LeafEvaluator
from leaf_seg.engines.prepare_batch import PrepareDenoising, PrepareImage, PrepareSegmentation
from leaf_seg.engines.trainer import LeafTrainer

__all__ = [
    "LeafEvaluator",
    "LeafTrainer",
    "PrepareDenoising",
    "PrepareImage",
    "PrepareSegmentation",
    "WeightAverage",
    "trainable_parameters",
]
