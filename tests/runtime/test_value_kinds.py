from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Optional

import pytest
import torch

from leaf_seg.runtime.value_kinds import described, is_of, kinds_like, kinds_of_annotation


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "a whole number"),
        (float | None, "a number or null"),
        (Optional[bool], "True or False or null"),  # noqa: UP045  # as libraries write it
        (str | Sequence[str], "text or a list"),
        (tuple[int, ...], "a list"),
        (int | float, "a number"),
    ],
)
def test_what_annotations_allow(annotation: Any, words: str) -> None:
    kinds = kinds_of_annotation(annotation)
    assert kinds is not None
    assert described(kinds) == words


@pytest.mark.parametrize("annotation", [Any, torch.device | str, Literal["a", "b"], "torch.Tensor", [int]])
def test_annotations_that_may_allow_anything(annotation: Any) -> None:
    assert kinds_of_annotation(annotation) is None


@pytest.mark.parametrize(
    ("now", "fit", "unfit"),
    [
        (1, [2, 0.5, [1, 2]], ["abc", True, {}]),
        (True, [False], ["false", 0]),
        ([1.0, 2.0], [[3], 3], ["abc", {}]),
        (["image"], [["pred"], "pred"], [3, {}]),
        ([{"a": 1}], [[]], ["abc", 3]),
        ({"a": 1}, [{}], ["abc", 3, []]),
        ({"_target_": "dict"}, [{}, []], ["abc", 3]),
    ],
)
def test_what_can_stand_in_place_of_a_value(now: Any, fit: list[Any], unfit: list[Any]) -> None:
    kinds = kinds_like(now)
    assert kinds is not None
    assert all(is_of(value, kinds) for value in [*fit, None, "$f()", "@x", {"_target_": "dict"}, ["@x"]])
    assert not any(is_of(value, kinds) for value in unfit)


def test_text_null_and_expressions_do_not_tell() -> None:
    assert [kinds_like(value) for value in ("bilinear", None, "$1 + 1", "@x")] == [None] * 4
