from __future__ import annotations

import pytest
import torch

from leaf_seg.export.agreement import agreement
from leaf_seg.export.variants import Tensors, Variant, WholeModel
from leaf_seg.networks import SegResNetSegmenter
from tests.networks.test_baselines import make


@pytest.fixture(scope="module")
def module() -> Variant:
    return WholeModel(make(SegResNetSegmenter)).eval()


def test_the_module_agrees_with_itself(module: Variant) -> None:
    found = agreement(module, module)
    assert (found.difference, found.other_labels) == (0, 0)
    assert found.unsure > 0.8
    assert found.holds


@pytest.mark.parametrize("offset", [0.002, float("nan")])
def test_probabilities_that_differ(module: Variant, offset: float) -> None:
    def other(*inputs: torch.Tensor) -> Tensors:
        labels, probabilities = module(*inputs)
        return labels, probabilities + offset

    assert not agreement(module, other).holds


def test_nan_in_the_first_batch_is_not_forgotten(module: Variant) -> None:
    batches: list[int] = []

    def other(*inputs: torch.Tensor) -> Tensors:
        labels, probabilities = module(*inputs)
        batches.append(len(labels))
        return labels, probabilities + (float("nan") if len(batches) == 1 else 0)

    assert not agreement(module, other).holds
    assert len(batches) > 1


def test_labels_that_differ(module: Variant) -> None:
    def other(*inputs: torch.Tensor) -> Tensors:
        labels, probabilities = module(*inputs)
        labels[:, 0] = 2 - labels[:, 0]
        labels[:, 1] = 1
        return labels, probabilities

    found = agreement(module, other)
    assert found.difference == 0
    assert 0.001 < found.other_labels < 0.2
    assert not found.holds


def test_another_kind_of_number(module: Variant) -> None:
    def other(*inputs: torch.Tensor) -> Tensors:
        labels, probabilities = module(*inputs)
        return labels.long(), probabilities

    assert not agreement(module, other).holds
