"""The shipped model, which the training config describes where no data set is given, as to ``monai.bundle.load``."""

from __future__ import annotations

import os
from typing import Any

from leaf_seg.data.datalists import Datalist, load_datalist
from leaf_seg.data.layouts import no_data_set
from leaf_seg.weights.model_folder import load_settings

PathLike = str | os.PathLike[str]


def datalist_or_none(
    dataset_dir: str | None, datalist_file: str | None, seed: int, models: PathLike, **choices: Any
) -> Datalist:
    """As :func:`~leaf_seg.data.load_datalist`; without a data set no cases, and the classes of the shipped model.

    Args:
        dataset_dir: data set; None without one.
        datalist_file: where a split made here is kept.
        seed: of the shuffling.
        models: folder of the shipped model.
        choices: ``split_file``, ``fold``, ``modality``, ``group_regex`` and ``group_file`` of ``load_datalist``.

    Raises:
        InputError: As of ``load_datalist``.
    """
    if dataset_dir is None:
        return Datalist([], [], [], list(load_settings(models).class_names), sha256="")
    return load_datalist(dataset_dir, datalist_file, seed=seed, **choices)


def check_data_given(datalist: Datalist) -> None:
    """Refuse to train or evaluate without a data set.

    Raises:
        InputError: When there are no cases at all.
    """
    if not (datalist.training or datalist.validation or datalist.testing):
        raise no_data_set()
