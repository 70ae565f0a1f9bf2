"""Fits on the validation split the temperature of a model's probabilities, and how far its answers can be trusted."""

from __future__ import annotations

import logging
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils import convert_to_tensor
from tqdm import tqdm

from leaf_seg.data.confidence_settings import ConfidenceSettings
from leaf_seg.data.datalists import Datalist, split_cases
from leaf_seg.data.splits import Case
from leaf_seg.image_io.memory import DEFAULT_MEMORY_LIMIT_GB
from leaf_seg.inference.fit_confidence import JudgedCase, fit_confidence, judge
from leaf_seg.inference.model_inferer import inferer_for
from leaf_seg.inference.network_for import network_for
from leaf_seg.metrics import LookAt, expected_calibration_error, negative_log_likelihood, reliability_bins
from leaf_seg.metrics.temperature import fit_temperature
from leaf_seg.runtime.devices import select_device
from leaf_seg.runtime.errors import input_error_in
from leaf_seg.runtime.files import writing
from leaf_seg.runtime.scratch import remove_abandoned, scratch_folder
from leaf_seg.transforms.preprocessing import postprocessing, preprocessing
from leaf_seg.transforms.temperature import tempered
from leaf_seg.weights import check_dataset, load_network, load_settings
from leaf_seg.weights.calibration_record import save_calibration

logger = logging.getLogger(__name__)

_SPLIT = "validation"
_PREFIX = "leaf_seg_calibrate_"
_Kept = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]  # of a case: probabilities, label, what the network saw
_MOST_VALUES = 2**25  # probabilities that the fit holds; of more every n-th voxel is taken


@dataclass(frozen=True)
class CalibrateOptions:
    """How the validation split is segmented.

    Attributes:
        num_samples: hypotheses of an image, whose mean probabilities are calibrated.
        device: "auto", "cuda", "cuda:N", "mps" or "cpu".
        precision: "fp32", "bf16", "fp16" or "auto".
        batch_size: slices at a time.
        memory_limit_gb: gigabytes that reading, scaling and resampling one file may take.
        acceptable_dice: Dice below which a case is a bad one, that should be looked at.
    """

    num_samples: int = 1
    device: str = "auto"
    precision: str = "fp32"
    batch_size: int = 16
    memory_limit_gb: float = DEFAULT_MEMORY_LIMIT_GB
    acceptable_dice: float = 0.7


@dataclass(frozen=True)
class Sureness:
    """How well probabilities fit the truth, lower is better.

    Attributes:
        nll: negative log-likelihood in nats, mean over cases, as an evaluation has it.
        ece: expected calibration error of each structure, by name; None where no voxel is given it.
    """

    nll: float
    ece: dict[str, float | None]


@dataclass(frozen=True)
class Calibration:
    """What was fitted.

    Attributes:
        temperature: T.
        num_cases: of the validation split.
        before: without a temperature.
        after: with it.
        confidence: how far the answers can be trusted, with the temperature.
        look_at: what its threshold does with these cases.
    """

    temperature: float
    num_cases: int
    before: Sureness
    after: Sureness
    confidence: ConfidenceSettings
    look_at: LookAt


def calibrate(
    folder: str | os.PathLike[str], datalist: Datalist, options: CalibrateOptions = CalibrateOptions()
) -> Calibration:
    """Fit temperature, margins of sizes and threshold on the validation cases, at native size, and write them.

    They go into the model's folder; those that it has are replaced. The probabilities of the split lie in a temporary
    folder meanwhile.

    Args:
        folder: of the model.
        datalist: whose validation cases are taken.
        options: how they are segmented.

    Raises:
        InputError: When the folder is no model, the data set has other classes or no validation cases, or a case
            cannot be segmented.
    """
    check_dataset(folder, datalist)
    cases, names = split_cases(datalist, _SPLIT), load_settings(folder).class_names
    parent = Path(tempfile.gettempdir())
    remove_abandoned(parent, _PREFIX)
    with scratch_folder(parent, _PREFIX) as scratch:
        segmented = enumerate(_segmented(folder, cases, options))
        files = [_keep(scratch / str(number), *found) for number, found in segmented]
        temperature = _fitted(files)
        before, after = (_sureness(files, names, value) for value in (1.0, temperature))
        judged = [_judged(file, temperature) for file in files]
    confidence, look_at = fit_confidence(judged, options.acceptable_dice)
    found = Calibration(temperature, len(files), before, after, confidence, look_at)
    save_calibration(folder, temperature, confidence, _record(found, datalist, options))
    return found


