"""The command ``python -m leaf_seg calibrate``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from leaf_seg.dataset_check.command_line import add_data_options
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.setting_bounds import SETTINGS, TEMPERATURE
from leaf_seg.runtime.text import aligned

if TYPE_CHECKING:
    from leaf_seg.inference.calibrate import Calibration

_DATA = ("split_file", "fold", "modality", "datalist_file", "group_regex", "group_file")


def add_calibrate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``python -m leaf_seg``."""
    calibrate = commands.add_parser(
        "calibrate",
        help="fit on the validation split how sure a model's answers are",
        description="Fit on the validation split one temperature, so that probabilities are as sure as they are right, "
        "the margin of each structure's size, and below which confidence somebody should look at a case; keep them in "
        "the model's folder. No label changes with them. Keys of the data are those of training.",
    )
    calibrate.add_argument("model", help="folder with config.json and weights, in which they are kept")
    add_data_options(calibrate)
    calibrate.add_argument("--seed", type=int, default=0, help="of a split that is made (without: 0)")
    calibrate.add_argument("--num_samples", type=int, default=1, help="hypotheses, as they are to be used (without: 1)")
    calibrate.add_argument(
        "--acceptable_dice", type=float, default=0.7, help="Dice below which a case should be looked at (without: 0.7)"
    )
    calibrate.add_argument("--device", default="auto", help="auto, cuda, cuda:N, mps or cpu")
    calibrate.add_argument("--precision", default="fp32", help="fp32, bf16, fp16, or auto: the fastest that pays")
    calibrate.add_argument("--batch_size", type=int, default=16, help="slices at a time")
    calibrate.set_defaults(command=_calibrate)


def _calibrate(options: argparse.Namespace) -> None:
    how = ("num_samples", "precision", "batch_size", "memory_limit_gb", "acceptable_dice")
    for key in (*_DATA, "seed", *how):
        if getattr(options, key) is not None:
            SETTINGS[key].check(getattr(options, key), f"--{key}")

    from leaf_seg.data import load_datalist
    from leaf_seg.inference.calibrate import CalibrateOptions, calibrate
    from leaf_seg.weights import load_settings
    from leaf_seg.weights.mlflow_source import is_mlflow_model

    if is_mlflow_model(options.model):
        raise InputError(
            f"The model is {options.model}; expected a folder, in which what is found is kept: that of the training."
        )
    datalist = load_datalist(options.dataset, seed=options.seed, **{key: getattr(options, key) for key in _DATA})
    chosen = CalibrateOptions(device=options.device, **{key: getattr(options, key) for key in how})
    found = calibrate(options.model, datalist, chosen)
    names = load_settings(options.model).class_names[1:]
    print("\n".join([_as_text(found, options.model), *_confidence_lines(found, names)]))  # noqa: T201


def _as_text(found: Calibration, model: str) -> str:
    """What was fitted, as lines for the terminal."""
    before, after = found.before, found.after
    rows = [("", "without", f"T = {found.temperature:g}"), ("NLL", f"{before.nll:.5f}", f"{after.nll:.5f}")]
    rows += [(f"ECE, {name}", _shown(value), _shown(after.ece[name])) for name, value in before.ece.items()]
    first = f"Temperature {found.temperature:g}, fitted on {found.num_cases} validation cases; kept in {model}."
    is_at_end = not 1.01 * TEMPERATURE.low < found.temperature < TEMPERATURE.high / 1.01
    end = "That is as far as is tried: these cases say little of how sure the model should be."
    return "\n".join([first, aligned(rows), *([end] if is_at_end else [])])


def _confidence_lines(found: Calibration, names: Sequence[str]) -> list[str]:
    """What was found of sizes and of cases to look at."""
    margins, look_at = found.confidence.size_margins, found.look_at
    if margins is None:
        sizes = f"Sizes get no 90 % intervals: these need 9 validation cases, and there are {found.num_cases}."
    else:
        factors = [f"{name} {math.exp(margin):.2f}" for name, margin in zip(names, margins, strict=True)]
        sizes = f"Sizes, 90 % intervals: true and predicted differ by these factors at most: {', '.join(factors)}."
    acceptable = f"a Dice below {found.confidence.acceptable_dice:g}"
    flagged = f"{look_at.flagged} of {look_at.n} validation cases"
    if look_at.bad:
        why = f"and {look_at.caught} of the {look_at.bad} with {acceptable}"
    else:
        why = f"the lowest tenth, as none has {acceptable}"
    return [sizes, f"Look at cases with an expected Dice of {look_at.threshold:.4f} or less: {flagged}, {why}."]


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
