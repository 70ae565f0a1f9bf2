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
from leaf_seg.metrics import agreement
from leaf_seg.runtime.errors import InputError
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
_MAX_HYPOTHESES = 100


class AgreementScoring(ScoringMethod):
    """Segments images without a label several times, mirrored and from different noise, and keeps what that tells.

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
        waiting = unscored(datastore, version)
        failed = 0
        for image in waiting[:max_samples]:
            file = datastore.get_image_uri(image)
            before = _state(file)
            try:
                scores = _scores(segmenter, file, hypotheses)
            except InputError as error:
                failed += 1
                logger.warning("Left out: %s", error)
                scores = {}
            if before is None or _state(file) != before:
                failed += bool(scores)
                logger.warning("Left out: %s was deleted or uploaded again meanwhile", image)
                continue
            try:
                datastore.update_image_info(image, {**scores, SCORED_BY: version})
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
    """Images without a label that this version has not scored, or a former version of this app with fewer scores."""
    images = sorted(datastore.get_unlabeled_images())
    return [image for image in images if not _is_scored(datastore.get_image_info(image), version)]


def _is_scored(info: Mapping[str, Any], version: str) -> bool:
    """Whether it has all scores of this version, or none because it cannot be read."""
    return info.get(SCORED_BY) == version and len(SCORES.keys() & info.keys()) in (0, len(SCORES))


def _state(file: str) -> tuple[int, int] | None:
    """What differs when another file has taken its place; None where there is none."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _mirrorings(ndim: int) -> list[tuple[int, ...]]:
    """Every choice of axes, none and single ones first."""
    return [axes for number in range(ndim + 1) for axes in combinations(range(ndim), number)]


def _scores(segmenter: Segmenter, image: str, hypotheses: int) -> dict[str, float]:
    seeds = segmenter.network.noise_seeds(hypotheses)
    answers = [segmenter(image, noise_seed=seeds[0])]
    mirrored = cycle(_mirrorings(answers[0].label.ndim))
    next(mirrored)  # as it is
    answers += [segmenter(image, noise_seed=seed, mirrored=next(mirrored)) for seed in seeds[1:]]
    expected = float(np.mean([list(answer.expected_dice.values()) for answer in answers]))
    found = agreement([answer.probabilities for answer in answers])
    return dict(zip(SCORES, (1 - expected, found.entropy, found.variance, 1 - found.dice), strict=True))
