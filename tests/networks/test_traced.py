"""What torch.jit.script makes of every network, as MONAI's ckpt_export calls it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from leaf_seg.networks import NETWORKS, LatentSegmenter, SavedNetwork
from tests.networks.test_baselines import SMALL, make


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("kind", list(NETWORKS.values()))
def test_a_script_answers_as_the_network(
    kind: type[SavedNetwork], make_segmenter: Callable[..., LatentSegmenter], tmp_path: Path
) -> None:
    network: SavedNetwork = make(kind) if kind in SMALL else make_segmenter(kind=kind)
    torch.jit.save(torch.jit.script(network), tmp_path / "model.ts")
    script = torch.jit.load(tmp_path / "model.ts")
    for number in (1, 2, 5):
        image = torch.rand(number, 3, *network.image_size)
        with torch.no_grad():
            torch.testing.assert_close(script(image), network(image))
