"""An exported file as a network that segments."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import torch
from torch import nn

from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.export.file_format import Run
from leaf_seg.export.formats import FORMATS
from leaf_seg.export.variants import WholeModel
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import printable


class ExportedNetwork(nn.Module):
    """Runs an exported file on the CPU, in fp32, in the place of the network that it was made of.

    Args:
        run: the exported function.
        variant: which of :data:`~leaf_seg.export.variants.VARIANTS` it is.

    Attributes:
        resizes: whether it takes images of any size, as the whole model does, and answers in theirs.
    """

    def __init__(self, run: Run, variant: str) -> None:
        super().__init__()
        self._run = run
        self.resizes = variant == WholeModel.name

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Class probabilities [B, K, H, W] of images [B, 3, H, W] in [0, 1]; only a whole model takes any size."""
        limits = (torch.tensor(0.0), torch.tensor(1.0)) if self.resizes else ()
        return self._run(image, *limits)[-1]

    def noise_seeds(self, number: int) -> NoReturn:
        """An exported file draws no noise.

        Raises:
            InputError: Always.
        """
        raise InputError(
            f"An exported file has one answer to an image, and no {number} hypotheses or noise seeds to draw. Set "
            "num_samples to 1, or segment with the folder of the model."
        )


def is_exported(model: str | os.PathLike[str]) -> bool:
    """Whether the path of a model is that of an exported file, by its ending, and not of a folder."""
    path = Path(model)
    return not path.is_dir() and (path.is_file() or path.suffix in _BY_SUFFIX)


def load_exported(file: str | os.PathLike[str]) -> tuple[ExportedNetwork, ModelSettings]:
    """Read an exported file: the network, and how its images are prepared.

    Raises:
        InputError: When it is none, or damaged, or a library is missing.
    """
    path = Path(file)
    if path.suffix not in _BY_SUFFIX:
        raise InputError(
            f"{printable(path)} is no model; expected the folder of a model, or an exported file, whose name ends in "
            f"{' or '.join(_BY_SUFFIX)}."
        )
    if not path.is_file():
        raise InputError(
            f"There is no file {printable(path)}; expected one that python -m leaf_seg export has written."
        )
    run, description = _BY_SUFFIX[path.suffix].read(path)
    return ExportedNetwork(run, description.variant).eval(), description.settings


_BY_SUFFIX = {file_format.suffix: file_format for file_format in FORMATS.values()}