def _segmented(folder: str | os.PathLike[str], cases: Sequence[Case], options: CalibrateOptions) -> Iterator[_Kept]:
    """Of each case the probabilities [K, *spatial] without a temperature, and the label [*spatial], as in its file.

    With a spacing also the probabilities in the grid of that, else None.
    """
    settings = replace(load_settings(folder), temperature=1.0)
    device = select_device(options.device)
    network = network_for(load_network(folder), device, options.precision)
    inferer = inferer_for(settings, options.batch_size, options.num_samples, precision=options.precision)
    inferer.check(network, device)
    prepare = preprocessing(settings, "native", memory_limit_gb=options.memory_limit_gb)
    finish = postprocessing(prepare)
    for case in tqdm(cases, desc="Segmenting", unit="case", leave=False):
        try:
            data: dict[str, Any] = prepare(case)
        except RuntimeError as error:  # MONAI wraps what a transform raises
            raise input_error_in(error) or error from None
        with torch.no_grad():
            found: Any = inferer(data["image"][None].to(device), network)
        seen = convert_to_tensor(found, track_meta=False)[0].cpu()
        data = finish({**data, "pred": MetaTensor(seen)})
        maps = [convert_to_tensor(data[key], track_meta=False) for key in ("probabilities", "label")]
        yield maps[0], maps[1][0].to(torch.uint8), None if settings.spacing is None else seen


def _keep(file: Path, probabilities: torch.Tensor, label: torch.Tensor, seen: torch.Tensor | None) -> Path:
    """Write them to files with this beginning."""
    parts = {"p": probabilities.flatten(1), "y": label.flatten()} | ({} if seen is None else {"s": seen.flatten(1)})
    for kind, tensor in parts.items():
        path = _file(file, kind)
        with writing(path, tensor.nbytes):
            np.save(path, tensor.numpy())
    return file


def _kept(file: Path, step: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Every so-many-th voxel of a case: probabilities [K, n] and label [n]."""
    values, label = (np.load(_file(file, kind), mmap_mode="r") for kind in ("p", "y"))
    return torch.from_numpy(np.array(values[:, ::step])), torch.from_numpy(np.array(label[::step]))


def _file(file: Path, kind: str) -> Path:
    return file.with_name(f"{file.name}_{kind}.npy")


def _fitted(files: Sequence[Path]) -> float:
    size = sum(np.load(_file(file, "p"), mmap_mode="r").size for file in files)
    cases = [_kept(file, math.ceil(size / _MOST_VALUES)) for file in files]
    return fit_temperature([values for values, _ in cases], [label for _, label in cases])


def _sureness(files: Sequence[Path], names: Sequence[str], temperature: float) -> Sureness:
    nll, bins = [], []
    for file in files:
        values, label = _kept(file)
        values = tempered(values, temperature)
        nll.append(negative_log_likelihood(values, label))
        bins.append(reliability_bins(values, label))
    errors = [expected_calibration_error(of_class) for of_class in np.sum(bins, axis=0)]
    ece = {name: None if math.isnan(error) else error for name, error in zip(names, errors, strict=True)}
    return Sureness(sum(nll) / len(nll), {name: ece[name] for name in names[1:]})


def _judged(file: Path, temperature: float) -> JudgedCase:
    seen = _file(file, "s")
    return judge(*_kept(file), temperature, torch.from_numpy(np.load(seen)) if seen.is_file() else None)


def _record(found: Calibration, datalist: Datalist, options: CalibrateOptions) -> dict[str, Any]:
    """What is kept of it beside the temperature."""
    values = asdict(found)
    del values["confidence"]  # which is among the settings
    return {**values, "split": _SPLIT, "datalist_sha256": datalist.sha256, "num_samples": options.num_samples}
