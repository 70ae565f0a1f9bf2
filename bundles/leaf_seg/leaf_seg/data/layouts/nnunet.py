"""nnU-Net's raw data: ``imagesTr/CASE_0000.nii.gz``, ``labelsTr/CASE.nii.gz`` and ``dataset.json``."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leaf_seg.data.layouts.class_names import modality_names, read_class_names
from leaf_seg.data.layouts.datalist import is_datalist
from leaf_seg.data.layouts.layout import Choices, Layout, in_splits
from leaf_seg.data.layouts.listed_files import base_folder, listed_file
from leaf_seg.data.layouts.modality import choose_modality
from leaf_seg.data.layouts.names import composed
from leaf_seg.data.layouts.pairs import check_matches
from leaf_seg.data.splits import Case
from leaf_seg.image_io.formats import image_suffix, suffixes
from leaf_seg.image_io.listing import case_name, image_files
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.paths import FILE, FOLDER, kind_of
from leaf_seg.runtime.text import printable, shortened

logger = logging.getLogger(__name__)

_CHANNEL = re.compile(r"(.+)_(\d{4})")

Channels = dict[str, dict[int, str]]  # files by case and number of the channel


def is_nnunet(root: Path, content: Mapping[str, Any]) -> bool:
    """Whether a ``dataset.json`` is of nnU-Net's raw data, of its second version or its first."""
    if isinstance(content.get("dataset"), dict) and "channel_names" in content:
        return True
    if kind_of(root / "imagesTr") != FOLDER or kind_of(root / "labelsTr") != FOLDER:
        return False
    if not is_datalist(content):
        return bool({"file_ending", "channel_names", "numTraining"} & set(content))
    training = content.get("training")
    entries = training if isinstance(training, list) else []
    first = next((entry.get("image") for entry in entries if isinstance(entry, dict)), None)
    has_channels = any(_CHANNEL.fullmatch(case_name(file)) for file in image_files(root / "imagesTr"))
    return has_channels and isinstance(first, str) and kind_of(listed_file(first, root)) != FILE


def read_nnunet(root: Path, content: Mapping[str, Any], choices: Choices) -> Layout:
    """The cases of nnU-Net's raw data; those with labels in ``labelsTs`` are for testing.

    Args:
        root: folder of the data set.
        content: of its ``dataset.json``.
        choices: the modality counts.

    Raises:
        InputError: When files lack channels, images lack labels, or a case has several channels and none is chosen.
    """
    file = root / "dataset.json"
    ending = content.get("file_ending")
    if ending is not None and str(ending).lower() not in suffixes():
        raise InputError(
            f"{file}: its file_ending is {ending!r}; expected one of {', '.join(suffixes())}. Convert the files."
        )
    names = modality_names(content)
    if len(set(names)) < len(names):
        names = [f"{number:04d}" for number in range(len(names))]
    if isinstance(content.get("dataset"), dict):
        training = _listed(root, content["dataset"], names, choices)
    else:
        training = _cases(root, "Tr", ending, names, choices)
    testing = _cases(root, "Ts", ending, names, choices) if kind_of(root / "labelsTs") == FOLDER else []
    said = content.get("numTraining")
    if isinstance(said, int) and said != len(training):
        logger.warning("%s: numTraining is %d, but there are %d cases; those are used.", file, said, len(training))
    classes = read_class_names(content.get("labels"), file)
    return Layout("nnU-Net", root, in_splits(training, testing=testing), classes)


def _cases(root: Path, part: str, ending: Any, names: list[str], choices: Choices) -> list[Case]:
    """The pairs of ``imagesTr`` and ``labelsTr``, or of ``imagesTs`` and ``labelsTs``."""
    image_folder, label_folder = root / f"images{part}", root / f"labels{part}"
    images: Channels = defaultdict(dict)
    unnumbered = []
    for file in _files(image_folder, ending):
        match = _CHANNEL.fullmatch(case_name(file))
        if match is None:
            unnumbered.append(file.name)
        else:
            images[composed(match[1])][int(match[2])] = str(file)
    if unnumbered:
        raise InputError(
            f"{image_folder}: {len(unnumbered)} files have no channel in their names: {shortened(unnumbered)}. "
            "Expected nnU-Net's names, such as CASE_0000.nii.gz; rename them, or remove dataset.json."
        )
    labels = {composed(case_name(file)): str(file) for file in _files(label_folder, ending)}
    if part == "Ts":  # test images without a label are for nobody to evaluate
        images = {name: channels for name, channels in images.items() if name in labels}
    check_matches(images, labels, image_folder, label_folder)
    chosen = _channel(root, images, names, choices)
    return [{"image": images[name][chosen], "label": labels[name]} for name in images]


def _files(folder: Path, ending: Any) -> list[Path]:
    """Images of a folder; those that end otherwise than the data set says are told and left out."""
    if kind_of(folder) != FOLDER:
        raise InputError(f"{printable(folder)}: no such folder; expected nnU-Net's imagesTr/, labelsTr/. Add it.")
    files = image_files(folder)
    fitting = [file for file in files if ending is None or image_suffix(file).lower() == str(ending).lower()]
    if len(fitting) < len(files):
        count = len(files) - len(fitting)
        logger.warning("%s: %d images do not end in %s, as dataset.json says, and are left out.", folder, count, ending)
    return fitting


def _channel(root: Path, images: Channels, names: list[str], choices: Choices) -> int:
    """The number of the channel that is taken, of those that all cases have."""
    numbers = {number for channels in images.values() for number in channels}
    if not numbers:
        return 0
    names = names or [f"{number:04d}" for number in range(max(numbers) + 1)]
    lacking = [name for name, channels in images.items() if set(channels) != set(range(len(names)))]
    if lacking:
        raise InputError(
            f"{root}: {len(lacking)} cases do not have the files of all {len(names)} channels ({shortened(names)}): "
            f"{shortened(lacking)}. Expected CASE_0000 to CASE_{len(names) - 1:04d}; add or correct them."
        )
    return names.index(choose_modality(names, choices.modality, root))


def _listed(root: Path, dataset: Mapping[str, Any], names: list[str], choices: Choices) -> list[Case]:
    """The cases of nnU-Net's key ``dataset``: ``{"CASE": {"images": [...], "label": ...}}``."""
    wrong = [name for name, entry in dataset.items() if not _is_entry(entry)]
    if wrong:
        raise InputError(
            f"{root / 'dataset.json'}: its dataset has {shortened(wrong)}; expected "
            '{"images": [path of each channel], "label": path}. Correct it.'
        )
    images = {name: dict(enumerate(entry["images"])) for name, entry in dataset.items()}
    chosen = _channel(root, images, names, choices)
    pairs = [(images[name][chosen], entry["label"]) for name, entry in dataset.items()]
    base = base_folder(root / "dataset.json", [path for pair in pairs for path in pair])
    return [dict(zip(("image", "label"), (listed_file(path, base) for path in pair), strict=True)) for pair in pairs]


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("images"), list):
        return False
    return all(isinstance(path, str) for path in (*entry["images"], entry.get("label")))
