"""Evaluates again with other initial noise, to see what a result owes to it."""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator
from monai.utils import convert_to_tensor

from leaf_seg.handlers.case_report import add_to_summary
from leaf_seg.inference import SegmentationInferer
from leaf_seg.metrics import class_dice, mask_similarity, noise_stability, summarize_similarity
from leaf_seg.networks import SavedNetwork
from leaf_seg.runtime.distributed import gathered, is_rank_zero
from leaf_seg.runtime.errors import InputError

logger = logging.getLogger(__name__)


class NoiseStability:
    """Ignite handler that adds "noise_stability" to ``metrics_summary.json``: Dice with each of several noise seeds.

    Under "similarity" stands how much the label maps of the further seeds look like those of the first, which are held
    packed. It comes after :class:`~leaf_seg.handlers.CaseReport`, which writes that file. When the engine has
    completed, the split is segmented once for each of the seeds noise_seed, noise_seed + 1, ...; the engine's own
    results stay.

    Args:
        evaluator: one that decollates and segments the same cases, with one hypothesis; its outputs hold "pred" and
            "label" as class indices [1, *spatial] in one grid.
        inferer: the evaluator's, whose noise seed is exchanged.
        network: the evaluator's, which says its noise seeds.
        num_seeds: number of noise seeds, at least 2.
        class_names: K names, background first.
        output_dir: folder of ``metrics_summary.json``.

    Raises:
        InputError: When the number of seeds is unfit, or the network draws no noise.
    """

    def __init__(
        self,
        evaluator: SupervisedEvaluator,
        inferer: SegmentationInferer,
        network: SavedNetwork,
        num_seeds: int,
        class_names: Sequence[str],
        output_dir: str | os.PathLike[str],
    ) -> None:
        if not isinstance(num_seeds, int) or num_seeds < 2:
            raise InputError(f"num_noise_seeds is {num_seeds!r}; expected a whole number, 1 (no such test) or more.")
        self.evaluator = evaluator
        self.inferer = inferer
        self.seeds = network.noise_seeds(num_seeds)
        self.class_names = list(class_names)
        self.folder = Path(output_dir)
        self._dice: list[list[float]] = []  # of each case, by class
        self._seed = self.seeds[0]
        self._first: list[bytes] = []  # packed label maps of each case, with the first seed
        self._similarity: list[dict[str, list[float]]] = []  # of each case and further seed, by class
        evaluator.add_event_handler(Events.ITERATION_COMPLETED, self._measure)

    def attach(self, engine: Engine) -> None:
        """Register with the evaluator whose report is added to."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self) -> None:
        """Segment with each noise seed and add the result to the summary."""
        self._first, self._similarity = [], []
        dice = {seed: self._evaluate(seed) for seed in self.seeds}
        self._similarity = gathered(self._similarity)
        if is_rank_zero():
            self._write(dice)

    def _write(self, dice: dict[int, list[list[float]]]) -> None:
        stability = noise_stability(dice, self.class_names[1:])
        stability["similarity"] = summarize_similarity(self._similarity, self.class_names[1:])
        add_to_summary(self.folder, {"noise_stability": stability})
        foreground = stability["mean_foreground"]["dice"]
        logger.info(
            "Dice over %d noise seeds: mean %.4f, standard deviation %.5f",
            len(self.seeds),
            foreground["mean"],
            foreground["std"],
        )

    def _evaluate(self, seed: int) -> list[list[float]]:
        """Dice of every case, of all processes, and foreground class with the noise of one seed."""
        self._dice, self._seed = [], seed
        self.inferer.noise_seed = seed
        self.evaluator.run()
        return gathered(self._dice)

    def _measure(self, engine: Engine) -> None:
        for item in cast(list[Any], engine.state.output):
            pred, number = convert_to_tensor(item["pred"][0], device="cpu", track_meta=False), len(self._dice)
            self._dice.append(class_dice(pred, item["label"][0], len(self.class_names)))
            if self._seed == self.seeds[0]:
                self._first.append(_packed(pred))
            else:
                first = _unpacked(self._first[number], pred.shape)
                self._similarity.append(mask_similarity(pred, first, len(self.class_names)))


def _packed(label: torch.Tensor) -> bytes:
    return zlib.compress(label.to(torch.uint8).numpy().tobytes(), level=1)


def _unpacked(packed: bytes, shape: Sequence[int]) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(zlib.decompress(packed), dtype=np.uint8).reshape(shape).copy())
