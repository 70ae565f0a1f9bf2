"""Inference by two processes: what one process writes, each image once."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from ignite.engine import Events
from monai.bundle import ConfigWorkflow

from leaf_seg.inference.faults import FaultyImages
from leaf_seg.runtime.distributed import gathered, rank
from leaf_seg.runtime.errors import input_error_in
from tests.two_processes import in_two_processes, said_by

CONFIGS = Path(__file__).resolve().parents[2] / "bundles" / "leaf_seg" / "configs"
WRITER = "leaf_seg.inference.segmentation_writer"
RECORDS = {"manifest.json", "executed_config.json"}


@pytest.fixture
def images(pictures: Path, tmp_path: Path) -> Path:
    """Four images, of which the last is damaged."""
    folder = tmp_path / "images"
    folder.mkdir()
    for file in sorted((pictures / "images").iterdir())[:3]:
        shutil.copy(file, folder)
    (folder / "zz.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return folder


def inference(images: Path, model: Path, output: Path, *overlays: str, **settings: Any) -> ConfigWorkflow:
    """The bundle's command, begun."""
    files = [str(CONFIGS / f"{name}.json") for name in ("inference", *overlays)]
    paths = {"dataset_dir": str(images), "model_dir": str(model), "output_dir": str(output)}
    workflow = ConfigWorkflow(
        files,
        logging_file=False,
        workflow_type="infer",
        bundle_root=str(CONFIGS.parent),
        run_id="inference",
        save_probabilities=True,
        **paths,
        **settings,
    )
    workflow.initialize()
    return workflow


def run(images: Path, model: Path, output: Path, *overlays: str) -> str | None:
    """Run it; the error that it ends with."""
    workflow = inference(images, model, output, *overlays)
    try:
        workflow.run()
    except RuntimeError as error:
        fault = input_error_in(error)
        assert isinstance(fault, FaultyImages)
        return str(fault)
    return None


def logged(images: Path, model: Path, output: Path, *overlays: str) -> dict[str, Any]:
    """Run it; the error, and the lines of the writer."""
    lines = said_by(WRITER)
    error = run(images, model, output, *overlays)
    return {"error": error, "lines": [line for line in lines if "not segmented" in line or "label maps" in line]}


def assert_same_files(one: Path, two: Path) -> None:
    names = [{path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} for folder in (one, two)]
    assert names[0] == names[1]
    for name in names[0]:
        assert name.name in RECORDS or (one / name).read_bytes() == (two / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.dist
@pytest.mark.parametrize("overlays", [[], pytest.param(["inference_gpu"], marks=pytest.mark.slow)])
def test_two_processes_segment_as_one(images: Path, picture_model: Path, tmp_path: Path, overlays: list[str]) -> None:
    """The same files to the bit; the second's damaged image stops nobody and is told once, by the first."""
    one, two = tmp_path / "one", tmp_path / "two"
    error = run(images, picture_model, one, *overlays)
    first, second = in_two_processes(logged, tmp_path, images, picture_model, two, *overlays, "multi_gpu_inference")
    assert first["error"] == second["error"] == error
    assert error is not None
    assert "1 of 4 images could not be segmented" in error
    number, fault = first["lines"]
    assert number.startswith("3 of 4 label maps")
    assert "zz.png: cannot be read" in fault
    assert second["lines"] == []
    assert_same_files(one, two)
    assert len((two / "expected_dice.csv").read_text().splitlines()) == 1 + 3


@pytest.mark.slow
@pytest.mark.dist
def test_a_process_may_have_no_image(images: Path, picture_model: Path, tmp_path: Path) -> None:
    image = sorted(images.iterdir())[0]
    assert run(image, picture_model, tmp_path / "one") is None
    first, second = in_two_processes(logged, tmp_path, image, picture_model, tmp_path / "two", "multi_gpu_inference")
    assert first["error"] is second["error"] is None
    assert len(first["lines"]) == 1
    assert_same_files(tmp_path / "one", tmp_path / "two")


def clash(images: Path, model: Path, output: Path) -> str:
    workflow = inference(images, model, output, "multi_gpu_inference")
    with pytest.raises(RuntimeError) as raised:
        workflow.run()
    return str(input_error_in(raised.value))


@pytest.mark.dist
def test_names_are_compared_over_the_images_of_all(images: Path, picture_model: Path, tmp_path: Path) -> None:
    source, *others = sorted(images.iterdir())
    for other in others:
        other.unlink()
    shutil.copy(source, images / f"{source.stem}.tif")  # for the other process
    first, second = in_two_processes(clash, tmp_path, images, picture_model, tmp_path / "two")
    assert first == second
    assert "would both be written as" in first
    assert not list((tmp_path / "two").glob("*.png"))


def interrupted(images: Path, model: Path, output: Path) -> dict[str, Any]:
    """Ctrl-C comes when the first process is done, and the second has an image left."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    workflow = inference(images, model, output, "multi_gpu_inference")
    lines = said_by(WRITER)
    pids = gathered([os.getpid()])

    def interrupt() -> None:
        time.sleep(0.5)
        for pid in pids:
            os.kill(pid, signal.SIGINT)

    if rank() == 1:
        workflow.evaluator.add_event_handler(Events.ITERATION_COMPLETED(once=1), interrupt)
    try:
        workflow.run()
    except BaseException as error:
        causes = [error, error.__cause__, error.__context__]
        return {"lines": lines, "is interrupted": any(isinstance(cause, KeyboardInterrupt) for cause in causes)}
    return {"lines": lines, "is interrupted": False}


@pytest.mark.slow
@pytest.mark.dist
def test_an_interruption_tells_of_all(images: Path, picture_model: Path, tmp_path: Path) -> None:
    (images / "zz.png").unlink()
    shutil.copy(sorted(images.iterdir())[0], images / "zz.png")
    output = tmp_path / "two"
    first, second = in_two_processes(interrupted, tmp_path, images, picture_model, output)
    assert first["is interrupted"]
    assert second["is interrupted"]
    assert [line for line in first["lines"] if "3 of 4 label maps" in line]
    assert second["lines"] == []
    assert len(list(output.glob("*.png"))) == 3
    assert len((output / "expected_dice.csv").read_text().splitlines()) == 1 + 3
