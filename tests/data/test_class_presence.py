from __future__ import annotations

import pytest
import torch

from leaf_seg.data.class_presence import ClassPresence
from leaf_seg.runtime.errors import InputError

EMPTY = torch.zeros(1, 4, 4)


def test_empty_labels_are_an_error_or_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    needed, optional = ClassPresence(), ClassPresence(["background", "a"], "validation", is_needed=False)
    for presence in (needed, optional):
        presence.add(EMPTY)
        presence.add(EMPTY)
    with pytest.raises(InputError, match="None of 2 training labels has any structure"):
        needed.check()
    optional.check()
    assert caplog.text.count("None of 2 validation labels has any structure") == 1


def test_absent_classes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    presence = ClassPresence(["background", "a", "b", "c"])
    presence.add(EMPTY)
    presence.add(EMPTY + 2)
    presence.check()
    assert "1 of 2 training labels are empty." in caplog.text
    assert "No training case has class 1 (a), 3 (c): nothing is learnt" in caplog.text
