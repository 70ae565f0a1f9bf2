from __future__ import annotations

import pytest
import torch
from torch import nn

from leaf_seg.inference import AutocastInferer


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_training_inferer_passes_all_arguments_on(precision: str, dtype: torch.dtype) -> None:
    linear = nn.Linear(2, 2)

    def network(inputs: torch.Tensor, factor: float, offset: float = 0.0) -> torch.Tensor:
        return linear(inputs) * factor + offset

    inputs = torch.ones(1, 2)
    output = AutocastInferer(precision)(inputs, network, 2.0, offset=1.0)
    assert output.dtype == dtype
    torch.testing.assert_close(output.float(), linear(inputs) * 2 + 1, rtol=0, atol=0.05)
