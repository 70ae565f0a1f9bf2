"""A folder for each patient, as BraTS has them: ``P1/P1_t1.nii.gz``, ``P1/P1_t2.nii.gz``, ``P1/P1_seg.nii.gz``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from leaf_seg.data.layouts.folders import read_folders
from leaf_seg.data.layouts.layout import Choices, Layout, in_splits
from leaf_seg.data.layouts.modality import choose_modality
from leaf_seg.data.layouts.names import SPLIT_WORDS, folder_kind, folder_word, image_key, is_label, label_key
from leaf_seg.data.layouts.pairs import subfolders
from leaf_seg.data.splits import Case
from leaf_seg.image_io.listing import case_name, image_files
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import printable, shortened

logger = logging.getLogger(__name__)

_PLAIN = ""  # the modality of an image that has no name of one


@dataclass(frozen=True)
class _Found:
    """A label in a patient's folder, and its images by modality."""

    folder: Path
    label: Path
    images: dict[str, Path]


def read_patients(root: Path, choices: Choices) -> Layout | None:
    """The cases of folders of patients, at any depth; a patient's cases are one group.

    Args:
        root: folder of the data set.
        choices: the modality counts, where a case has several images.

    Raises:
        InputError: When labels lack images, or cases have several images and none is chosen.
    """
    found: list[_Found] = []
    lone: list[str] = []
    for folder in subfolders(root):
        if folder_kind(folder) is None and folder_word(folder) not in SPLIT_WORDS:
            found += _search(folder, lone)
    if not found:
        return None
    alone = [one.label.name for one in found if not one.images]
    if alone:
        raise InputError(
            f"{printable(root)}: {len(alone)} labels without image: {shortened(alone)}. Expected an image beside each "
            "in its folder, whose name begins as the label's does; rename, add or remove files."
        )
    if lone:
        logger.warning("%s: images without label are left out: %s.", printable(root), shortened(lone))
    cases: list[Case] = []
    groups: dict[str, str] = {}
    for one, image in _chosen(root, found, choices):
        cases.append({"image": str(image), "label": str(one.label)})
        groups[str(image)] = one.folder.relative_to(root).as_posix()
    cases.sort(key=lambda case: case["image"])
    return Layout("folders of patients", root, in_splits(cases), groups=groups)


def _search(folder: Path, lone: list[str]) -> Iterator[_Found]:
    """What is in a folder, or where it has no pairs in its subfolders."""
    pairs = read_folders(folder)
    if pairs is not None:
        for cases in pairs.splits.values():
            yield from (_Found(folder, Path(case["label"]), {_PLAIN: Path(case["image"])}) for case in cases)
        return
    files = image_files(folder)
    labels = [file for file in files if is_label(file)]
    images = [file for file in files if not is_label(file)]
    found = [_Found(folder, label, _images_of(label, images)) for label in labels]
    yield from found
    used = {image for one in found for image in one.images.values()}
    if labels:
        lone += [f"{folder.name}/{image.name}" for image in images if image not in used]
    elif images:
        lone.append(f"{folder.name}/")
    for inner in [] if labels else subfolders(folder):
        yield from _search(inner, lone)


def _images_of(label: Path, images: list[Path]) -> dict[str, Path]:
    """The images of a label by modality: those whose names begin with the label's."""
    key = label_key(case_name(label))
    same = [image for image in images if key and key in (case_name(image), image_key(case_name(image)))]
    if same:
        return {_PLAIN: same[0]}
    names = {image: case_name(image) for image in images}
    return {
        name[len(key) :].lstrip("_-. "): image
        for image, name in names.items()
        if not key or (name.startswith(key) and not name[len(key)].isalnum())
    }


def _chosen(root: Path, found: list[_Found], choices: Choices) -> Iterator[tuple[_Found, Path]]:
    """Each label with the image of the modality that is taken."""
    several = [one for one in found if _PLAIN not in one.images]
    names = [name for name in several[0].images if all(name in one.images for one in several)] if several else []
    if several and not names and all(len(one.images) == 1 for one in several):
        modality = None  # one image in each folder, of whatever name
    elif several:
        union = list(dict.fromkeys(name for one in several for name in one.images))
        modality = choose_modality(union, choices.modality, root)
    else:
        modality = _PLAIN
    lacking = [one.folder.name for one in several if modality is not None and modality not in one.images]
    if lacking:
        raise InputError(
            f"{printable(root)}: {len(lacking)} folders have no image {modality}: {shortened(lacking)}. Expected one "
            "in each; add them, or choose another by --modality."
        )
    for one in found:
        name = _PLAIN if _PLAIN in one.images else modality
        yield one, next(iter(one.images.values())) if name is None else one.images[name]
