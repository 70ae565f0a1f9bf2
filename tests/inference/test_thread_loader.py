from __future__ import annotations

import threading
from typing import Any

import pytest
from monai.data import Dataset

from leaf_seg.inference import ThreadLoader


def test_items_come_in_order_from_another_thread() -> None:
    threads = set()

    def prepare(item: int) -> int:
        threads.add(threading.current_thread())
        return item

    assert [int(batch[0]) for batch in ThreadLoader(Dataset(range(7), prepare), batch_size=1)] == list(range(7))
    assert threads.isdisjoint({threading.main_thread()})


def test_an_error_is_not_lost() -> None:
    def prepare(item: int) -> Any:
        if item == 3:
            raise ValueError("broken")
        return item

    found: list[int] = []
    with pytest.raises(RuntimeError, match="applying transform"):
        found.extend(int(batch[0]) for batch in ThreadLoader(Dataset(range(7), prepare), batch_size=1))
    assert found == [0, 1, 2]
