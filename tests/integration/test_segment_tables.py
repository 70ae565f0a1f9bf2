"""Many inputs, and the tables that ``python -m leaf_seg segment`` writes besides."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_segment_many_inputs_with_all_tables(
    run_python: Run, pictures: Path, picture_model: Path, tmp_path: Path
) -> None:
    images = sorted((pictures / "images").iterdir())
    (tmp_path / "folder").mkdir()
    for image in images[:2]:
        (tmp_path / "folder" / image.name).symlink_to(image)
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(images[3].read_bytes()[:200])
    inputs = [tmp_path / "folder", images[2], tmp_path / "folder" / images[0].name, damaged]
    options = ["--model", picture_model, "--statistics", "--report", "--preview", "--colors"]
    result = run_python("-m", "leaf_seg", "segment", *inputs, tmp_path / "out", *options, check=False)
    assert result.returncode == 1
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [Path(image["input"]).name for image in report["images"]] == [*(i.name for i in images[:3]), "damaged.png"]
    assert "cannot be read" in report["images"][3]["fault"]
    rows = list(csv.DictReader((tmp_path / "out" / "statistics.csv").open()))
    for row in rows:
        label = np.array(Image.open(tmp_path / "out" / f"{row['case']}.png"))
        assert int(row["count"]) == (label == int(row["structure"][-1])).sum()
        with Image.open(tmp_path / "out" / "colors" / f"{row['case']}.png") as coloured:
            assert coloured.mode == "P"
            np.testing.assert_array_equal(np.array(coloured), label)
    assert len(rows) == 6
    assert Image.open(tmp_path / "out" / "preview.png").width > 320


def test_the_bundle_writes_colours_too(bundle_run: Run, pictures: Path, picture_model: Path, tmp_path: Path) -> None:
    config = ["--config_file", "bundles/leaf_seg/configs/inference.json", "--bundle_root", "bundles/leaf_seg"]
    given = ["--dataset_dir", pictures / "images" / "phantom_0000.png", "--model_dir", picture_model]
    wanted = ["--output_dir", tmp_path / "out", "--save_colors", "true", "--save_overlays", "false"]
    bundle_run("inference", *config, *given, *wanted)
    label, coloured = (Image.open(tmp_path / "out" / name / "phantom_0000.png") for name in ("", "colors"))
    assert (label.mode, coloured.mode) == ("L", "P")
    np.testing.assert_array_equal(np.array(coloured), np.array(label))
