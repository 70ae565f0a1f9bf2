"""What the names of folders and files say: images or labels, and of which split."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from leaf_seg.image_io.listing import case_name

# In small letters; a folder's spaces and hyphens count as underscores.
IMAGE_FOLDERS = (
    *("image", "images", "img", "imgs", "original", "originals", "scan", "scans", "volumes", "frames"),
    "jpegimages",
)
LABEL_FOLDERS = (
    *("label", "labels", "mask", "masks", "annotation", "annotations", "seg", "segs", "segmentation", "segmentations"),
    *("gt", "gts", "ground_truth", "ground_truths", "groundtruth", "segmentationclass"),
    *("manual", "manual1", "manual2", "1st_manual", "2nd_manual", "reference", "references"),  # DRIVE, HRF, STARE
)
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "train_set", "trainset", "tr"), "training"),
    **dict.fromkeys(("val", "valid", "validation", "val_set", "validation_set", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "test_set", "testset", "ts"), "testing"),
}
_LABEL_WORDS = "mask|masks|segmentation|seg|gt|label|labels|annotation|groundtruth|ground_truth"
_IMAGE_WORDS = "image|img|0000"
_LABEL_MARK = re.compile(rf"[_\-. ](?:{_LABEL_WORDS})$|^(?:{_LABEL_WORDS})[_\-. ]", re.IGNORECASE)
_IMAGE_MARK = re.compile(rf"[_\-. ](?:{_IMAGE_WORDS})$|^(?:image|img)[_\-. ]", re.IGNORECASE)
_RATER = re.compile(r"(?:labels?|masks?)_?(?:r|rater|annotator|expert|observer|reader)_?\d+", re.IGNORECASE)


def composed(text: str) -> str:
    """Text in the one of the normal forms of Unicode (NFC) in which names are compared."""
    return unicodedata.normalize("NFC", text)


def folder_word(folder: Path) -> str:
    """A folder's name for the tables: small letters, underscores."""
    return re.sub(r"[\s\-]+", "_", composed(folder.name).lower())


def is_rater(folder: Path) -> bool:
    """Whether a folder is called as that of one rater's labels: ``labels_r1``, ``masks_rater2``."""
    return _RATER.fullmatch(folder.name) is not None


def is_label(file: Path) -> bool:
    """Whether a file is called as a label: ``a_mask.png``, ``mask_a.png``, ``seg.nii.gz``."""
    name = case_name(file)
    return _LABEL_MARK.search(name) is not None or re.fullmatch(_LABEL_WORDS, name, re.IGNORECASE) is not None


def label_key(name: str) -> str:
    """A label's case name without what marks it as a label: ``a_mask`` -> ``a``; ``seg`` -> an empty key."""
    return "" if re.fullmatch(_LABEL_WORDS, name, re.IGNORECASE) else _LABEL_MARK.sub("", name, count=1)


def image_key(name: str) -> str:
    """An image's case name without what marks it as an image: ``a_image`` -> ``a``."""
    return _IMAGE_MARK.sub("", name, count=1)


def folder_kind(folder: Path) -> tuple[str, str | None] | None:
    """Whether a folder is called as one of images or labels, and of which split: ``imagesTr``, ``val_masks``.

    Returns:
        "image" or "label", and a split or None; None for other folders.
    """
    word = folder_word(folder)
    for kind, bases in (("image", IMAGE_FOLDERS), ("label", LABEL_FOLDERS)):
        if word in bases:
            return kind, None
        for split_word, split in SPLIT_WORDS.items():
            rest = {word.removeprefix(split_word).lstrip("_"), word.removesuffix(split_word).rstrip("_")} - {word}
            if rest & set(bases):
                return kind, split
    return None
