"""Label maps, overlays and maps of segmented cases, as files."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai.utils import convert_to_numpy

import leaf_seg
from leaf_seg.data.confidence_settings import ConfidenceSettings
from leaf_seg.image_io.dicom_seg import check_dicom_sources, write_dicom_seg
from leaf_seg.image_io.formats import format_of
from leaf_seg.image_io.listing import case_name
from leaf_seg.image_io.reading_options import DEFAULT_READING, ReadingOptions
from leaf_seg.image_io.writing import class_file_names, write_label, write_map, write_probabilities
from leaf_seg.inference.expected_dice_table import ExpectedDiceTable
from leaf_seg.inference.faults import FaultyImages, memory_fault_of
from leaf_seg.runtime.decoration import decoration
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import ensure_writable_folder
from leaf_seg.runtime.paths import absolute
from leaf_seg.runtime.text import printable
from leaf_seg.runtime.values import parse_bool

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger(__name__)

OUTPUT_TYPES = ("image", "dicom_seg")
_MOST_BYTES = 255  # of a file's name


class SegmentationWriter:
    """Writes what is segmented.

    For a case the files are::

        <case>.nii.gz or .png        label map, or .nrrd, .mha, .tif as the image
        overlays/<case>.png
        colors/<case>.png            label map with a palette, of pictures
        expected_dice.csv, of all cases
        uncertainty/<case>_variance, <case>_entropy
        probabilities/<case>_probabilities.nii.gz, or <case>_<class>.png

    Maps of pictures are 16-bit PNG, in which 65535 is 1, for the entropy ln K.

    Label maps hold the names of the classes where their format can: NIfTI, NRRD.

    Args:
        output_dir: folder for the files. Neither it nor a folder in it that is written to may be that of an image.
        class_names: K names, background first.
        save_probabilities: also write the class probabilities.
        save_overlays: also draw an overlay for each case.
        axis: slicing direction of the overlays of volumes: "sagittal", "coronal" or "axial"; of several the first.
        window: lowest and highest value shown in overlays; None as in :class:`~leaf_seg.transforms.ScaleImage`.
        output_type: "image", or "dicom_seg": of DICOM images also a DICOM segmentation, ``<case>.seg.dcm``.
        save_colors: also write label maps in colours, of pictures: volumes have no palettes.
        label_colors: red, green and blue of each class there; None for the colours of overlays.
        reading: how images are read that can be read in several ways.
        confidence: of the model; with it ``expected_dice.csv`` says which cases somebody should look at.

    Raises:
        InputError: When the name of the folder is empty, the output type is unknown, or overlays are drawn and the axis
            is unknown or the window is not ascending.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        class_names: Sequence[str],
        save_probabilities: bool | str = False,
        save_overlays: bool | str = True,
        axis: str | Sequence[str] = "axial",
        window: Sequence[float] | None = None,
        output_type: str = OUTPUT_TYPES[0],
        save_colors: bool | str = False,
        label_colors: Sequence[Sequence[int]] | None = None,
        reading: ReadingOptions = DEFAULT_READING,
        confidence: ConfidenceSettings | None = None,
    ) -> None:
        if output_type not in OUTPUT_TYPES:
            raise InputError(f"output_type is {output_type!r}; expected one of {', '.join(OUTPUT_TYPES)}.")
        self.output_type = output_type
        self.reading = reading
        if not os.fspath(output_dir):
            raise InputError("The name of the output folder is empty; expected a folder to write to.")
        self.output_dir = Path(output_dir)
        self.class_names = list(class_names)
        self.save_probabilities = parse_bool(save_probabilities, "save_probabilities")
        self.save_overlays = parse_bool(save_overlays, "save_overlays")
        self.save_colors = parse_bool(save_colors, "save_colors")
        self.label_colors = label_colors
        folders = {
            "": True,
            "uncertainty": True,  # depends on what comes
            "overlays": self.save_overlays,
            "colors": self.save_colors,
            "probabilities": self.save_probabilities,
        }
        self._folders = {absolute(self.output_dir / name): self.output_dir / name for name in folders if folders[name]}
        self._sources: dict[str, str] = {}  # case name -> image file
        self._maps: dict[str, str] = {}  # name of a picture's probability map -> image file
        self._faults: dict[str, str] = {}  # image file -> why it is not segmented
        self._outputs: dict[str, Path] = {}  # image file -> its label map
        self._written, self._drawn = 0, 0
        self._expected_dice = ExpectedDiceTable(self.output_dir, self.class_names[1:], confidence)
        if self.save_overlays:
            from leaf_seg.visual.case_overlay import CaseOverlay  # without overlays nobody waits for matplotlib

            self._draw = CaseOverlay(class_names, axis, window, reading)

    def begin(self, sources: Iterable[str] = ()) -> None:
        """Start anew, and reserve the output files of the images that are known to come.

        Raises:
            InputError: When two of them would be written as the same case or one lies where files are written, or the
                output folder cannot be written to.
        """
        self._sources, self._maps, self._faults, self._outputs = {}, {}, {}, {}
        self._written, self._drawn = 0, 0
        sources = list(sources)
        if self.output_type == "dicom_seg":
            check_dicom_sources(sources)
        for source in sources:
            self._claim(source)
        ensure_writable_folder(self.output_dir)
        self._expected_dice.begin()

    def save(self, source: str, item: Mapping[str, Any]) -> None:
        """Write the files of one case.

        Args:
            source: image file.
            item: arrays or tensors in the grid of the file: "pred", class indices [1, *spatial]; optionally "label"
                [1, *spatial] (drawn), "variance" and "entropy" [1, *spatial] and, where they are to be saved,
                "probabilities" [K, *spatial]; and optionally "expected_dice" [K - 1].

        For want of memory, or when the files' names would be too long, the case is given up. An overlay that cannot be
        drawn is left out.

        Raises:
            InputError: When another image has been written as the same case, the image lies where files are written,
                or a file cannot be written.
        """
        self._claim(source)
        name = self._longest_name(source, item)
        if len(name.encode()) > _MOST_BYTES:
            self.give_up(
                source,
                f"{printable(source)}: its name is too long for that of its file {name!r}; expected {_MOST_BYTES} "
                "bytes there at most. Rename the image.",
            )
            return
        try:
            self._write(source, item)
        except Exception as error:
            reason = memory_fault_of(error, source)
            if reason is None:
                raise
            self.give_up(source, reason)
            return
        self._written += 1
        if "expected_dice" in item:
            self._expected_dice.add(case_name(source), item["expected_dice"])
        if self.save_overlays:
            with decoration(f"The overlay of {source}"):
                self._draw(source, item, self.output_dir / "overlays" / f"{case_name(source)}.png")
                self._drawn += 1
        if self.save_colors and item["pred"].ndim == 3:
            with decoration(f"The coloured label map of {source}"):
                self._color(source, convert_to_numpy(item["pred"])[0])

    def give_up(self, source: str, reason: str) -> None:
        """Note that an image cannot be segmented, and why."""
        self._claim(source)
        self._faults[source] = reason

    def result_of(self, source: str) -> Path | str:
        """The label map of an image that was saved or given up, or why there is none."""
        return self._faults[source] if source in self._faults else self._outputs[source]

    def tell(self) -> None:
        """Log what was written and where, of how many images, and which could not be segmented; write their table.

        Raises:
            InputError: When the table of the expected Dice cannot be written.
        """
        total = len(self._sources)
        number = f"{self._written}" if self._written == total else f"{self._written} of {total}"
        logger.info("%s label maps: %s", number, self.output_dir.resolve())
        if self._drawn:
            logger.info("overlays to look at: %s", (self.output_dir / "overlays").resolve())
        if self.save_colors and self._folder_of_colors.is_dir():
            logger.info("label maps in colours: %s", self._folder_of_colors.resolve())
        elif self.save_colors:
            logger.info("no label maps in colours: volumes have no palettes, and no picture was segmented.")
        if total > 1:  # one image's fault is what the command ends with
            for reason in self._faults.values():
                logger.error("not segmented: %s", reason)
        self._expected_dice.write()

    def conclude(self) -> None:
        """End as what was told.

        Raises:
            FaultyImages: When some images could not be segmented.
        """
        if len(self._sources) == 1 and self._faults:
            raise FaultyImages(*self._faults.values())
        if self._faults:
            raise FaultyImages(
                f"{len(self._faults)} of {len(self._sources)} images could not be segmented, for the reasons above; "
                "the others are written. Repair or remove these, and segment them again."
            )

    def _write(self, source: str, item: Mapping[str, Any]) -> None:
        pred = convert_to_numpy(item["pred"])[0]
        self._outputs[source] = write_label(pred, source, self.output_dir, self.class_names, self.reading)
        if self.output_type == "dicom_seg":
            write_dicom_seg(pred, source, self.output_dir, self.class_names, leaf_seg.__version__)
        if self.save_probabilities:
            probabilities = convert_to_numpy(item["probabilities"])
            folder = self.output_dir / "probabilities"
            write_probabilities(probabilities, source, folder, self.class_names, self.reading)
        for name, maximum in (("variance", 1.0), ("entropy", math.log(len(self.class_names)))):
            if name in item:
                values, folder = convert_to_numpy(item[name])[0], self.output_dir / "uncertainty"
                write_map(values, source, folder, name, maximum, self.reading)

    def _color(self, source: str, pred: np.ndarray) -> None:
        from leaf_seg.visual.class_picture import save_class_picture

        path = ensure_writable_folder(self._folder_of_colors) / f"{case_name(source)}.png"
        save_class_picture(pred, path, len(self.class_names), self.label_colors)

    @property
    def _folder_of_colors(self) -> Path:
        return self.output_dir / "colors"

    def _longest_name(self, source: str, item: Mapping[str, Any]) -> str:
        """Name of a file of the case, of the one that has the most bytes."""
        kinds = [f"_{name}" for name in ("variance", "entropy") if name in item]
        if self.save_probabilities:
            is_picture = item["pred"].ndim == 3
            kinds += [f"_{n}" for n in (class_file_names(self.class_names) if is_picture else ["probabilities"])]
        ending = format_of(source, self.reading).result_suffix(source)
        return max((f"{case_name(source)}{kind}{ending}" for kind in ("", *kinds)), key=lambda name: len(name.encode()))

    def _check_place(self, source: str) -> None:
        """Refuse an image in a folder that is written to: files there would be replaced that are no results."""
        for place in (absolute(os.path.dirname(source)), absolute(source).parent):  # of a link, and of its file
            if place in self._folders:
                raise InputError(
                    f"{printable(source)} lies in {printable(self._folders[place])}, where results would be written "
                    "and could replace images; expected an output folder other than the folder of the images: choose "
                    "another with --output_dir."
                )

    def _claim(self, source: str) -> None:
        source = os.path.abspath(source)
        self._check_place(source)
        other = self._sources.setdefault(case_name(source), source)
        if other == source and self.save_probabilities:  # of the case a_b the class c, and of the case a the class b_c
            names = [f"{case_name(source)}_{name}" for name in class_file_names(self.class_names)]
            other = next((o for n in names if (o := self._maps.setdefault(n, source)) != source), source)
        if other != source:
            what = "files of the same names" if case_name(other) != case_name(source) else f"case {case_name(source)!r}"
            raise InputError(
                f"{printable(other)} and {printable(source)} would both be written as {what} in {self.output_dir}; "
                "expected a name of its own for each image: rename one, or segment them into different folders."
            )
