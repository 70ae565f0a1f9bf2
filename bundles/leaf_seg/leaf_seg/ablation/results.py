"""What the evaluations of an ablation found, read from their files and summarised."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leaf_seg.handlers import CASES_NAME, SUMMARY_NAME
from leaf_seg.metrics import Interval, bootstrap_interval
from leaf_seg.runtime.errors import InputError
from leaf_seg.tracking.run_folder import LOSSES_NAME, METRICS_NAME


@dataclass(frozen=True)
class RunResult:
    """One training and its evaluation.

    Attributes:
        dice: mean foreground Dice of each case, by name.
        iou: the same of the IoU.
        noise_std: standard deviation of the mean Dice over noise seeds; nan where it was not measured.
        split: data split of the evaluation.
        dataset_sha256: hash of the data split that was trained on.
        steps: training steps.
        minutes: of training, validations included.
    """

    dice: dict[str, float]
    iou: dict[str, float]
    noise_std: float
    split: str
    dataset_sha256: str | None
    steps: int
    minutes: float


@dataclass(frozen=True)
class RowResult:
    """The trainings of one row with all seeds.

    Attributes:
        dice: mean Dice, with an interval over cases, each averaged over the training seeds first.
        iou: the same of the IoU.
        noise_std: standard deviation over noise seeds, mean over the training seeds.
        training_std: standard deviation (ddof = 1) over the training seeds of the mean Dice; nan for one.
        seeds: training seeds.
        steps: training steps, mean over the training seeds.
        minutes: of training, mean over the training seeds.
    """

    dice: Interval
    iou: Interval
    noise_std: float
    training_std: float
    seeds: tuple[int, ...]
    steps: float
    minutes: float


def read_run(folder: Path) -> RunResult:
    """Read what training and evaluation left in a folder.

    Args:
        folder: model folder, evaluated on the test split.
    """
    report = folder / "evaluation" / "testing"
    summary = json.loads((report / SUMMARY_NAME).read_text())
    with (report / CASES_NAME).open(newline="") as file:
        rows = list(csv.DictReader(file))
    noise = summary.get("noise_stability")
    steps, seconds = _length(folder)
    return RunResult(
        dice=_foreground(rows, "dice"),
        iou=_foreground(rows, "iou"),
        noise_std=noise["mean_foreground"]["dice"]["std"] if noise else math.nan,
        split=summary["split"],
        dataset_sha256=json.loads((folder / "config.json").read_text()).get("training", {}).get("datalist_sha256"),
        steps=steps,
        minutes=seconds / 60,
    )


def summarize_row(runs: Mapping[int, RunResult]) -> RowResult:
    """Summarise the trainings of a row.

    Args:
        runs: by training seed, at least one.

    Raises:
        InputError: When they were not evaluated on the same cases.
    """
    first = next(iter(runs.values()))
    if any(run.dice.keys() != first.dice.keys() for run in runs.values()):
        raise InputError(
            "The trainings of one row were evaluated on different cases: the split changed between them. Restore it, "
            "or choose another --output_dir."
        )
    means = [np.mean(list(run.dice.values())) for run in runs.values()]
    return RowResult(
        dice=_interval([run.dice for run in runs.values()]),
        iou=_interval([run.iou for run in runs.values()]),
        noise_std=float(np.mean([run.noise_std for run in runs.values()])),
        training_std=float(np.std(means, ddof=1)) if len(means) > 1 else math.nan,
        seeds=tuple(runs),
        steps=float(np.mean([run.steps for run in runs.values()])),
        minutes=float(np.mean([run.minutes for run in runs.values()])),
    )


def _interval(runs: Sequence[Mapping[str, float]]) -> Interval:
    """Interval over cases, after the mean over runs of each case."""
    return bootstrap_interval([float(np.mean([run[case] for run in runs])) for case in runs[0]])


def _foreground(rows: Sequence[Mapping[str, str]], metric: str) -> dict[str, float]:
    """Mean over the classes of each case."""
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row["case"], []).append(float(row[metric]))
    return {case: float(np.mean(v)) for case, v in values.items()}


def _length(folder: Path) -> tuple[int, float]:
    """Steps and seconds of a training, validations included, over all its sessions."""
    rows = []
    for name in (LOSSES_NAME, METRICS_NAME):
        with (folder / name).open(newline="") as file:
            rows.append(list(csv.DictReader(file))[-1])
    return int(rows[0]["step"]), max(float(row["seconds"]) for row in rows)
