from __future__ import annotations

from typing import Any

import pytest

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.values import check_number, parse_bool


@pytest.mark.parametrize("value", [True, 1, "true", "True", "TRUE", "yes", "Yes", "1", " true "])
def test_parse_bool_true(value: Any) -> None:
    assert parse_bool(value, "resume") is True


@pytest.mark.parametrize("value", [False, 0, "false", "False", "FALSE", "no", "No", "0"])
def test_parse_bool_false(value: Any) -> None:
    assert parse_bool(value, "resume") is False


@pytest.mark.parametrize("value", ["flase", "", "on", "truee", 2, 1.0, None, [], ["true"]])
def test_parse_bool_refuses_the_rest(value: Any) -> None:
    with pytest.raises(InputError, match="resume") as caught:
        parse_bool(value, "resume")
    assert repr(value) in str(caught.value)
    assert "true, 1, yes, false, 0, no" in str(caught.value)


@pytest.mark.parametrize("value", [0.5, 3])
def test_a_number_that_fits(value: float) -> None:
    assert check_number(value, "max_minutes", "more than 0", lambda number: number > 0) == value


@pytest.mark.parametrize("value", [0, -1, True, "5", None])
def test_any_other_value(value: Any) -> None:
    with pytest.raises(InputError, match=r"max_minutes is .*; expected more than 0"):
        check_number(value, "max_minutes", "more than 0", lambda number: number > 0)
