from __future__ import annotations

import pytest

from leaf_seg.runtime.references import references


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("@a#b", {("a", "b")}),
        ("@a::b", {("a", "b")}),
        ("$@a + @b::c.size", {("a",), ("b", "c")}),
        ("%a", {("a",)}),
        ("%/x/other.json#a", set()),
        ("a@b.org", set()),
        ("$import torch", set()),
    ],
)
def test_what_a_value_refers_to(value: str, found: set[tuple[str, ...]]) -> None:
    assert references({"x": [{"y": value}]}) == found


def test_relative_references() -> None:
    assert references({"train": {"a": "@#b", "c": ["@##d"]}, "train#e": "@#f"}) == {
        ("train", "b"),
        ("train", "d"),
        ("train", "f"),
    }
