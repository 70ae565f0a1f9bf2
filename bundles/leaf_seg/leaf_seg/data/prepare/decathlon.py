"""The tasks of the Medical Segmentation Decathlon, as their archives have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from leaf_seg.data.layouts.class_names import modality_names, read_class_names
from leaf_seg.data.layouts.datalist import read_datalist
from leaf_seg.data.layouts.layout import Choices
from leaf_seg.data.layouts.modality import choose_modality
from leaf_seg.data.prepare.source import FoundCase, FoundData, Source
from leaf_seg.image_io.listing import case_name
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.json_file import read_json_object
from leaf_seg.runtime.text import printable

# Labelled cases of each task, by the name of its folder.
_COUNTS = {
    "Task01_BrainTumour": 484,
    "Task02_Heart": 20,
    "Task03_Liver": 131,
    "Task04_Hippocampus": 260,
    "Task05_Prostate": 32,
    "Task06_Lung": 63,
    "Task07_Pancreas": 281,
    "Task08_HepaticVessel": 303,
    "Task09_Spleen": 41,
    "Task10_Colon": 126,
}


def _find(root: Path, modality: str | None) -> FoundData:
    tasks = sorted(file for file in root.rglob("dataset.json") if (file.parent / "imagesTr").is_dir())
    if not tasks:
        return FoundData([], ("background", "structure"), {"in all": 1})
    if len(tasks) > 1:
        listed = ", ".join(file.parent.name for file in tasks)
        raise InputError(f"{printable(root)}: holds {len(tasks)} tasks ({listed}); expected one. Give its folder.")
    content = read_json_object(tasks[0])
    layout = read_datalist(tasks[0], content, Choices())
    names = modality_names(content)
    chosen = names.index(choose_modality(names, modality, root)) if len(names) > 1 else None
    cases = [
        FoundCase(case_name(case["image"]), Path(case["image"]), Path(case["label"]))
        for case in layout.splits["training"]
    ]
    classes = read_class_names(content.get("labels"), tasks[0]) or ["background", "structure"]
    return FoundData(cases, classes, {"in all": _count(tasks[0].parent, content)}, chosen)


def _count(folder: Path, content: dict[str, Any]) -> int:
    """The published number, by the folder's name, or else by the file itself."""
    known = _COUNTS.get(folder.name)
    said = content.get("numTraining")
    if known is None and not isinstance(said, int):
        raise InputError(
            f"{printable(folder)}: is no task of the Decathlon that is known by its name, and its dataset.json has no "
            f"numTraining; expected a folder such as {next(iter(_COUNTS))}."
        )
    return known if known is not None else int(said or 0)


DECATHLON = Source("the Medical Segmentation Decathlon", _find, "TaskNN_NAME/ with dataset.json, imagesTr/, labelsTr/")
