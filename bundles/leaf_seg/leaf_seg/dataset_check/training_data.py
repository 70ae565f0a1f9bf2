"""What a training has seen, kept beside its model, so that an evaluation can tell whether its cases were among it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leaf_seg.data.datalists import Datalist
from leaf_seg.data.groups import groups_by_regex
from leaf_seg.data.splits import SPLITS, Case
from leaf_seg.dataset_check.leakage import same_files, shared_groups
from leaf_seg.image_io.digest import file_digest
from leaf_seg.runtime.distributed import once
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike, replacing
from leaf_seg.runtime.json_file import read_json_object
from leaf_seg.runtime.text import shortened

logger = logging.getLogger(__name__)

TRAINING_DATA_NAME = "training_data.json"
_DIGITS = 16  # of a checksum: enough to tell files apart, and short in the file


@dataclass(frozen=True)
class TrainingData:
    """What a model was trained on; by checksums, from which short names of patients can be guessed.

    Attributes:
        datalist_sha256: of the cases and their split.
        group_regex: that groups were told by; None without.
        num_cases: by split.
        images: checksums of the training images.
        groups: checksums of the training groups' names.
    """

    datalist_sha256: str
    group_regex: str | None
    num_cases: dict[str, int]
    images: frozenset[str]
    groups: frozenset[str]


class TrainingDataRecord:
    """What goes into ``training_data.json``.

    Args:
        datalist: cases by their splits.
        folder: of the training.
        group_regex: by which the datalist has its groups, if by one: an evaluation tells them by it, too.
    """

    def __init__(self, datalist: Datalist, folder: PathLike, group_regex: str | None = None) -> None:
        self.datalist = datalist
        self.folder = Path(folder)
        self.group_regex = group_regex
        self._listed = [(split, case) for split in SPLITS for case in getattr(datalist, split)]
        self._digests: list[str] | None = None

    def check(self) -> None:
        """Warn of images and groups that are in two splits, before there is anything of the training in its folder.

        One of several processes does it for all.

        Raises:
            InputError: When an image cannot be read.
        """
        self._digests = once(self._checked)

    def _checked(self) -> list[str]:
        splits, cases = [split for split, _ in self._listed], [case for _, case in self._listed]
        digests = [file_digest(case["image"]) for case in cases]
        found = same_files(digests, cases, splits) + shared_groups(cases, splits, self.datalist.groups)
        for finding in (finding for finding in found if finding.severity != "note"):
            logger.warning("Data set: %s %s Files: %s", finding.what, finding.remedy, shortened(finding.files, 3))
        return digests

    def write(self) -> None:
        """Write the file."""
        digests = self._checked() if self._digests is None else self._digests
        trained = [index for index, (split, _) in enumerate(self._listed) if split == "training"]
        groups = {self.datalist.groups.get(self._listed[index][1]["image"]) for index in trained} - {None}
        content = {
            "datalist_sha256": self.datalist.sha256,
            "group_regex": self.group_regex,
            "num_cases": {split: len(getattr(self.datalist, split)) for split in SPLITS},
            "images": sorted({digests[index][:_DIGITS] for index in trained}),
            "groups": sorted(_name_digest(str(group)) for group in groups),
        }
        with replacing(self.folder / TRAINING_DATA_NAME) as temporary:
            temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")


def training_data(folder: PathLike, datalist_sha256: str | None) -> TrainingData | None:
    """What is kept of a model's training data; None where nothing is, or it is another training's.

    Args:
        folder: of the model.
        datalist_sha256: that the model says it was trained on.

    Raises:
        InputError: When the file cannot be read, or is damaged.
    """
    file = Path(folder) / TRAINING_DATA_NAME
    if not file.is_file():
        return None
    content = read_json_object(file)
    if not _is_record(content):
        raise InputError(f"{file} is no record of training data; restore it, or remove it to do without.")
    if datalist_sha256 is None or content["datalist_sha256"] != datalist_sha256:
        return None
    return TrainingData(
        datalist_sha256,
        content["group_regex"],
        content["num_cases"],
        frozenset(content["images"]),
        frozenset(content["groups"]),
    )


def known_cases(
    cases: Sequence[Case], known: TrainingData, groups: Mapping[str, str] | None = None
) -> dict[str, list[Case]]:
    """Cases whose image was among the training images, under "same_file", or whose group was, under "same_group".

    Args:
        cases: that are evaluated.
        known: what the model was trained on.
        groups: of the cases by the image's path; where there are none, the training's regular expression tells them.
    """
    if not groups and known.group_regex is not None:
        groups = groups_by_regex(cases, known.group_regex)
    names = [(groups or {}).get(case["image"]) for case in cases]
    return {
        "same_file": [case for case in cases if file_digest(case["image"])[:_DIGITS] in known.images],
        "same_group": [
            case
            for case, group in zip(cases, names, strict=True)
            if group is not None and _name_digest(group) in known.groups
        ],
    }


def _name_digest(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:_DIGITS]


def _is_record(content: dict[str, Any]) -> bool:
    lists = all(isinstance(content.get(key), list) for key in ("images", "groups"))
    keys = {"datalist_sha256", "group_regex", "num_cases", "images", "groups"}
    return lists and set(content) == keys and isinstance(content["num_cases"], dict)
