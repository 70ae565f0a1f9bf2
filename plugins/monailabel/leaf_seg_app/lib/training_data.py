"""The labels of a datastore as a data set that leaf_seg trains on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from pathlib import Path

from monailabel.interfaces.datastore import Datastore, DefaultLabelTag

from leaf_seg.image_io.files import case_name
from leaf_seg.image_io.writers import write_label
from leaf_seg.runtime.errors import InputError
from lib.label_files import class_indices, read_label

Case = dict[str, str]


def labelled_cases(datastore: Datastore) -> list[Case]:
    """Image and label files of the images with a final label.

    Raises:
        InputError: When there are none.
    """
    cases = [{"image": case["image"], "label": case["label"]} for case in datastore.datalist()]
    if not cases:
        raise InputError(
            "There is no label to train on: submit at least one (in 3D Slicer: segment an image, then Submit Label)."
        )
    return cases


def write_dataset(
    datastore: Datastore, class_names: Sequence[str], val_split: float, folder: Path, seen: Collection[str] = ()
) -> Path:
    """Write a datalist with the labels renumbered to classes; the images are linked.

    Cases that the served model was not trained on are the first to be for validation, so that it can be compared with
    the new one; else the split goes by a hash of the names. With one label, or a ``val_split`` of 0, validation is on
    the training cases: the metric then says how well they were learnt.

    Args:
        datastore: of the server.
        class_names: K names, background first.
        val_split: share of the cases that are for validation, at least one where there are two.
        folder: to write to; made where needed.
        seen: names of the cases that the served model was trained on.

    Returns:
        The datalist, a JSON file.

    Raises:
        InputError: When there is no label, or one cannot be used.
    """

    def order(case: Case) -> tuple[bool, bytes]:
        name = case_name(case["image"])
        return name in seen, hashlib.sha256(name.encode()).digest()

    cases = sorted(labelled_cases(datastore), key=order)
    number = min(max(1, round(val_split * len(cases))), len(cases) - 1) if val_split > 0 else 0
    splits = {"training": cases[number:], "validation": cases[:number] or cases}
    for split, members in splits.items():
        splits[split] = [_write_case(case, datastore, class_names, folder / split) for case in members]
    file = folder / "datalist.json"
    file.write_text(json.dumps(splits, indent=2) + "\n")
    return file


def _write_case(case: Case, datastore: Datastore, class_names: Sequence[str], folder: Path) -> Case:
    name = case_name(case["image"])
    info = datastore.get_label_info(name, DefaultLabelTag.FINAL).get("label_info") or []
    try:
        label = class_indices(read_label(case["label"], case["image"]), info, class_names)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    link = folder / "images" / Path(case["image"]).name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(case["image"])
    return {"image": str(link), "label": str(write_label(label, case["image"], folder / "labels"))}
