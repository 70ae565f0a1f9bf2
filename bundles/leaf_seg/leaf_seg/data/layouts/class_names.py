"""Names of the classes, from the labels of a ``dataset.json``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leaf_seg.data.model_settings import check_class_names
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import one_line

logger = logging.getLogger(__name__)

_IGNORE = "ignore"  # nnU-Net's name of what is to be learnt nothing from


def read_class_names(labels: Any, path: Path) -> list[str] | None:
    """Class names in order, from ``{"0": "background", ...}`` or the newer ``{"background": 0, ...}``.

    nnU-Net's label "ignore" becomes no class: label files that have it are refused when they are loaded, which is said.

    Raises:
        InputError: When numbers have gaps, names cannot be shown, or nnU-Net's regions overlap.
    """
    if labels is None:
        return None
    pairs = list(labels.items()) if isinstance(labels, dict) else []
    regions = [key for key, value in pairs if isinstance(value, (list, tuple)) and len(value) > 1]
    if regions:
        raise InputError(
            f"{path}: its labels {one_line(', '.join(regions))} are regions of several values (nnU-Net's region-based "
            "training), which may overlap; expected classes, of which a pixel has one. Give each value a name instead: "
            '{"background": 0, "edema": 1, ...}.'
        )
    numbers_first = all(str(key).isdigit() for key, _ in pairs)
    names = {str(key): value for key, value in pairs} if numbers_first else {_number(v): k for k, v in pairs}
    count = len(pairs)
    ignored = [number for number, name in names.items() if str(name).strip().lower() == _IGNORE]
    for number in ignored if len(ignored) == 1 else []:
        del names[number]
        count -= 1
        logger.warning(
            "%s: its label 'ignore' (%s) is no class here, and nothing is left out of the loss: label files that "
            "have the value are refused. Give those pixels a class, or take such cases out.",
            path,
            number,
        )
    numbers = [str(number) for number in range(len(names))]
    if len(names) < max(2, count) or set(names) != set(numbers):
        raise InputError(
            f"{path}: its labels are {labels!r}; expected the classes 0, 1, ... without gaps, as "
            '{"0": "background", "1": "name"} or {"background": 0, "name": 1}. Correct them.'
        )
    return list(check_class_names([names[number] for number in numbers], f"{path}: its labels, by number,"))


def _number(value: Any) -> str:
    """A label's number; nnU-Net also writes it as a list of one."""
    return str(value[0] if isinstance(value, (list, tuple)) and len(value) == 1 else value)


def modality_names(content: Mapping[str, Any]) -> list[str]:
    """Names of the channels, from ``modality`` (Decathlon) or ``channel_names`` (nnU-Net), in their order."""
    listed = content.get("channel_names") or content.get("modality") or {}
    if not isinstance(listed, dict):
        return [str(listed)]
    numbered = sorted(listed.items(), key=lambda item: (len(str(item[0])), str(item[0])))
    return [str(name) for _, name in numbered]
