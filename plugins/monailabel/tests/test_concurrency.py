"""Many clients at once."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests

from plugins.monailabel.tests.conftest import FIRST, Server

REQUESTS = 20


def test_concurrent_requests_give_the_same_bits(
    make_studies: Callable[[Path], Path],
    start: Callable[..., Server],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = start(make_studies(tmp_path / "studies"))
    process = psutil.Process(server.process.pid)

    def segment(number: int) -> tuple[bytes, str]:
        image = (FIRST, "oblique", "picture")[number % 3]
        address = f"http://127.0.0.1:{server.port}/infer/leaf_seg?image={image}&output=image"
        answer = requests.post(address, timeout=600)
        assert answer.status_code == 200, answer.text
        return answer.content, image

    segment(0)  # loads the model
    started = time.monotonic()
    single = [segment(number) for number in range(3)]  # one of each image
    middle = time.monotonic()
    with ThreadPoolExecutor(REQUESTS) as pool:
        together = list(pool.map(segment, range(REQUESTS)))
    ended = time.monotonic()
    assert together == [single[number % 3] for number in range(REQUESTS)]
    assert len({content for content, _ in single}) == 3
    figures = {
        "seconds_each_one_by_one": round((middle - started) / len(single), 2),
        "seconds_each_together": round((ended - middle) / REQUESTS, 2),
        "server_memory_gb": round(process.memory_info().rss / 1e9, 2),
    }
    for name, value in figures.items():
        record_property(name, value)
    with capsys.disabled():
        sys.stdout.write(f"\n{REQUESTS} requests: {figures}\n")
