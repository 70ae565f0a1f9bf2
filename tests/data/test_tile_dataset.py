"""Training tiles: what they cover, where they move, and what they are of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from leaf_seg.data import SliceDataset, SliceSampler, TileDataset, make_phantoms, training_slices
from leaf_seg.data.tile_dataset import tile_origins
from leaf_seg.transforms import BatchAugmentation, BatchMirror
from tests.data.test_slice_dataset import PREPROCESSING, Cases, all_cases, pictures

TILE = (16, 24)
__all__ = ["pictures"]  # a fixture


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    """One picture of 40 x 70, of which each pixel can be told from its colour; class 1 in one corner."""
    folder = tmp_path_factory.mktemp("large")
    colours = np.zeros((40, 70, 3), np.uint8)
    colours[..., 0], colours[..., 1] = np.arange(40)[:, None] * 6, np.arange(70)[None] * 3
    label = np.zeros((40, 70), np.uint8)
    label[30:, 60:] = 1
    for name, array in (("image", colours), ("label", label)):
        Image.fromarray(array).save(folder / f"{name}.png")
    return [{"image": str(folder / "image.png"), "label": str(folder / "label.png")}]


def place(image: torch.Tensor) -> tuple[int, int]:
    """Row and column of a tile's first pixel in the picture."""
    return round(float(image[0, 0, 0]) * 255 / 6), round(float(image[1, 0, 0]) * 255 / 3)


@pytest.mark.parametrize("size", [(16, 24), (17, 24), (40, 70), (160, 25)])
def test_the_fewest_tiles_cover_a_picture(size: tuple[int, int]) -> None:
    seen = np.zeros(size, int)
    origins = tile_origins(size, TILE)
    for row, column in origins:
        part = seen[row : row + TILE[0], column : column + TILE[1]]
        assert part.shape == TILE
        part += 1
    assert seen.min() == 1
    assert len(origins) == -(-size[0] // TILE[0]) * -(-size[1] // TILE[1])


def test_without_a_seed_tiles_are_where_the_grid_has_them(large: Cases) -> None:
    dataset = TileDataset(large, PREPROCESSING, TILE)
    assert len(dataset) == 9
    assert [place(dataset[i]["image"]) for i in range(9)] == tile_origins((40, 70), TILE)
    assert dataset.is_empty == [True] * 8 + [False]
    assert dataset[8]["image"].shape == (3, *TILE)
    assert dataset[8]["label"].sum() == 100


def test_with_a_seed_they_move_within_the_picture(large: Cases) -> None:
    dataset = TileDataset(large, PREPROCESSING, TILE, augmentation=BatchAugmentation([BatchMirror((0.0, 0.0))]))
    label = np.asarray(Image.open(large[0]["label"]))
    places = set()
    for seed in range(50):
        sample = dataset[4, seed]
        row, column = place(sample["image"])
        places.add((row, column))
        assert 4 <= row <= 20  # half a tile around 12
        assert 11 <= column <= 35
        np.testing.assert_array_equal(sample["label"][0], label[row : row + TILE[0], column : column + TILE[1]])
    assert len(places) > 30
    corner = [place(dataset[8, seed]["image"]) for seed in range(20)]
    assert max(corner) == (24, 46)
    torch.testing.assert_close(dataset[4, 7]["image"], dataset[4, 7]["image"], rtol=0, atol=0)


def test_small_pictures_lie_in_the_middle_of_zeros(pictures: Cases) -> None:
    dataset = TileDataset(pictures[:1], PREPROCESSING, (46, 24))
    assert len(dataset) == 2
    image, label = dataset[0]["image"], dataset[0]["label"]
    for array in (image, label):
        assert not array[:, :3].any()
        assert not array[:, 43:].any()
        assert array[:, 3:43].any()


def test_volumes_have_tiles_with_their_neighbours(tmp_path: Path) -> None:
    cases = all_cases(make_phantoms(tmp_path, dimension=3, num_cases=3, size=(24, 20, 16)))
    tiles = TileDataset(cases, PREPROCESSING, (8, 8), num_slices=3)
    whole = SliceDataset(cases, PREPROCESSING, (24, 20), num_slices=3)
    assert len(tiles) == 9 * len(whole)
    number = next(i for i, (stack, index, *_) in enumerate(tiles.index) if (stack, index) == (0, 5))
    row, column = tiles.index[number][2:]
    torch.testing.assert_close(
        tiles[number]["image"], whole[5]["image"][:, row : row + 8, column : column + 8], rtol=0, atol=0
    )


def test_the_sampler_leaves_empty_tiles_out(large: Cases) -> None:
    dataset = training_slices(large, PREPROCESSING, TILE, tile_overlap=0.25)
    assert isinstance(dataset, TileDataset)
    assert [item for item, _ in SliceSampler(dataset, empty_rate=0)] == [8]
    assert type(training_slices(large, PREPROCESSING, TILE)) is SliceDataset
