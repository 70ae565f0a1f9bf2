from __future__ import annotations

import pytest
import torch

from leaf_seg.runtime.errors import InputError
from lib import options


def test_lists_are_what_a_client_leaves_unchanged() -> None:
    assert options.choice({"version": ["v002", "v001"]}, "version", ["v002", "v001"]) == "v002"
    assert options.whole_number({"hypotheses": ["3", "5"]}, "hypotheses", 1, 1, 10) == 3
    assert options.flag({}, "largest", default=True) is True


def test_numbers_may_be_text() -> None:
    assert options.number({"rate": "0.25"}, "rate", 0.5, 0, 1) == 0.25
    assert options.number({"rate": ""}, "rate", 0.5, 0, 1) == 0.5
    assert options.flag({"largest": "false"}, "largest", default=True) is False


@pytest.mark.parametrize("value", ["many", "-1", 11, True, float("nan"), "inf"])
def test_numbers_that_do_not_fit(value: object) -> None:
    with pytest.raises(InputError, match=r"hypotheses is .*; expected a number from 1 to 10"):
        options.whole_number({"hypotheses": value}, "hypotheses", 1, 1, 10)


def test_other_values_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="expected a whole number"):
        options.whole_number({"hypotheses": 2.5}, "hypotheses", 1, 1, 10)
    with pytest.raises(InputError, match="version is 'v9'; expected one of served, v001"):
        options.choice({"version": "v9"}, "version", ["served", "v001"])
    with pytest.raises(InputError, match="largest is 'perhaps'"):
        options.flag({"largest": "perhaps"}, "largest", default=False)


def test_cuda_without_one_is_the_cpu_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    assert options.device({}) == options.device({"device": "cpu"}) == "cpu"
    assert not caplog.records
    assert options.device({"device": "cuda"}) == "cpu"  # the default of MONAI Label's batch inference
    assert "cuda was asked for" in caplog.text
