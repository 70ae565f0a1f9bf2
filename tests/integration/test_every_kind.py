"""Data of every format, layout and voxel order is trained on and segmented, and a structure is found in its place."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from leaf_seg.image_io.formats import FORMATS
from tests.image_io.test_places import ORDERS
from tests.integration.kinds_of_data import KINDS, LAYOUTS, WINDOW, fits, make_case, make_data_set, places

CONFIGS = "bundles/leaf_seg/configs"
TRAIN = ["--config_file", f"{CONFIGS}/train.json"]
SMALL = ["--image_size", "32", "--num_workers", 0, "--precision", "fp32", "--num_classes", 2, "--num_overlays", 0]
NETWORK = ["--unet_config#block_out_channels", "[32,32,32]", "--unet_config#layers_per_block", 1]
Run = Callable[..., subprocess.CompletedProcess[str]]


def rows() -> list[tuple[str, str, str]]:
    """Every kind of file with a layout and a voxel order; test_places.py of image_io has each kind in every order."""
    layouts, found, turn = {layout.__name__: layout for layout in LAYOUTS}, [], 0
    for number, (name, kind) in enumerate(KINDS.items()):
        while not fits(kind, list(layouts.values())[turn % len(layouts)]):
            turn += 1
        order = ORDERS[number % len(ORDERS)] if kind.is_volume else ""
        found.append((name, list(layouts)[turn % len(layouts)], order))
        turn += 1
    return found


def test_the_rows_have_every_format_layout_and_order() -> None:
    here = {"MGH" if name == "FreeSurfer" else name for name in KINDS}
    assert all(any(name.startswith(form.name) for name in here) for form in FORMATS)
    assert {layout for _, layout, _ in rows()} == {layout.__name__ for layout in LAYOUTS}
    assert {order for *_, order in rows()} - {""} == set(ORDERS)


@pytest.fixture(scope="module")
def finder(bundle_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learnt, of pictures, that what is bright is the box."""
    folder = tmp_path_factory.mktemp("finder")
    rng, kind = np.random.default_rng(0), KINDS["PNG"]
    for number in range(24):
        image, label, affine = make_case(rng, kind)
        for where, save, array in (("images", kind.save, image), ("labels", kind.save_label, label)):
            (folder / where).mkdir(exist_ok=True)
            save(folder / where / f"{number}.png", array * (number % 6 > 0), affine)
    options = ["--dataset_dir", folder, "--output_dir", folder / "model", "--seed", 1]
    bundle_run(
        "training", *TRAIN, *options, *SMALL, *NETWORK, "--batch_size", 8, "--max_epochs", 40, "--val_interval", 40
    )
    return folder / "model"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layout", "order"), rows())
def test_two_steps_and_a_structure_in_its_place(
    name: str, layout: str, order: str, finder: Path, bundle_run: Run, run_python: Run, tmp_path: Path
) -> None:
    kind, lay_out = KINDS[name], {each.__name__: each for each in LAYOUTS}[layout]
    source, options = make_data_set(tmp_path / "data", kind, lay_out)
    model = tmp_path / "model"
    options += [
        "--dataset_dir",
        str(source),
        "--output_dir",
        str(model),
        "--init_dir",
        str(finder),
        "--max_epochs",
        "1",
    ]
    options += kind.options
    options += ["--window", json.dumps(WINDOW)] if kind.is_volume else []
    bundle_run("training", *TRAIN, *options, *SMALL, "--batch_size", 21 if kind.is_volume else 2)

    with (model / "metrics.csv").open(newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2"]

    image, label, affine = make_case(np.random.default_rng(2), kind, order, in_corner=True)
    probe = tmp_path / f"probe{kind.suffix}"
    kind.save(probe, image, affine)
    run_python("-m", "leaf_seg", "segment", probe, tmp_path / "out", "--model", model, "--device", "cpu")
    (result,) = (path for path in (tmp_path / "out").iterdir() if path.name.startswith("probe."))
    expected = np.argwhere(label).mean(0)
    if kind.is_volume and kind.has_place:
        expected = (affine @ [*expected, 1])[:3]
    found = list(places(result))
    assert found
    for place in found:  # the next structure in any other order or direction is 7 mm away or more
        np.testing.assert_allclose(place, expected, atol=1.25)
