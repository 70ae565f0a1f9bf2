"""Settings of a training that fit its data set, for the keys that nobody has given: ``--auto true``."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from tqdm import tqdm

from leaf_seg.data.datalists import Datalist, class_names
from leaf_seg.data.label_coding import INDEX
from leaf_seg.dataset_check.case_facts import Loader, case_loader, measure_case
from leaf_seg.dataset_check.plan import plan_for, sample_of
from leaf_seg.dataset_check.run_check import suggestions_for
from leaf_seg.dataset_check.suggestions import SUGGESTED_KEYS, Suggestion
from leaf_seg.image_io.reading_options import DEFAULT_READING, ReadingOptions
from leaf_seg.runtime.distributed import once
from leaf_seg.runtime.overrides import command_line_settings
from leaf_seg.runtime.values import parse_bool

logger = logging.getLogger(__name__)

Suggested = Mapping[str, Suggestion]


def suggested_settings(
    auto: bool | str,
    datalist: Datalist,
    num_classes: int | None = None,
    names: Sequence[str] | None = None,
    given: Mapping[str, Any] | None = None,
    label_encoding: str = INDEX,
    label_colors: Any = None,
    reading: ReadingOptions = DEFAULT_READING,
) -> Suggested:
    """Suggestions by key, made of up to 200 training cases; none without ``auto``.

    Keys that the command line or an overlay gives have none, and the others fit them. One of several processes does it
    for all.

    Args:
        auto: whether suggestions are wanted.
        datalist: whose training cases are looked at.
        num_classes: background included; None takes it from the data set.
        names: of the classes, background first.
        given: values that are given, by key; those of the command line unless said otherwise.
        label_encoding: what label files hold, as of :class:`~leaf_seg.data.ModelSettings`.
        label_colors: the colours of the classes there.
        reading: how files are read that can be read in several ways.

    Raises:
        InputError: For the first case that cannot be used.
    """
    if not parse_bool(auto, "auto"):
        return {}
    settings = command_line_settings() if given is None else given
    values = {key: settings[key] for key in SUGGESTED_KEYS if key in settings}
    chosen = class_names(datalist, num_classes, names, label_colors)
    load = case_loader(len(chosen), chosen, label_encoding=label_encoding, label_colors=label_colors, reading=reading)
    found = once(partial(_suggested, datalist, values, load, reading))
    return {suggestion.key: suggestion for suggestion in found if suggestion.key not in values}


def _suggested(datalist: Datalist, given: Mapping[str, Any], load: Loader, reading: ReadingOptions) -> list[Suggestion]:
    cases = sample_of(datalist.training)
    plan = plan_for(cases, given, reading)
    progress = tqdm(cases, desc="Choosing settings", unit="case", leave=False)
    facts = [measure_case(case, "training", load, plan.image_size, plan.axis.value) for case in progress]
    return suggestions_for(facts, plan, len(datalist.training))


def setting(suggested: Suggested, key: str, default: Any) -> Any:
    """The suggested value of a key, or else its default."""
    return suggested[key].value if key in suggested else default


def log_suggested(suggested: Suggested) -> None:
    """Log what was chosen, and why."""
    for suggestion in suggested.values():
        logger.info("auto: %s is %s: %s.", suggestion.key, suggestion.value, suggestion.reason)
