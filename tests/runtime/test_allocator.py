from __future__ import annotations

import platform
import resource
from contextlib import nullcontext

import numpy as np
import pytest

from leaf_seg.runtime.allocator import freed_memory_kept
from tests.faults.limited import MB, run_limited

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="as glibc keeps memory")


def faults_of(megabytes: int = 40, blocks: int = 5) -> int:
    """Pages that the system has to clear for blocks which are written once and freed."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [np.ones(megabytes * MB, np.uint8) for _ in range(blocks)]  # more in all than glibc keeps by itself
    del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


FEW, MANY = 20, 90  # 200 MB are 100 huge pages or 51 200 small ones


def faults_of_a_second_time(kept: bool) -> int:
    with freed_memory_kept() if kept else nullcontext(True) as is_possible:
        assert is_possible
        faults_of()
        return faults_of()


def test_it_is_kept() -> None:
    assert run_limited(lambda: int(faults_of_a_second_time(True) > FEW)).code == 0
    assert run_limited(lambda: int(faults_of_a_second_time(False) < MANY)).code == 0


def test_in_the_end_it_is_given_back() -> None:
    def in_the_end() -> int:
        faults_of_a_second_time(True)
        return int(faults_of() < MANY)

    assert run_limited(in_the_end).code == 0


def test_large_blocks_are_given_back_afterwards() -> None:
    def afterwards() -> int:
        faults_of_a_second_time(True)
        faults_of(200, 1)
        return int(faults_of(200, 1) < MANY)

    assert run_limited(afterwards).code == 0
