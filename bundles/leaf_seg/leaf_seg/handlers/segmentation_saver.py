"""Label maps, overlays and maps of every segmented case, as files."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from ignite.engine import Engine, Events
from monai.utils import convert_to_numpy

from leaf_seg.image_io.files import case_name
from leaf_seg.image_io.writers import write_label, write_map, write_probabilities
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import ensure_writable_folder
from leaf_seg.runtime.values import parse_bool
from leaf_seg.visual.case_overlay import CaseOverlay

logger = logging.getLogger(__name__)


class SegmentationSaver:
    """Ignite handler that writes what an evaluator segments.

    For an evaluator that decollates. Every item of ``engine.state.output`` holds "pred", class indices [1, *spatial] in
    the grid of the image file; optionally "label" in the same grid (drawn), "variance" and "entropy" [1, *spatial] and,
    where they are to be saved, "probabilities" [K, *spatial]. Every item of ``engine.state.batch`` holds "image", a
    MetaTensor that knows its file. For a case the files are::

        <case>.nii.gz or .png        label map
        overlays/<case>.png
        uncertainty/<case>_variance, <case>_entropy
        probabilities/<case>_probabilities.nii.gz, or <case>_<class>.png

    Maps of pictures are 16-bit PNG, in which 65535 is 1, for the entropy ln K.

    Args:
        output_dir: folder for the files; not that of the images.
        class_names: K names, background first.
        save_probabilities: also write the class probabilities.
        save_overlays: also draw an overlay for each case.
        axis: slicing direction of the overlays of volumes: "sagittal", "coronal" or "axial"; of several the first.
        window: lowest and highest value shown in overlays; None as in :class:`~leaf_seg.transforms.ScaleImage`.

    Raises:
        InputError: When the axis is unknown or the window is not ascending.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        class_names: Sequence[str],
        save_probabilities: bool | str = False,
        save_overlays: bool | str = True,
        axis: str | Sequence[str] = "axial",
        window: Sequence[float] | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.class_names = list(class_names)
        self.save_probabilities = parse_bool(save_probabilities, "save_probabilities")
        self.save_overlays = parse_bool(save_overlays, "save_overlays")
        self._draw = CaseOverlay(class_names, axis, window)
        self._sources: dict[str, str] = {}  # case name -> image file

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator.

        Raises:
            InputError: When the output folder cannot be written to.
        """
        ensure_writable_folder(self.output_dir)
        engine.add_event_handler(Events.STARTED, self._check_names)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._save_batch)
        engine.add_event_handler(Events.COMPLETED, self.tell)

    def _check_names(self, engine: Engine) -> None:
        """Find name clashes before the first case is computed, where the data set lists its cases."""
        self._sources = {}
        dataset = getattr(engine.state.dataloader, "dataset", None)
        for case in getattr(dataset, "data", None) or ():
            self.claim(str(case["image"]))

    def claim(self, source: str) -> None:
        """Reserve the output files of an image.

        Raises:
            InputError: When another image has them.
        """
        source = os.path.abspath(source)
        other = self._sources.setdefault(case_name(source), source)
        if other != source:
            raise InputError(
                f"{other} and {source} would both be written as case {case_name(source)!r} in {self.output_dir}; "
                "expected a name of its own for each image: rename one, or segment them into different folders."
            )

    def _save_batch(self, engine: Engine) -> None:
        batch, output = cast(list[Any], engine.state.batch), cast(list[Any], engine.state.output)
        sources = [str(case["image"].meta["filename_or_obj"]) for case in batch]
        for source in sources:
            self.claim(source)
        for source, item in zip(sources, output, strict=True):
            self.save(source, item)

    def save(self, source: str, item: Mapping[str, Any]) -> None:
        """Write the files of one case; ``item`` as in ``engine.state.output``."""
        pred = convert_to_numpy(item["pred"])[0]
        write_label(pred, source, self.output_dir)
        if self.save_probabilities:
            probabilities = convert_to_numpy(item["probabilities"])
            write_probabilities(probabilities, source, self.output_dir / "probabilities", self.class_names)
        for name, maximum in (("variance", 1.0), ("entropy", math.log(len(self.class_names)))):
            if name in item:
                write_map(convert_to_numpy(item[name])[0], source, self.output_dir / "uncertainty", name, maximum)
        if self.save_overlays:
            self._draw(source, item, self.output_dir / "overlays" / f"{case_name(source)}.png")

    def tell(self) -> None:
        """Log what was written and where."""
        logger.info("%d label maps: %s", len(self._sources), self.output_dir.resolve())
        if self.save_overlays:
            logger.info("overlays to look at: %s", (self.output_dir / "overlays").resolve())
