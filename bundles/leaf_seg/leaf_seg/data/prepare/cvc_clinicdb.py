"""CVC-ClinicDB: 612 frames of 29 colonoscopy sequences, with a polyp each."""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path

from leaf_seg.data.layouts.names import folder_word
from leaf_seg.data.prepare.source import FoundCase, FoundData, Source, above_half, by_stem, images_below, paired
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import printable, shortened

# Last frame of each sequence, by the data set's own README.txt.
_LAST_FRAMES = (
    *(25, 50, 67, 78, 103, 126, 151, 177, 199, 205, 227, 252, 277, 297, 317, 342, 363, 383, 408, 428, 447, 466, 478),
    *(503, 528, 546, 571, 591, 612),
)


def _find(root: Path, modality: str | None) -> FoundData:
    files = images_below(root)
    originals = sorted({file.parent for file in files if folder_word(file.parent) == "original"})
    folders = [folder for folder in originals if (folder.parent / "Ground Truth").is_dir()]
    cases = []
    if folders:  # some copies have the same files twice, as TIFF and as PNG
        images = by_stem([file for file in files if file.parent == folders[0]], _number)
        labels = by_stem([file for file in files if file.parent == folders[0].parent / "Ground Truth"], _number)
        names = paired(images, labels, root)
        unknown = [name for name in names if not name.isdigit() or not 1 <= int(name) <= _LAST_FRAMES[-1]]
        if unknown:
            raise InputError(
                f"{printable(root)}: {shortened(unknown)} are no frames of CVC-ClinicDB; expected 1 to 612. Take "
                "them out."
            )
        for name in sorted(names):
            sequence = bisect_left(_LAST_FRAMES, int(name)) + 1
            cases.append(FoundCase(name, images[name], labels[name], group=f"sequence_{sequence:02d}"))
    return FoundData(cases, ("background", "polyp"), {"in all": 612})


def _number(stem: str) -> str:
    return f"{int(stem):03d}" if stem.isdigit() else stem


CVC_CLINICDB = Source(
    "CVC-ClinicDB",
    _find,
    "Original/1.tif ... 612.tif and Ground Truth/ with the same names",
    above_half,
    random_split={"training": 490, "validation": 62, "testing": 60},
)
