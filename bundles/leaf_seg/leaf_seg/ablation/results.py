"""What the evaluations of an ablation found, read from their files and summarised."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from leaf_seg.ablation.state import read_state
from leaf_seg.handlers import CASES_NAME, RATERS_NAME, SUMMARY_NAME
from leaf_seg.metrics import Interval, bootstrap_interval
from leaf_seg.metrics.summary import mean_defined
from leaf_seg.runtime.errors import InputError
from leaf_seg.tracking.run_folder import LOSSES_NAME, METRICS_NAME


@dataclass(frozen=True)
class RunResult:
    """One training and its evaluation.

    Attributes:
        dice: mean foreground Dice of each case, by name.
        iou: the same of the IoU.
        hd95: the same of the HD95; nan where no class has one.
        noise_std: standard deviation of the mean Dice over noise seeds; nan where it was not measured.
        ged: generalised energy distance of the hypotheses to the raters, mean over the foreground classes of each case
            that has raters, by name.
        hm_iou: the same of the Hungarian-matched IoU.
        hypotheses: of each case, where there are raters; otherwise nan.
        ece: expected calibration error, mean over the foreground classes; nan where none is defined.
        seconds_per_case: of the network and its inferer, median over the cases.
        parameters: of the network.
        denoising_steps: of an answer; nan where the network takes none.
        split: data split of the evaluation.
        dataset_sha256: hash of the data split that was trained on.
        steps: training steps.
        minutes: of training, validations included.
        cpu_minutes: CPU time of the training command.
        stage_cpu_minutes: CPU time of the trainings before it, and of an ensemble's further members.
    """

    dice: dict[str, float]
    iou: dict[str, float]
    hd95: dict[str, float]
    ged: dict[str, float]
    hm_iou: dict[str, float]
    hypotheses: float
    noise_std: float
    ece: float
    seconds_per_case: float
    parameters: int
    denoising_steps: float
    split: str
    dataset_sha256: str | None
    steps: int
    minutes: float
    cpu_minutes: float
    stage_cpu_minutes: float


@dataclass(frozen=True)
class RowResult:
    """The trainings of one row with all seeds; what is not said otherwise is the mean over them.

    Attributes:
        dice: mean Dice, with an interval over cases, each averaged over the training seeds first.
        iou: the same of the IoU.
        hd95: the same of the HD95, of the cases that have one with every training seed.
        ged: the same of the generalised energy distance, of the cases that have raters.
        hm_iou: the same of the Hungarian-matched IoU.
        noise_std: standard deviation over noise seeds.
        training_std: standard deviation (ddof = 1) over the training seeds of the mean Dice; nan for one.
        seeds: training seeds.
        ece: as of :class:`RunResult`, as are those that follow.
    """

    dice: Interval
    iou: Interval
    hd95: Interval
    ged: Interval
    hm_iou: Interval
    hypotheses: float
    noise_std: float
    training_std: float
    seeds: tuple[int, ...]
    ece: float
    seconds_per_case: float
    parameters: float
    denoising_steps: float
    steps: float
    minutes: float
    cpu_minutes: float
    stage_cpu_minutes: float


def read_run(folder: Path, split: str = "testing", stages: Sequence[Path] = ()) -> RunResult:
    """Read what training and evaluation left in a folder.

    Args:
        folder: model folder, evaluated on the split.
        split: data split of the evaluation.
        stages: folders of the trainings before it, and of an ensemble's further members.
    """
    report = folder / "evaluation" / split
    summary = json.loads((report / SUMMARY_NAME).read_text())
    rows = _rows(report / CASES_NAME)
    rated = _rows(report / RATERS_NAME) if "raters" in summary else []
    noise = summary.get("noise_stability")
    config = json.loads((folder / "config.json").read_text())
    steps, seconds = _length(folder)
    classes = summary["calibration"]["classes"].values()
    return RunResult(
        dice=_foreground(rows, "dice"),
        iou=_foreground(rows, "iou"),
        hd95=_foreground(rows, "hd95"),
        ged=_foreground(rated, "ged"),
        hm_iou=_foreground(rated, "hm_iou"),
        hypotheses=max((float(row["hypotheses"]) for row in rated), default=math.nan),
        noise_std=noise["mean_foreground"]["dice"]["std"] if noise else math.nan,
        ece=mean_defined([_number(values["ece"]["mean"]) for values in classes]),
        seconds_per_case=summary["cost"]["seconds_per_case"],
        parameters=summary["cost"]["parameters"],
        denoising_steps=_denoising_steps(config["network"]),
        split=summary["split"],
        dataset_sha256=config.get("training", {}).get("datalist_sha256"),
        steps=steps,
        minutes=seconds / 60,
        cpu_minutes=_cpu_minutes(folder),
        stage_cpu_minutes=sum(map(_cpu_minutes, stages)),
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

    def mean(of: Callable[[RunResult], float]) -> float:
        return float(np.mean([of(run) for run in runs.values()]))

    return RowResult(
        dice=_interval([run.dice for run in runs.values()]),
        iou=_interval([run.iou for run in runs.values()]),
        hd95=_interval([run.hd95 for run in runs.values()]),
        ged=_interval([run.ged for run in runs.values()]),
        hm_iou=_interval([run.hm_iou for run in runs.values()]),
        hypotheses=mean(lambda run: run.hypotheses),
        noise_std=mean(lambda run: run.noise_std),
        training_std=float(np.std(means, ddof=1)) if len(means) > 1 else math.nan,
        seeds=tuple(runs),
        ece=mean(lambda run: run.ece),
        seconds_per_case=mean(lambda run: run.seconds_per_case),
        parameters=mean(lambda run: run.parameters),
        denoising_steps=mean(lambda run: run.denoising_steps),
        steps=mean(lambda run: run.steps),
        minutes=mean(lambda run: run.minutes),
        cpu_minutes=mean(lambda run: run.cpu_minutes),
        stage_cpu_minutes=mean(lambda run: run.stage_cpu_minutes),
    )


def _interval(runs: Sequence[Mapping[str, float]]) -> Interval:
    """Interval over cases, after the mean over runs of each case."""
    return bootstrap_interval([float(np.mean([run[case] for run in runs])) for case in runs[0]])


def _foreground(rows: Sequence[Mapping[str, str]], metric: str) -> dict[str, float]:
    """Mean over the classes of each case; what is undefined, an empty cell, is left out."""
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row["case"], []).append(_number(row[metric] or None))
    return {case: mean_defined(v) for case, v in values.items()}


def _rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _denoising_steps(network: Mapping[str, Any]) -> float:
    """Denoising steps of an answer, by the description of the network in ``config.json``."""
    if "sampler" in network:
        return float(network["sampler"].get("num_steps", 1))
    return _number(network.get("num_steps"))


def _cpu_minutes(folder: Path) -> float:
    state = read_state(folder)
    return math.nan if state is None else state.cpu_seconds / 60


def _length(folder: Path) -> tuple[int, float]:
    """Steps and seconds of a training, validations included, over all its sessions."""
    rows = []
    for name in (LOSSES_NAME, METRICS_NAME):
        rows.append(_rows(folder / name)[-1])
    return int(rows[0]["step"]), max(float(row["seconds"]) for row in rows)
