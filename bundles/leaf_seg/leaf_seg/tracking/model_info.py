"""What a model folder holds, for people and for programs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from leaf_seg.dataset_check.training_data import training_data
from leaf_seg.handlers.case_report import SUMMARY_NAME
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import aligned, one_line
from leaf_seg.tracking.manifest import read_manifest
from leaf_seg.tracking.run_folder import EVALUATION_NAME
from leaf_seg.weights.model_config import checksum, read_model

_TOLD = ("leaf_seg", "torch", "monai", "diffusers", "python")  # of the versions


def model_info(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Describe a model folder, plain values for JSON. The weights are read for their checksum only.

    Args:
        folder: with ``config.json`` and weights, as training leaves it.

    Raises:
        InputError: When it holds no model, or files of it are damaged.
    """
    path = Path(folder)
    config, weights = read_model(path)
    network, settings, training = config["network"], config["settings"], config.get("training", {})
    known = training_data(path, training.get("datalist_sha256"))
    manifest = read_manifest(path)
    sessions = manifest["sessions"] if manifest else []
    return {
        "folder": str(path.resolve()),
        "class_names": list(settings["class_names"]),
        "method": _method(network),
        "settings": {key: value for key, value in settings.items() if key != "class_names"},
        "training": training,
        "training_cases": None if known is None else known.num_cases,
        "metrics": _metrics(path),
        "weights": {"file": weights.name, "bytes": weights.stat().st_size, "sha256": checksum(weights)},
        "versions": sessions[-1].get("versions", {}) if sessions else {},
    }


def _method(network: dict[str, Any]) -> dict[str, Any]:
    """The parts of a network by their classes, and what it predicts."""
    parts = {
        name: part["_class_name"] for name, part in network.items() if isinstance(part, dict) and "_class_name" in part
    }
    diffusion = network.get("diffusion") or {}
    predicts = {"parameterization": diffusion["parameterization"]} if "parameterization" in diffusion else {}
    return {"network": network.get("_class_name", "unknown"), **parts, **predicts}


def _metrics(folder: Path) -> dict[str, Any]:
    """Mean foreground metrics of the evaluations in a model's folder, by split."""
    found = {}
    for file in sorted((folder / EVALUATION_NAME).glob(f"*/{SUMMARY_NAME}")):
        try:
            summary = json.loads(file.read_text())
            means = {name: value["mean"] for name, value in summary["mean_foreground"].items()}
            found[file.parent.name] = {"n": summary["n"], **means}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{file} is no summary of an evaluation ({one_line(error)}); remove it.") from error
    return found


def as_text(info: dict[str, Any]) -> str:
    """The description as lines for the terminal."""
    settings, training, weights = info["settings"], info["training"], info["weights"]
    cases = info["training_cases"]
    rows = [
        ("folder", info["folder"]),
        ("classes", ", ".join(info["class_names"])),
        ("method", ", ".join(f"{name} {value}" for name, value in info["method"].items())),
        ("image_size", "{} x {}".format(*settings["image_size"])),
        *((key, _shown(value)) for key, value in settings.items() if key != "image_size"),
        ("trained on", "not known" if cases is None else ", ".join(f"{n} {split}" for split, n in cases.items())),
        *((f"training: {key}", _shown(value)) for key, value in training.items()),
        *((f"metrics, {split}", _metric_line(metrics)) for split, metrics in info["metrics"].items()),
        ("weights", f"{weights['file']}, {weights['bytes'] / 1e6:.1f} MB, SHA-256 {weights['sha256']}"),
        ("versions", ", ".join(f"{k} {v}" for k, v in info["versions"].items() if k in _TOLD) or "not known"),
    ]
    return aligned([(name, one_line(value)) for name, value in rows])


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "none" if value is None else str(value)


def _metric_line(metrics: dict[str, Any]) -> str:
    numbers = (f"{name} {value:.3f}" for name, value in metrics.items() if name != "n" and value is not None)
    return f"n = {metrics['n']}: {', '.join(numbers)}"
