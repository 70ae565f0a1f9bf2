"""Many images, of which some are damaged, through both commands that segment."""

from __future__ import annotations

import logging
import os
import runpy
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import leaf_seg.tracking
import leaf_seg.visual.case_overlay  # noqa: F401  # once for all the children
from leaf_seg.__main__ import main
from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.networks import LatentSegmenter
from leaf_seg.weights import save_model
from tests.faults.limited import MB, Outcome, assert_one_line, run_command_limited, run_limited

COMMANDS = ("segment", "bundle")
GOOD = [f"good_{index}.png" for index in range(5)]


@pytest.fixture
def model(make_segmenter: Callable[..., LatentSegmenter], tmp_path: Path) -> Path:
    """A tiny model with random weights."""
    save_model(make_segmenter(), ModelSettings(["background", "a", "b"], (16, 16)), tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Five pictures, and between them, by their names, four files that are none."""
    folder = tmp_path / "images"
    folder.mkdir()
    for index, name in enumerate(GOOD):
        picture(folder / name, seed=index)
    whole = (folder / GOOD[0]).read_bytes()
    (folder / "a_text.png").write_text("no picture")
    (folder / "good_1_cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "good_2_empty.nii.gz").touch()
    (folder / "good_3_link.png").symlink_to(folder / "nowhere.png")
    return folder


def picture(path: Path, size: tuple[int, int] = (40, 48), seed: int = 0) -> None:
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)).save(path)


def words(command: str, source: Path, output: Path, model: Path) -> list[str]:
    if command == "segment":
        return ["-m", "leaf_seg", "segment", str(source), str(output), "--model", str(model), "--device", "cpu"]
    bundle = ["--bundle_root", "bundles/leaf_seg", "--config_file", "bundles/leaf_seg/configs/inference.json"]
    folders = ["--dataset_dir", str(source), "--output_dir", str(output), "--model_dir", str(model)]
    return ["-m", "monai.bundle", "run", "inference", *bundle, *folders, "--device_name", "cpu"]


def segmented(outcome: Outcome, output: Path) -> set[str]:
    assert "Traceback" not in outcome.err, outcome.err[-3000:]
    return {path.name for path in output.glob("*.png")}


@pytest.mark.parametrize("command", COMMANDS)
def test_damaged_images_do_not_stop_the_others(command: str, images: Path, model: Path, tmp_path: Path) -> None:
    outcome = run_command_limited(*words(command, images, tmp_path / "out", model))
    assert outcome.code == 1
    assert segmented(outcome, tmp_path / "out") == set(GOOD)
    assert {path.name for path in (tmp_path / "out" / "overlays").iterdir()} == set(GOOD)
    told = outcome.out + outcome.err
    assert "5 of 9 label maps" in told
    bad = sorted({path.name for path in images.iterdir()} - set(GOOD))
    lines = [line for line in told.splitlines() if "not segmented: " in line]
    assert len(lines) == len(bad) == 4
    assert all(name in line for name, line in zip(bad, lines, strict=True))
    assert_one_line(outcome, "4 of 9 images could not be segmented")
    assert "9/9" in told, "the progress bar counts all"


@pytest.mark.parametrize("command", COMMANDS)
def test_one_damaged_image_ends_in_its_line(command: str, images: Path, model: Path, tmp_path: Path) -> None:
    outcome = run_command_limited(*words(command, images / "good_1_cut.png", tmp_path / "out", model))
    assert_one_line(outcome, "good_1_cut.png: cannot be read")
    assert outcome.code == 1
    assert (outcome.out + outcome.err).count("good_1_cut.png: cannot be read") == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_an_image_too_large_for_the_memory_does_not_stop_the_others(command: str, model: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    picture(tmp_path / "images" / "a.png")
    Image.new("RGB", (6000, 6000)).save(tmp_path / "images" / "b.png")
    picture(tmp_path / "images" / "c.png")
    outcome = run_command_limited(*words(command, tmp_path / "images", tmp_path / "out", model), memory=200 * MB)
    assert segmented(outcome, tmp_path / "out") == {"a.png", "c.png"}
    assert_one_line(outcome, "1 of 3 images")
    assert "b.png: " in outcome.out + outcome.err


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_an_output_that_cannot_be_written_is_no_fault_of_an_image(
    command: str, images: Path, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "out" / GOOD[2]).mkdir(parents=True)  # in the way of a result
    outcome = run_command_limited(*words(command, images, tmp_path / "out", model))
    assert_one_line(outcome, "Cannot write", GOOD[2])
    assert not (tmp_path / "out" / GOOD[3]).exists(), "the batch ends"


@pytest.mark.parametrize("command", COMMANDS)
def test_an_overlay_that_cannot_be_drawn_loses_no_segmentation(command: str, model: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in GOOD[:2]:
        picture(tmp_path / "images" / name)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "overlays").write_text("in the way")
    outcome = run_command_limited(*words(command, tmp_path / "images", tmp_path / "out", model))
    assert outcome.code == 0, outcome.err[-3000:]
    assert segmented(outcome, tmp_path / "out") == set(GOOD[:2])
    assert "overlays to look at" not in outcome.out + outcome.err
    told = (outcome.out + outcome.err).splitlines()
    for name in GOOD[:2]:
        assert len([line for line in told if "The overlay of " in line and f"{name} failed" in line]) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_options_that_fit_no_image_are_refused_before_the_first(
    command: str, images: Path, model: Path, tmp_path: Path
) -> None:
    outcome = run_command_limited(*words(command, images, tmp_path / "out", model), "--precision", "fp16")
    assert_one_line(outcome, "precision fp16 needs a CUDA device")
    assert outcome.code == (2 if command == "segment" else 1)


@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", COMMANDS)
def test_interrupted(command: str, by: signal.Signals, model: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for index in range(200):
        picture(tmp_path / "images" / f"{index:03}.png", seed=index)
    output = tmp_path / "out"

    def run() -> int:
        logging.getLogger().handlers = []  # pytest's
        threading.Thread(target=interrupt_after, args=(output / "overlays" / "003.png", by), daemon=True).start()
        sys.argv = words(command, tmp_path / "images", output, model)[1:]
        try:
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        except KeyboardInterrupt:
            return 130
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    outcome = run_limited(run)
    assert outcome.code == (128 + by if command == "segment" else 130), outcome.err[-3000:]
    written = segmented(outcome, output)
    assert 4 <= len(written) < 200
    assert f"{len(written)} of 200 label maps" in outcome.out + outcome.err
    assert not list(output.rglob(".*")), "nothing half-written"


def interrupt_after(path: Path, by: signal.Signals) -> None:
    """Ctrl-C, or what schedulers send, once a file is there."""
    while not path.exists():
        time.sleep(0.001)
    os.kill(os.getpid(), by)


@pytest.mark.parametrize("limit", ["nan", "-1", "0", "inf"])
def test_memory_limit_is_checked_before_the_model_is_loaded(
    limit: str, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--model", str(tmp_path / "nowhere"), "--memory-limit-gb", limit]
    assert main(["segment", str(images), str(tmp_path / "out"), *options]) == 2
    assert "--memory-limit-gb is" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_names_that_results_cannot_have(command: str, images: Path, model: Path, tmp_path: Path) -> None:
    """Such images are listed; those after them are segmented."""
    bad = [b"a\xff.png", b"b" * 251 + b".png"]
    for name in bad:
        shutil.copy(images / GOOD[0], images / os.fsdecode(name))
    options = ["--num-samples", "2"] if command == "segment" else ["--num_samples", "2"]
    outcome = run_command_limited(*words(command, images, tmp_path / "out", model), *options)
    told = outcome.out + outcome.err
    assert outcome.code == 1
    assert segmented(outcome, tmp_path / "out") == set(GOOD)
    assert "its name is not UTF-8" in told
    assert "its name is too long" in told
    assert "Logging error" not in told
