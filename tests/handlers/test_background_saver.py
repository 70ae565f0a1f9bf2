"""Writing beside the evaluator: the same files, no error lost, all written before the end."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from PIL import Image

from leaf_seg.handlers import BackgroundSaver, SegmentationSaver
from leaf_seg.runtime.errors import InputError

NAMES = [f"case{index}" for index in range(5)]


def pictures(folder: Path) -> list[str]:
    folder.mkdir()
    for index, name in enumerate(NAMES):
        Image.new("L", (8, 6), 10 * index).save(folder / f"{name}.png")
    return [str(folder / f"{name}.png") for name in NAMES]


def run(saver: SegmentationSaver, sources: list[str]) -> list[int]:
    """Let an engine go through the cases; returns those that it began."""
    begun: list[int] = []

    def segment(engine: Engine, index: int) -> list[dict[str, Any]]:
        begun.append(index)
        image = MetaTensor(torch.zeros(1, 6, 8), meta={"filename_or_obj": sources[index]})
        engine.state.batch = [{"image": image}]  # type: ignore[assignment]
        return [{"pred": torch.full((1, 6, 8), index % 2, dtype=torch.uint8), "expected_dice": [0.5]}]

    engine = Engine(segment)
    saver.attach(engine)
    engine.run(range(len(sources)), max_epochs=1)
    return begun


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_it_leaves_what_the_other_leaves(tmp_path: Path) -> None:
    sources = pictures(tmp_path / "images")
    for name, kind in (("one", SegmentationSaver), ("other", BackgroundSaver)):
        run(kind(tmp_path / name, ["background", "a"]), sources)
    assert contents(tmp_path / "one") == contents(tmp_path / "other")
    assert len(contents(tmp_path / "other")) == 2 * len(NAMES) + 1  # label maps, overlays, the table


@pytest.mark.parametrize("broken", range(len(NAMES)))
def test_no_error_of_writing_is_lost(broken: int, tmp_path: Path) -> None:
    sources = pictures(tmp_path / "images")
    (tmp_path / "out" / f"{NAMES[broken]}.png").mkdir(parents=True)  # where a file is to be
    with pytest.raises(InputError, match=NAMES[broken]):
        run(BackgroundSaver(tmp_path / "out", ["background", "a"], save_overlays=False), sources)


def test_what_is_written_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    saver = BackgroundSaver(tmp_path / "out", ["background", "a"], save_overlays=False)
    save = saver.save

    def slowly(*arguments: Any) -> None:
        time.sleep(0.05)  # the evaluator is at its end when the last case is written
        save(*arguments)

    monkeypatch.setattr(saver, "save", slowly)
    with caplog.at_level(logging.INFO):
        run(saver, pictures(tmp_path / "images"))
    assert f"{len(NAMES)} label maps" in caplog.text


def test_an_error_ends_the_run_early(tmp_path: Path) -> None:
    sources = pictures(tmp_path / "images")
    (tmp_path / "out" / f"{NAMES[0]}.png").mkdir(parents=True)
    saver = BackgroundSaver(tmp_path / "out", ["background", "a"], save_overlays=False, max_waiting=1)
    with pytest.raises(InputError):
        run(saver, sources)
    assert not (tmp_path / "out" / f"{NAMES[4]}.png").exists()


def test_everything_is_written_when_it_tells(tmp_path: Path) -> None:
    sources = pictures(tmp_path / "images")
    saver = BackgroundSaver(tmp_path / "out", ["background", "a"], save_overlays=False, max_waiting=10)
    seen: list[int] = []

    def segment(engine: Engine, index: int) -> list[dict[str, Any]]:
        image = MetaTensor(torch.zeros(1, 6, 8), meta={"filename_or_obj": sources[index]})
        engine.state.batch = [{"image": image}]  # type: ignore[assignment]
        return [{"pred": torch.zeros((1, 6, 8), dtype=torch.uint8)}]

    engine = Engine(segment)
    saver.attach(engine)
    engine.add_event_handler(Events.COMPLETED, lambda: seen.append(len(list((tmp_path / "out").glob("*.png")))))
    engine.run(range(5), max_epochs=1)
    assert seen == [5]
    saver.conclude()
