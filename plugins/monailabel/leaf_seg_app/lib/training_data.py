"""The labels of a datastore as a data set that leaf_seg trains on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from leaf_seg.image_io import image_suffix, write_label
from leaf_seg.runtime.errors import InputError
from lib.datastore import FINAL, DurableDatastore
from lib.label_files import class_indices, read_label
from lib.label_meaning import NAMES, is_prediction, why_unsure

_NAME_THEM = "Submit it again, or name its structures (PUT /datastore/label/info, label_info)."


@dataclass(frozen=True)
class LabelledCase:
    """An image with a final label that can be trained on.

    Attributes:
        name: of the image.
        image: its file.
        label: its file.
        names: the structures, {"name", "idx"} of each.
        is_prediction: whether the label is an answer of the server that nobody has changed.
    """

    name: str
    image: str
    label: str
    names: list[dict[str, Any]]
    is_prediction: bool


@dataclass(frozen=True)
class Dataset:
    """What a training is on.

    Attributes:
        datalist: a JSON file, with "training" and "validation".
        predictions: names of the cases whose labels are untouched answers of the server. They tell how well a model
            agrees with the one that gave them, and not which one is right.
        left_out: of each case that is not trained on, the reason.
    """

    datalist: Path
    predictions: tuple[str, ...]
    left_out: dict[str, str]


def labelled_cases(datastore: DurableDatastore) -> tuple[list[LabelledCase], dict[str, str]]:
    """The images with a final label, and by name the reason of each that is left out, since its meaning is not sure.

    Raises:
        InputError: When no label can be trained on.
    """
    cases, left_out = [], {}
    with datastore.unchanged():
        for name in sorted(datastore.get_labeled_images()):
            image, label = datastore.get_image_uri(name), datastore.get_label_uri(name, FINAL)
            info = datastore.get_label_info(name, FINAL)
            if not (Path(image).is_file() and Path(label).is_file()):
                left_out[name] = "its image or its label has been removed by hand. Restore it, or delete both."
            elif reason := why_unsure(info, label):
                left_out[name] = f"{reason}. {_NAME_THEM}"
            else:
                cases.append(LabelledCase(name, image, label, info[NAMES], is_prediction(info)))
    if not cases and left_out:
        name, reason = next(iter(left_out.items()))
        raise InputError(f"None of {len(left_out)} labels can be trained on. {name}: {reason}")
    if not cases:
        raise InputError(
            "There is no label to train on: submit at least one (in 3D Slicer: segment an image, then Submit Label)."
        )
    return cases, left_out


def write_dataset(
    datastore: DurableDatastore, class_names: Sequence[str], val_split: float, folder: Path, seen: Collection[str] = ()
) -> Dataset:
    """Write a datalist with the labels renumbered to classes, and with the images as they are now.

    Whatever becomes of images and labels while the training runs, it is on those of its beginning.

    Labels that are untouched answers of the server are for training: they cannot tell whether the new model is better
    than the served one. Of the others, cases that the served model was not trained on are the first to be for
    validation; else the split goes by a hash of the names. One of them is always for training. With one, or a
    ``val_split`` of 0, validation is on the training cases: the metric then says how well they were learnt.

    Args:
        datastore: of the server.
        class_names: K names, background first.
        val_split: share of the cases that are for validation, at least one where there are two.
        folder: to write to; made where needed.
        seen: names of the cases that the served model was trained on.

    Raises:
        InputError: When there is no label, or one cannot be used.
    """

    def order(case: LabelledCase) -> tuple[bool, bool, bytes]:
        return case.is_prediction, case.name in seen, hashlib.sha256(case.name.encode()).digest()

    with datastore.unchanged():
        found, left_out = labelled_cases(datastore)
        cases = [_kept(case, folder / "kept") for case in sorted(found, key=order)]
    corrected = sum(not case.is_prediction for case in cases)
    number = min(max(1, round(val_split * len(cases))), max(corrected - 1, 0)) if val_split > 0 else 0
    splits = {"training": cases[number:], "validation": cases[:number] or cases}
    # One file under two names would be refused as a case that is listed twice, and here that is meant.
    keep = {"training": _keep, "validation": _keep if number else _copy}
    written = {
        split: [_write_case(case, class_names, folder / split, keep[split]) for case in members]
        for split, members in splits.items()
    }
    file = folder / "datalist.json"
    file.write_text(json.dumps(written, indent=2) + "\n")
    return Dataset(file, tuple(case.name for case in cases if case.is_prediction), left_out)


def _write_case(
    case: LabelledCase, class_names: Sequence[str], folder: Path, keep: Callable[[str, Path], None]
) -> dict[str, str]:
    try:
        label = class_indices(read_label(case.label, case.image), case.names, class_names)
    except InputError as error:
        raise InputError(f"{case.name}: {error}") from None
    image = folder / "images" / Path(case.image).name
    keep(case.image, image)
    return {"image": str(image), "label": str(write_label(label, image, folder / "labels"))}


def _kept(case: LabelledCase, folder: Path) -> LabelledCase:
    """The case with files of its own, which have its name; an image of the studies may be a link to another."""
    image = folder / "images" / f"{case.name}{image_suffix(case.image)}"
    label = folder / "labels" / Path(case.label).name
    _keep(case.image, image)
    _keep(case.label, label)
    return replace(case, image=str(image), label=str(label))


def _keep(file: str, target: Path) -> None:
    """By a second name where the file system has that: uploads take the place of files, and do not write to them."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, target)
    except OSError:  # such as on another disk
        shutil.copyfile(file, target)


def _copy(file: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)
