from __future__ import annotations

import os
from pathlib import Path

import pytest

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.json_file import read_json_object


def test_reads_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [1, -2.5e3, null, true], "ä": {"a": "ß"}}', encoding="utf-8")
    assert read_json_object(tmp_path / "a.json") == {"a": [1, -2500.0, None, True], "ä": {"a": "ß"}}
    (tmp_path / "a.json").write_text('{"a": 1}', encoding="utf-8-sig")
    assert read_json_object(tmp_path / "a.json") == {"a": 1}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "Expecting value"),
        (b"[1]", "holds a list"),
        (b'{"a": NaN}', "NaN is no JSON"),
        (b'{"a": -1e999}', "-1e999 is too large a number"),
        (b'{"a": {"b": 1, "b": 2}}', "the key 'b' is there twice"),
        (b'{"a": "\xe9"}', "'utf-8' codec can't decode"),
        (b'{"a":' * 50_000, "recursion"),
        (b'{"a": ' + b"9" * 5000 + b"}", "4300 digits"),
        (b" " * (2**25 + 1), "more than 32 MB"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_tells_what_is_wrong_in_one_line(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError) as refusal:
        read_json_object(tmp_path / "a.json")
    message = str(refusal.value)
    assert message.startswith(f"{tmp_path / 'a.json'}: ")
    assert words in message
    assert message.isprintable()


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda file: file.symlink_to(file.name), lambda file: None])
def test_what_is_no_file(make: object, tmp_path: Path) -> None:
    make(tmp_path / "a.json")  # type: ignore[operator]
    with pytest.raises(InputError, match=r"a\.json: cannot be read as JSON \((a folder|no file|not a plain file)\)"):
        read_json_object(tmp_path / "a.json")
