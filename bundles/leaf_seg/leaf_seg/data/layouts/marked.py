"""Images and labels together in one folder: ``a.png`` and ``a_mask.png``."""

from __future__ import annotations

from pathlib import Path

from leaf_seg.data.layouts.layout import Layout, in_splits
from leaf_seg.data.layouts.names import is_label
from leaf_seg.data.layouts.pairs import pair_files
from leaf_seg.image_io.listing import image_files


def read_marked(root: Path) -> Layout | None:
    """The cases of a folder that holds images and labels together; None where no file is called as a label.

    Raises:
        InputError: When images and labels do not match.
    """
    files = image_files(root)
    labels = [file for file in files if is_label(file)]
    images = [file for file in files if not is_label(file)]
    if not labels or not images:
        return None
    return Layout("images and labels in one folder", root, in_splits(pair_files(images, labels, root, root)))
