"""Tiles of a picture, put together again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from leaf_seg.data import ModelSettings
from leaf_seg.inference import SegmentationInferer, TileInferer, inferer_for
from leaf_seg.inference.segmenter import Segmenter
from leaf_seg.networks import LatentSegmenter
from leaf_seg.runtime.errors import InputError
from tests.inference.test_inferers import Thresholds

Make = Callable[..., LatentSegmenter]


@torch.no_grad()
def segment(network: Any, image: torch.Tensor, **options: Any) -> Any:
    return TileInferer((16, 16), **options)(image, network)


@pytest.mark.parametrize("size", [(16, 16), (40, 33), (9, 50)])
@pytest.mark.parametrize("overlap", [0, 0.5])
def test_what_is_said_of_each_pixel_stays_in_its_place(size: tuple[int, int], overlap: float) -> None:
    image = torch.rand(1, 3, *size) + 0.1
    network = Thresholds()
    found = segment(network, image, tile_overlap=overlap, batch_size=3)
    torch.testing.assert_close(found, image / image.sum(dim=1, keepdim=True), equal_nan=True)
    assert {tuple(seen.shape[1:]) for seen in network.inputs} == {(3, 16, 16)}
    assert max(len(seen) for seen in network.inputs) <= 3


def test_a_picture_of_one_tile_is_segmented_as_without(make_segmenter: Make) -> None:
    network, image = make_segmenter(), torch.rand(2, 1, 16, 16)
    with torch.no_grad():
        expected = SegmentationInferer((16, 16))(image, network)
    torch.testing.assert_close(segment(network, image), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axis", ["sagittal", "axial"])
def test_volumes_hypotheses_and_mirror_images(axis: str, make_segmenter: Make) -> None:
    network, volume = make_segmenter(), torch.rand(1, 1, 17, 20, 6)
    options: dict[str, Any] = {"axis": axis, "num_slices": 3, "num_samples": 2, "mirror_axes": (0,)}
    answers = segment(network, volume, uncertainty=True, **options)
    assert answers.pred.shape == (1, 3, 17, 20, 6)
    torch.testing.assert_close(answers.pred.sum(dim=1), torch.ones(1, 17, 20, 6))
    assert answers.variance.max() > 0
    single = segment(network, volume, axis=axis, num_slices=3)
    labels = segment(network, volume, axis=axis, num_slices=3, probabilities=False)
    assert torch.equal(labels[:, 0], single.argmax(dim=1).to(torch.uint8))


def test_settings_ask_for_it(make_segmenter: Make) -> None:
    names = ("background", "a", "b")
    settings = ModelSettings(names, (16, 16), tile_overlap=0.5)
    inferer = inferer_for(settings)
    assert isinstance(inferer, TileInferer)
    assert inferer.tile_overlap == 0.5
    assert type(inferer_for(ModelSettings(names, (16, 16)))) is SegmentationInferer
    picture = np.random.default_rng(0).integers(0, 255, (50, 41), dtype=np.uint8)
    segmentation = Segmenter(make_segmenter(), settings, device="cpu")(picture)
    assert segmentation.label.shape == (50, 41)
    with pytest.raises(InputError, match=r"tile_overlap is 1\.5; expected"):
        ModelSettings(names, (16, 16), tile_overlap=1.5)
