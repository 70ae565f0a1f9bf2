"""Writes a model folder as one file."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from leaf_seg.export.agreement import agreement
from leaf_seg.export.description import Description
from leaf_seg.export.formats import FORMATS
from leaf_seg.export.variants import NetworkAlone, WholeModel
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import check_home, replacing
from leaf_seg.runtime.text import one_line, printable
from leaf_seg.weights import load_network, load_settings
from leaf_seg.weights.model_folder import model_id

logger = logging.getLogger(__name__)


def export_model(
    folder: str | os.PathLike[str], to: str, whole: bool = False, output: str | os.PathLike[str] | None = None
) -> Path:
    """Export a model, and compare the file with it before the file is there.

    Args:
        folder: of the model.
        to: "onnx" or "torchscript".
        whole: with scaling, resizing and labels, for images of any size; else the network alone.
        output: file to write, with the ending of the format; ``model.onnx`` or ``model_whole.onnx``, or with ``.ts``,
            in the model's folder unless given.

    Returns:
        The file.

    Raises:
        InputError: When the folder is no model, a library is missing, the file cannot be written, or does not do what
            the model does.
    """
    if to not in FORMATS:
        raise InputError(f"to is {to!r}; expected one of {', '.join(FORMATS)}.")
    file_format = FORMATS[to]
    stem = "model_whole" if whole else "model"
    file = _checked(
        Path(folder) / f"{stem}{file_format.suffix}" if output is None else Path(output), file_format.suffix
    )
    settings = load_settings(folder)
    if whole and settings.tile_overlap is not None:
        raise InputError(
            f"{folder}: the model sees images tile by tile, and a whole export would resize them; expected a model "
            "without tile_overlap. Export the network alone: leave --whole out."
        )
    module = (WholeModel if whole else NetworkAlone)(load_network(folder)).eval()
    file_format.check(module)
    with replacing(file) as temporary:
        file_format.write(module, Description(module.name, settings, model_id(folder)), temporary)
        run, _ = file_format.read(temporary)
        try:
            found = agreement(module, run)
        except Exception as error:  # a trace of one size fails with another in ways of its own
            raise _refused(file, f"it fails on images of other sizes ({one_line(error, 200)})") from error
        if not found.holds:
            raise _refused(file, str(found))
    logger.info("Exported to %s, which agrees with the model on random images: %s.", file, found)
    if settings.temperature != 1:
        logger.info(
            "The model's temperature, %g, is in the file's settings and not in its probabilities p: leaf_seg applies "
            "it, and others make p ** (1 / %g) of them, divided by the sum over the classes.",
            settings.temperature,
            settings.temperature,
        )
    if not found.unsure:
        logger.warning("The model is sure of all that it was asked; compare file and model on images of your own.")
    return file


def _checked(file: Path, suffix: str) -> Path:
    """The path of a file to write, in a folder that exists."""
    check_home(file)
    if file.suffix != suffix:
        raise InputError(f"The output file is {printable(file)}; expected a name that ends in {suffix}.")
    if not file.parent.is_dir() or file.is_dir():
        raise InputError(f"The output file is {printable(file)}; expected a file in a folder that exists.")
    return file


def _refused(file: Path, reason: str) -> InputError:
    return InputError(
        f"{file} was not written, since it would not do what the model does: {reason}. Choose the other format of "
        "--to, or segment with the model's folder."
    )
