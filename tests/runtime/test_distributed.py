from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from leaf_seg.runtime.distributed import gathered, is_rank_zero, num_processes, once, once_per_node, own_share, rank
from leaf_seg.runtime.errors import InputError
from tests.two_processes import in_two_processes


def fail(error: Exception) -> None:
    raise error


def work() -> dict[str, Any]:
    called: list[int] = []

    def measure() -> str:
        called.append(rank())
        return f"measured by {rank()}"

    def refuse() -> None:
        raise InputError("one line")

    results = {"once": once(measure), "once_per_node": once_per_node(measure), "called": called}
    try:
        once(refuse)
    except InputError as error:
        results["error"] = str(error)
    for other in (KeyError("not bad input"), PermissionError(13, "denied", "file.pt")):
        try:
            once(partial(fail, other))
        except Exception as found:
            results[type(other).__name__] = f"{type(found).__name__}: {found}"
    results["gathered"] = gathered(f"{rank()}{letter}" for letter in "ab"[: 2 - rank()])
    results["share"] = own_share(torch.arange(6)).tolist()
    return results | {"number": (rank(), num_processes(), is_rank_zero())}


def test_one_process_works_alone() -> None:
    with pytest.raises(InputError, match="one line"):
        once(lambda: (_ for _ in ()).throw(InputError("one line")))
    results = work()
    assert results["gathered"] == ["0a", "0b"]
    assert results["share"] == [0, 1, 2, 3, 4, 5]
    assert results["called"] == [0, 0]
    assert results["number"] == (0, 1, True)


@pytest.mark.dist
def test_two_processes_share_the_work(tmp_path: Path) -> None:
    first, second = in_two_processes(work, tmp_path)
    for results in (first, second):
        assert results["once"] == results["once_per_node"] == "measured by 0"
        assert results["error"] == "one line", "an error of the one is told to the other, which would wait"
        assert results["gathered"] == ["0a", "0b", "1a"]
    assert first["KeyError"] == "KeyError: 'not bad input'"
    assert second["KeyError"].startswith("InputError: Process 0 has failed (KeyError: "), "any error"
    assert first["PermissionError"].startswith("PermissionError: ")
    assert second["PermissionError"].startswith("InputError: file.pt: cannot be read or written (denied)")
    assert (first["called"], second["called"]) == ([0, 0], [])
    assert (first["share"], second["share"]) == ([0, 2, 4], [1, 3, 5])
    assert (first["number"], second["number"]) == ((0, 2, True), (1, 2, False))
