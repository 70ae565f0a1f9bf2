"""Which cases several raters have labelled."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from leaf_seg.data.splits import Case
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.values import parse_bool

logger = logging.getLogger(__name__)


def have_raters(cases: Sequence[Case]) -> bool:
    """Whether any case has the labels of several raters, paths under "raters"."""
    return any("raters" in case for case in cases)


def hypotheses_wanted(cases: Sequence[Case], report: bool | str) -> bool:
    """Whether an evaluation needs its hypotheses one by one: to compare them with raters, or to draw them.

    Args:
        cases: to be evaluated.
        report: the setting of that name.

    Raises:
        InputError: When that is neither true nor false.
    """
    return parse_bool(report, "report") or have_raters(cases)


def with_targets(cases: Sequence[Case], rater_target: str | None) -> list[Case]:
    """The cases of a training, with the raters that it is trained on.

    Without a ``rater_target`` none has raters. With one, a case that has none is trained on its label, which is told.

    Args:
        cases: of the training split.
        rater_target: the setting of that name.

    Raises:
        InputError: When raters are to be trained on, and no case has any.
    """
    if rater_target is None:
        return [{key: value for key, value in case.items() if key != "raters"} for case in cases]
    without = [case for case in cases if "raters" not in case]
    if len(without) == len(cases):
        raise InputError(
            f"rater_target is {rater_target}, and none of the {len(cases)} training cases has labels of several "
            "raters; expected folders such as labels_r1 beside labels, or raters in the list. Leave rater_target out."
        )
    if without:
        logger.warning(
            "%d of %d training cases have no raters and are trained on their label: the first is %s.",
            len(without),
            len(cases),
            without[0]["label"],
        )
    return list(cases)
