"""Settings that fit the data set, where training starts from a model: ``--auto true --init_dir MODEL``."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from leaf_seg.data.datalists import Datalist
from leaf_seg.data.label_coding import INDEX
from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.dataset_check import auto_settings
from leaf_seg.dataset_check.suggestions import Suggestion
from leaf_seg.image_io import ReadingOptions
from leaf_seg.image_io.reading_options import DEFAULT_READING
from leaf_seg.runtime.overrides import command_line_settings
from leaf_seg.runtime.values import parse_bool
from leaf_seg.weights.model_folder import load_settings

logger = logging.getLogger(__name__)

_OF_THE_MODEL = ("image_size", "axis", "num_slices", "window")  # how it sees images
_NOT_CHOSEN = (
    "spacing",
    "tile_overlap",
    "mirror_axes",
    "channels",
    "tiff_stack",
)  # of these ``--auto`` chooses nothing


def suggested_settings(
    auto: bool | str,
    datalist: Datalist,
    num_classes: int | None = None,
    names: Sequence[str] | None = None,
    label_encoding: str = INDEX,
    label_colors: Any = None,
    reading: ReadingOptions = DEFAULT_READING,
    given: Mapping[str, Any] | None = None,
) -> dict[str, Suggestion]:
    """As of :func:`leaf_seg.dataset_check.auto_settings.suggested_settings`; how a model saw its images stands.

    Where ``init_dir`` is given, image size, slicing direction, neighbouring slices and window are those of the model
    there, which its weights are for, unless they are given, too. The others fit them.

    Args:
        auto: whether suggestions are wanted.
        datalist: whose training cases are looked at.
        num_classes: background included; None takes it from the data set.
        names: of the classes, background first.
        label_encoding: what label files hold, as of :class:`~leaf_seg.data.ModelSettings`.
        label_colors: the colours of the classes there.
        reading: how files are read that can be read in several ways.
        given: values that are given, by key; those of the command line unless said otherwise.

    Raises:
        InputError: For the first case that cannot be used, and when there is no model in ``init_dir``.
    """
    if not parse_bool(auto, "auto"):
        return {}
    values = dict(command_line_settings() if given is None else given)
    init_dir = values.get("init_dir")
    own: dict[str, Any] = {}
    if init_dir is not None:
        model = load_settings(init_dir)
        own = {key: _plain(getattr(model, key)) for key in _OF_THE_MODEL if key not in values}
        _tell_others(model, init_dir, values)
    suggested = auto_settings.suggested_settings(
        auto, datalist, num_classes, names, {**values, **own}, label_encoding, label_colors, reading
    )
    kept = {key: Suggestion(key, value, f"that of the model in {init_dir}") for key, value in own.items()}
    return {**kept, **suggested}


def _tell_others(model: ModelSettings, init_dir: str, given: Mapping[str, Any]) -> None:
    """Name what the model has and this training has not."""
    for key in _NOT_CHOSEN:
        own, now = (_plain(value) for value in (getattr(model, key), given.get(key)))
        if own and own != now:
            logger.warning(
                "auto: the model in %s has %s %s, and this training %s. Give --%s to go on as it was trained.",
                init_dir,
                key,
                own,
                "null" if now is None else now,
                key,
            )


def _plain(value: Any) -> Any:
    """As it would stand in a config."""
    return list(value) if isinstance(value, tuple) else value
