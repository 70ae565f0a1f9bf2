"""What is said of errors that are nobody's input."""

from __future__ import annotations

from torch.distributed import DistBackendError

from leaf_seg.runtime.plain import plain_message


def test_what_a_backend_says_is_told() -> None:
    message = plain_message(DistBackendError("NCCL error: Duplicate GPU detected\nmore"))
    assert message is not None
    assert "NCCL error: Duplicate GPU detected" in message
    assert "\n" not in message


def test_other_errors_are_the_program_s() -> None:
    assert plain_message(RuntimeError("a fault")) is None
