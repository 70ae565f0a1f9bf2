from __future__ import annotations

import pytest
import torch

from leaf_seg.metrics.temperature import fit_temperature


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_labels_that_are_drawn_from_tempered_probabilities_tell_the_temperature(temperature: float) -> None:
    logits = 2 * torch.randn(3, 40_000)
    labels = torch.multinomial((logits / temperature).softmax(dim=0).T, 1)[:, 0]
    found = fit_temperature([logits.softmax(dim=0)], [labels.to(torch.uint8)])
    assert found == pytest.approx(temperature, rel=0.05)


def test_cases_weigh_alike() -> None:
    """The best of two cases, one with many more voxels, by a search of their mean."""
    sizes, temperatures = (20_000, 500), (0.5, 3.0)
    logits = [2 * torch.randn(2, size) for size in sizes]
    pairs = zip(logits, temperatures, strict=True)
    labels = [torch.multinomial((values / t).softmax(dim=0).T, 1)[:, 0] for values, t in pairs]
    found = fit_temperature([values.softmax(dim=0) for values in logits], labels)

    def likelihood(temperature: float) -> float:
        losses = [torch.nn.functional.cross_entropy(v.T / temperature, y) for v, y in zip(logits, labels, strict=True)]
        return float(torch.stack(losses).mean())

    grid = [0.3 * 1.01**step for step in range(300)]
    assert found == pytest.approx(min(grid, key=likelihood), rel=0.011)
