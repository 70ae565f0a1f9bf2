from __future__ import annotations

import pytest

from leaf_seg.runtime.errors import InputError
from lib.hosts import parse_hosts

LOOPBACK = ["localhost", "127.0.0.1", "[::1]"]


def test_hosts_beside_this_machine() -> None:
    assert parse_hosts("") == LOOPBACK
    assert parse_hosts(" Workstation.example.org,[fd00::5] ,*") == [
        *LOOPBACK,
        "workstation.example.org",
        "[fd00::5]",
        "*",
    ]


@pytest.mark.parametrize("text", ["a b", "http://a", "a:8000", "*a", "a.*", "fd00::5", "-a", "a/b"])
def test_what_is_no_host(text: str) -> None:
    with pytest.raises(InputError, match=r"allowed_hosts has .*; expected names or addresses without port"):
        parse_hosts(text)
