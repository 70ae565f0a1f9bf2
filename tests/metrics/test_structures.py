from __future__ import annotations

import numpy as np
import pytest

from leaf_seg.metrics import describe_structures

NAMES = ["background", "a", "b"]


def test_size_confidence_and_entropy_of_each_structure() -> None:
    probabilities = np.array([[[0.1, 0.7, 0.2]], [[0.8, 0.2, 0.5]], [[0.1, 0.1, 0.3]]])  # [3, 1, 3]
    label = probabilities.argmax(axis=0)
    structures = describe_structures(label, probabilities, NAMES, element_size=0.5)
    assert list(structures) == ["a", "b"]
    a = structures["a"]
    assert a.size == 1.0
    assert a.confidence == pytest.approx(0.65)
    terms = [-p * np.log(p) for column in (0, 2) for p in probabilities[:, 0, column]]
    assert a.entropy == pytest.approx(sum(terms) / 2)
    assert (structures["b"].size, structures["b"].confidence, structures["b"].entropy) == (0.0, None, None)


def test_entropy_of_a_certain_structure_is_zero() -> None:
    probabilities = np.zeros((3, 2, 2))
    probabilities[2] = 1
    structures = describe_structures(probabilities.argmax(axis=0), probabilities, NAMES)
    assert (structures["b"].confidence, structures["b"].entropy) == (1.0, 0.0)
