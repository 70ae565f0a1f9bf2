"""Prepared slices that one training leaves for the next, by the commands of the bundle."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import Run

TRAIN = ["--config_file", "bundles/leaf_seg/configs/train.json"]


@pytest.mark.slow
def test_the_second_training_finds_them_and_is_the_same(
    bundle_run: Run, small: list[str], pictures: Path, tmp_path: Path
) -> None:
    words = [*TRAIN, *small, "--dataset_dir", pictures, "--num_classes", 3, "--max_epochs", 1, "--num_overlays", 0]
    for name in ("first", "second"):
        bundle_run("training", *words, "--output_dir", tmp_path / name, "--cache_dir", tmp_path / "cache")
    logs = [(tmp_path / name / "train.log").read_text() for name in ("first", "second")]
    found = [log.partition(" cases were prepared before; from ")[0].split()[-3:] for log in logs]
    assert found[0][0] == "0"
    assert found[1][0] == found[1][2] == found[0][2]
    losses = [(tmp_path / name / "losses.csv").read_text().splitlines() for name in ("first", "second")]
    assert [line.split(",")[3:6] for line in losses[0]] == [line.split(",")[3:6] for line in losses[1]]
    kept = tmp_path / "cache" / "prepared_slices"
    assert len([entry for entry in kept.iterdir() if entry.name[0] != "."]) == int(found[0][2])


def test_a_limit_without_a_folder_is_refused_before_anything_is_touched(
    bundle_run: Run, small: list[str], pictures: Path, tmp_path: Path
) -> None:
    words = [*TRAIN, *small, "--dataset_dir", pictures, "--num_classes", 3, "--output_dir", tmp_path / "run"]
    result = bundle_run("training", *words, "--cache_gb", 3, check=False)
    assert result.returncode != 0
    assert "leaf_seg: --cache_gb would have no effect: no cache_dir is given" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "run").exists()
