"""Where the modules and names of version 0.1 are now.

A program or a saved config that still uses one of them ends with an error that says the new name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import NoReturn

MODULES = {
    "leaf_seg.augmentation": "leaf_seg.transforms (RandMirrord: RandMirror)",
    "leaf_seg.data.files": "leaf_seg.image_io and leaf_seg.runtime.files",
    "leaf_seg.devices": "leaf_seg.runtime.devices",
    "leaf_seg.diffusion.parameterization": "leaf_seg.diffusion.schedule (methods of NoiseSchedule)",
    "leaf_seg.errors": "leaf_seg.runtime.errors (check_number: leaf_seg.runtime.values)",
    "leaf_seg.figures": "leaf_seg.visual",
    "leaf_seg.handlers.case_overlay": "leaf_seg.visual",
    "leaf_seg.inferers": "leaf_seg.inference (SegmentationMaps: Answers)",
    "leaf_seg.json_file": "leaf_seg.runtime.json_file",
    "leaf_seg.monai_label": "leaf_seg.transforms (LabelMapd: ToLabelMap)",
    "leaf_seg.overrides": "leaf_seg.runtime.overrides (parse_bool: leaf_seg.runtime.values)",
    "leaf_seg.precision": "leaf_seg.runtime.precision",
    "leaf_seg.reliability": "leaf_seg.visual",
    "leaf_seg.segmenter": "leaf_seg (load, Segmenter, Segmentation)",
    "leaf_seg.settings": "leaf_seg.data (ModelSettings)",
    "leaf_seg.termination": "leaf_seg.runtime.termination",
    "leaf_seg.text_table": "leaf_seg.runtime.text",
    "leaf_seg.tracking.curves": "leaf_seg.visual",
    "leaf_seg.writers": "leaf_seg.image_io and leaf_seg.runtime.files",
}

NAMES = {
    "leaf_seg.data": {"list_images": "leaf_seg.image_io.list_images"},
    "leaf_seg.engines": {
        "LeafEvaluator": "leaf_seg.engines.BundleEvaluator",
        "LeafTrainer": "leaf_seg.engines.BundleTrainer",
        "PrepareDenoising": "leaf_seg.engines.PrepareDenoisingBatch",
        "PrepareImage": "leaf_seg.engines.PrepareImageBatch",
        "PrepareSegmentation": "leaf_seg.engines.PrepareSegmentationBatch",
    },
    "leaf_seg.handlers": {"CaseOverlay": "leaf_seg.visual.CaseOverlay"},
    "leaf_seg.networks": {"SegmentationNetwork": "leaf_seg.networks.SavedNetwork"},
    "leaf_seg.transforms": {
        "CheckPaird": "leaf_seg.transforms.CheckPair",
        "LoadCased": "leaf_seg.transforms.LoadCase",
        "ScaleImaged": "leaf_seg.transforms.ScaleImage",
    },
}


def names_of(module: str) -> Callable[[str], NoReturn]:
    """A module's ``__getattr__`` that says where a name of version 0.1 is now."""

    def getattr_(name: str) -> NoReturn:
        if name in NAMES[module]:
            raise ImportError(_message(f"{module}.{name}", NAMES[module][name]))
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return getattr_


def install() -> None:
    """Let the import of a module of version 0.1 say where it is now."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())  # asked last: for what nobody else finds


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in MODULES:
            raise ImportError(_message(fullname, MODULES[fullname]))
        return None


def _message(old: str, new: str) -> str:
    return (
        f"{old} is {new} since version 0.2. Change the import; a config that version 0.1 has saved "
        "(executed_config.json) is for that version: give the command again with configs/train.json."
    )
