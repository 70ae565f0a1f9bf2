from __future__ import annotations

from leaf_seg.runtime.errors import InputError, causes, input_error_in
from leaf_seg.runtime.files import no_space_error


def test_what_led_to_an_error() -> None:
    first, second, third = OSError("first"), InputError("second"), RuntimeError("third")
    third.__cause__, second.__context__ = second, first
    assert list(causes(third)) == [third, second, first]
    assert input_error_in(third) is second
    assert input_error_in(first) is None


def test_errors_that_led_to_themselves_and_to_each_other_come_to_an_end() -> None:
    """``raise error from error``, and what web frameworks make of errors that are handled twice."""
    alone, one, other = ValueError("alone"), ValueError("one"), ValueError("other")
    alone.__cause__ = alone
    one.__cause__, other.__cause__ = other, one
    assert list(causes(alone)) == [alone]
    assert list(causes(one)) == [one, other]
    assert input_error_in(one) is None
    assert no_space_error(other) is None
