from __future__ import annotations

import io
import random

import numpy as np
import torch

from leaf_seg.engines import random_state, set_random_state


def draw() -> list[float]:
    return [random.random(), float(np.random.rand()), float(np.random.randn()), float(torch.rand(()))]


def test_every_generator_goes_on_where_it_was() -> None:
    np.random.randn()  # leaves half of a Gaussian pair in the state
    state = random_state()
    expected = draw() + draw()
    assert draw() + draw() != expected
    set_random_state(state)
    assert draw() + draw() == expected


def test_state_survives_a_file_that_is_loaded_safely() -> None:
    file = io.BytesIO()
    torch.save(random_state(), file)
    expected = draw()
    file.seek(0)
    set_random_state(torch.load(file, weights_only=True))
    assert draw() == expected
