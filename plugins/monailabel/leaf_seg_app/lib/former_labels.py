"""A label's former file, kept until what is known of the new one is written, too.

Both are written one after the other. Whoever is killed between them leaves a new file beside what is known of the
former one, whose names and checksum do not fit it: the former label would be lost, though it had been acknowledged.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from monailabel.datastore.local import ImageLabelModel

from lib.label_meaning import is_of
from lib.names import LABEL_SUFFIXES, split_suffix
from lib.studies import check_target, put

logger = logging.getLogger(__name__)

_SUFFIX = ".former"  # of a hidden file beside the label; it is empty where there was no label before


@contextmanager
def former_kept(label: Path, studies: Path) -> Iterator[None]:
    """Keep a label's file while the block replaces it and writes what is known; put it back where the block fails.

    Args:
        label: the file, which there may be none of yet.
        studies: folder of the images, which the label lies in.

    Raises:
        InputError: When the label's folder is a link that leads out of the studies, and when it is a folder itself.
    """
    former = label.with_name(f".{label.name}{_SUFFIX}")
    check_target(label, studies)
    if label.exists():
        put(str(label), former, studies)
    else:
        label.parent.mkdir(parents=True, exist_ok=True)
        former.touch()
    try:
        yield
    except BaseException:
        _put_back(former, label)
        raise
    former.unlink()


def settle(folder: Path, objects: Mapping[str, ImageLabelModel]) -> None:
    """End what killed processes were at: each label is the new one where that is known, else the former one.

    Nothing else may write there meanwhile.

    Args:
        folder: of the labels of a tag.
        objects: what the datastore knows of each image.
    """
    for former in sorted(folder.glob(f".*{_SUFFIX}")):
        label = former.with_name(former.name[1:].removesuffix(_SUFFIX))
        image, suffix = split_suffix(label.name, LABEL_SUFFIXES)
        known = objects[image].labels.get(folder.name) if image in objects else None
        if known and known.ext == suffix and label.exists() and is_of(known.info, str(label)):
            former.unlink()
        else:
            _put_back(former, label)
            logger.warning("%s: its replacement was broken off, and is undone", label)


def _put_back(former: Path, label: Path) -> None:
    if former.stat().st_size:
        os.replace(former, label)
    else:
        label.unlink(missing_ok=True)
        former.unlink()
