from __future__ import annotations

import platform
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from leaf_seg.runtime.allocator import freed_memory_kept
from tests.faults.limited import MB, run_limited

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="as glibc keeps memory")


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def used_and_freed(kept: bool) -> int:
    """Bytes that are still the process's after it has freed blocks of 200 MB in all."""
    before = resident()
    with freed_memory_kept() if kept else nullcontext(True) as is_possible:
        assert is_possible
        blocks = [np.ones(40 * MB, np.uint8) for _ in range(5)]  # more than glibc keeps by itself
        del blocks
        return resident() - before


def test_it_is_kept() -> None:
    assert run_limited(lambda: int(used_and_freed(True) < 190 * MB)).code == 0
    assert run_limited(lambda: int(used_and_freed(False) > 50 * MB)).code == 0


def test_in_the_end_it_is_given_back() -> None:
    def in_the_end() -> int:
        before = resident()
        used_and_freed(True)
        return int(resident() - before > 50 * MB)

    assert run_limited(in_the_end).code == 0


def test_large_blocks_are_given_back_afterwards() -> None:
    def afterwards() -> int:
        used_and_freed(True)
        before = resident()
        block = np.ones(200 * MB, np.uint8)
        del block
        return int(resident() - before > 50 * MB)

    assert run_limited(afterwards).code == 0
