"""How sure the model is of the images that have no label yet."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from itertools import combinations, cycle
from typing import Any

import numpy as np
from fastapi import HTTPException
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.scoring import ScoringMethod

from leaf_seg import Segmenter
from leaf_seg.data import ModelSettings
from leaf_seg.data.slicing import slice_axis
from leaf_seg.metrics import agreement
from leaf_seg.runtime.errors import InputError
from leaf_seg.weights.model_folder import training_record
from lib import options
from lib.versions import ModelVersions

logger = logging.getLogger(__name__)

# Kept with each image in the datastore; MONAI Label's Epistemic strategy takes the highest first.
SCORES = {
    "expected_error": "one minus the Dice that the model expects of its answer, by its own probabilities",
    "epistemic_entropy": "entropy of the mean of several hypotheses",
    "epistemic_variance": "variance over several hypotheses",
    "epistemic_disagreement": "one minus the predicted Dice, the mean Dice between two hypotheses",
}
SCORED_BY = "scored_by"  # version of the model
SCORED_FOR = "scored_for"  # the scores that were tried
_MAX_HYPOTHESES = 100


class AgreementScoring(ScoringMethod):
    """Segments images without a label several times, and keeps what that tells of the model's sureness.

    The answers come from different noise, and from mirror images where the model has seen such in training.

    All of :data:`SCORES` come from the same hypotheses, so whichever method runs keeps them all. An image is scored
    once by each version of the model.

    Args:
        versions: models of the server.
        description: what the score is, for clients.
        max_samples: greatest number of images in one run.
        hypotheses: of each image.
    """

    def __init__(self, versions: ModelVersions, description: str, max_samples: int = 20, hypotheses: int = 3) -> None:
        super().__init__(description)
        self.versions = versions
        self.max_samples = max_samples
        self.hypotheses = hypotheses

    def check(self, request: Mapping[str, Any]) -> tuple[int, int, str]:
        """Number of images and of hypotheses, and the device.

        Raises:
            InputError: For values that do not fit, and when there is no model yet.
        """
        if self.versions.served() is None:
            raise InputError("There is no model to score with: train one first.")
        options.refuse_unknown(request, ("max_samples", "hypotheses", "device", *SCORES))
        return (
            options.whole_number(request, "max_samples", self.max_samples, 1, 1_000_000),
            options.whole_number(request, "hypotheses", self.hypotheses, 2, _MAX_HYPOTHESES),
            options.device(request),
        )

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Score.

        Returns:
            Numbers of images without a label, scored before, scored now and left out (unreadable, deleted or uploaded
            again meanwhile), and the seconds.
        """
        started = time.monotonic()
        max_samples, hypotheses, device = self.check(request)
        version = self.versions.served()
        assert version is not None  # checked
        segmenter = self.versions.segmenter(version, device)
        training = training_record(self.versions.folder(version))
        waiting = unscored(datastore, version)
        failed = 0
        for image in waiting[:max_samples]:
            file = datastore.get_image_uri(image)
            before = _state(file)
            try:
                scores = _scores(segmenter, file, hypotheses, training)
            except InputError as error:
                failed += 1
                logger.warning("Left out: %s", error)
                scores = {}
            if before is None or _state(file) != before:
                failed += bool(scores)
                logger.warning("Left out: %s was deleted or uploaded again meanwhile", image)
                continue
            try:
                datastore.update_image_info(image, {**scores, SCORED_BY: version, SCORED_FOR: list(SCORES)})
            except HTTPException as error:  # deleted at this moment
                failed += bool(scores)
                logger.warning("Left out: %s", error.detail)
        total = len(datastore.get_unlabeled_images())
        return {
            "total": total,
            "skipped": total - len(waiting),
            "executed": min(len(waiting), max_samples) - failed,
            "failed": failed,
            "latency": round(time.monotonic() - started, 2),
        }


def unscored(datastore: Datastore, version: str) -> list[str]:
    """Images without a label that this version has not scored, or only by a former set of scores."""
    images = sorted(datastore.get_unlabeled_images())
    return [image for image in images if _scored_by(datastore.get_image_info(image)) != (version, list(SCORES))]


def _scored_by(info: Mapping[str, Any]) -> tuple[Any, Any]:
    return info.get(SCORED_BY), info.get(SCORED_FOR)


def _state(file: str) -> tuple[int, int] | None:
    """What differs when another file has taken its place; None where there is none."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def mirrorings(training: Mapping[str, Any], settings: ModelSettings, ndim: int) -> list[tuple[int, ...]]:
    """Choices of axes of an image along which a model has seen mirror images in training, none and single ones first.

    Others would tell nothing: what is left in a mirror image may be another structure, or new to the model.

    Args:
        training: record of the model's training; models of version 0.2 have no "flip_probability" there.
        settings: of the model.
        ndim: 2 for pictures, 3 for volumes.
    """
    probability = training.get("flip_probability", ())
    axes = list(range(ndim))
    if len(probability) == 2 and ndim == 3:  # the axes of the slices
        axes = [axis for axis in axes if axis != slice_axis(settings.axis)] if isinstance(settings.axis, str) else []
    elif len(probability) != ndim:
        axes = []
    seen = [axis for axis, share in zip(axes, probability, strict=False) if share > 0]
    return [chosen for number in range(len(seen) + 1) for chosen in combinations(seen, number)]


def _scores(segmenter: Segmenter, image: str, hypotheses: int, training: Mapping[str, Any]) -> dict[str, float]:
    seeds = segmenter.network.noise_seeds(hypotheses)
    answers = [segmenter(image, noise_seed=seeds[0])]
    mirrored = cycle(mirrorings(training, segmenter.settings, answers[0].label.ndim))
    next(mirrored)  # as it is
    answers += [segmenter(image, noise_seed=seed, mirrored=next(mirrored)) for seed in seeds[1:]]
    expected = float(np.mean(list(answers[0].expected_dice.values())))
    found = agreement([answer.probabilities for answer in answers])
    return dict(zip(SCORES, (1 - expected, found.entropy, found.variance, 1 - found.dice), strict=True))
